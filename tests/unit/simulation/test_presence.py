from multiedge.composed import Composition, Segment
from multiedge.graph import Graph, Node, Tensor
from multiedge.plan import Stage
from multiedge.simulation.presence import stage_batches
from multiedge.simulation.simulate import StageBatch
from tests.builders.fleets import fleet_of
from tests.builders.plans import direct_plan
from tests.builders.profiles import profile_of


def test_a_stage_joins_as_many_items_as_one_of_its_steps_and_waits_as_long() -> None:
    tensors = {name: Tensor(name, "uint8", (1,), 1) for name in ("x", "a/y", "b/y", "c/y")}
    nodes = (Node("a/n", "A", ("x",), ("a/y",)), Node("b/n", "B", ("a/y",), ("b/y",)), Node("c/n", "C", ("b/y",), ("c/y",)))
    segments = {"a": Segment(batch=2, timeout_s=0.1), "b": Segment(batch=4, timeout_s=0.05), "c": Segment()}
    graph = Graph("chain", nodes, ("x",), ("c/y",), tensors, composition=Composition(segments))
    profile = profile_of(graph, {"d": 1.0, "e": 1.0})
    plan = direct_plan(profile, fleet_of("d", "e"), Stage.span("d", 0, 2), Stage.span("e", 2, 3))
    assert stage_batches(plan, graph) == {0: StageBatch(4, 0.1)}
