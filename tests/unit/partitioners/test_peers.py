"""Strategies after other systems' papers: the rule of each on cases that can be worked out by hand."""

from __future__ import annotations

import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet, Link
from multiedge.plan import Plan
from multiedge.profile import Profile
from multiedge.run import plan_model
from partitioners import pipeedge
from partitioners.halda import Halda
from partitioners.petals import Petals
from partitioners.pipeedge import PipeEdge
from partitioners.separate_pipelines import SeparatePipelines
from partitioners.swarm import Swarm
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of

PEERS = ["pipeedge", "halda", "separate_pipelines", "swarm", "petals"]


def chain(count: int, seconds: dict[str, float], **values: object) -> Profile:
    """A chain of nodes with 100 bytes of parameters each and no activations."""
    return profile_of(chain_graph(count, sizes=0, weight_bytes=100), seconds, **values)


def limited(memory_bytes: dict[str, int | None], **values: object) -> Fleet:
    return Fleet(tuple(Device(name, memory_bytes=limit) for name, limit in memory_bytes.items()), **values)


def spans(plan: Plan) -> dict[str, tuple[int, int]]:
    return {stage.device: (stage.nodes[0], stage.nodes[-1] + 1) for stage in plan.stages}


def rates(plan: Plan) -> dict[tuple[str, ...], float]:
    """Items per second by the devices of each path."""
    return {tuple(plan.stages[stage].device for stage in path.stages): path.items_per_s for path in plan.paths}


@pytest.mark.parametrize("name", PEERS)
def test_a_plan_is_named_timed_and_unproven(name: str) -> None:
    plan = plan_model(chain(6, {"a": 1.0, "b": 2.0}), limited({"a": 600, "b": 600}), name)
    assert (plan.strategy, plan.lower_bound) == (name, None)
    assert plan.solve_s > 0


@pytest.mark.parametrize("name", PEERS)
def test_every_device_that_is_not_used_has_a_reason(name: str) -> None:
    plan = plan_model(chain(4, {"a": 1.0, "b": 1.0, "c": 1.0}), limited({"a": 400, "b": 400, "c": 10}), name)
    assert set(plan.left_out) == set("abc") - {device for stage in plan.stages for device in stage.devices} != set()


def test_pipeedge_takes_devices_in_the_order_that_their_links_ask_for() -> None:
    fleet = fleet_of("a", "b", "c", links={("a", "b"): Link(1.0), ("a", "c"): Link(50.0), ("b", "c"): Link(50.0)})
    plan = PipeEdge().plan(profile_of(chain_graph(6, sizes=50), dict.fromkeys("abc", 1.0)), fleet)
    assert plan.stages[1].device == "c"
    assert plan.value == 2.0


def test_pipeedge_counts_equal_devices() -> None:
    names = [f"d{number}" for number in range(12)]
    plan = PipeEdge().plan(chain(24, dict.fromkeys(names, 1.0)), fleet_of(*names))
    assert plan.value == 2.0


def test_pipeedge_refuses_more_sets_than_it_can_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeedge, "MOST_STEPS", 10)
    with pytest.raises(ConfigError, match=r"pipeedge: 4 sets of 2 kinds of devices and 5 boundaries .* plan with 'throughput'"):
        PipeEdge().plan(chain(4, {"a": 1.0, "b": 2.0}), fleet_of("a", "b"))


def test_halda_leaves_out_a_device_that_lengthens_the_ring() -> None:
    profile = chain(6, {"a": 1.0, "slow": 9.0, "b": 1.0})
    plan = Halda().plan(profile, limited({"a": 300, "slow": 600, "b": 300}))
    assert spans(plan) == {"a": (0, 3), "b": (3, 6)}
    assert plan.value == 6.0


def test_haldas_ring_begins_at_the_source_and_keeps_its_order() -> None:
    fleet = limited({"a": 300, "b": 300}, links={("a", "b"): Link(latency_s=1.0)}, source="b")
    plan = Halda().plan(chain(6, {"a": 1.0, "b": 1.0}), fleet)
    assert [stage.device for stage in plan.stages] == ["b", "a"]
    assert plan.value == 8.0


def test_separate_pipelines_has_one_for_each_kind_that_holds_the_model() -> None:
    profile = chain(4, {"a": 1.0, "b": 2.0, "c": 2.0, "d": 3.0})
    plan = SeparatePipelines().plan(profile, limited({"a": 400, "b": 200, "c": 200, "d": 300}))
    assert rates(plan) == pytest.approx({("a",): 1 / 4, ("b", "c"): 1 / 4})
    assert plan.left_out == {"d": "devices of its kind do not hold the model, or do so without it"}
    assert plan.value == pytest.approx(2.0)


def test_separate_pipelines_makes_as_many_as_memory_allows() -> None:
    plan = SeparatePipelines().plan(chain(4, dict.fromkeys("abcde", 1.0)), limited(dict.fromkeys("abcde", 200)))
    assert sorted(rates(plan)) == [("a", "b"), ("c", "d")]


def test_a_mixed_pipeline_is_of_the_kinds_that_cannot_hold_the_model() -> None:
    profile, fleet = chain(4, {"a": 1.0, "b": 2.0, "c": 3.0}), limited({"a": 400, "b": 300, "c": 200})
    assert not SeparatePipelines().plan(profile, fleet).paths
    assert set(rates(SeparatePipelines(mixed=True).plan(profile, fleet))) == {("a",), ("b", "c")}


def test_swarm_has_as_few_stages_as_the_smallest_device_allows_and_equals_their_throughputs() -> None:
    """Stages of two nodes; a (0.5 items/s) joins the first, b and c (0.25 each) the second, d (0.1) the first in vain."""
    profile = chain(4, {"a": 1.0, "b": 2.0, "c": 2.0, "d": 5.0})
    plan = Swarm().plan(profile, limited({"a": 900, "b": 900, "c": 900, "d": 200}))
    assert spans(plan) == {"a": (0, 2), "b": (2, 4), "c": (2, 4)}
    assert rates(plan) == pytest.approx({("a", "b"): 0.25, ("a", "c"): 0.25})
    assert plan.left_out == {"d": "no items are left for it"}


def test_swarm_leaves_out_devices_that_cannot_hold_a_stage() -> None:
    plan = Swarm().plan(chain(4, {"a": 1.0, "b": 1.0, "tiny": 1.0}), limited({"a": 200, "b": 200, "tiny": 50}))
    assert plan.left_out == {"tiny": "it cannot hold every stage"}


def test_petals_devices_choose_the_nodes_that_are_served_worst() -> None:
    """a takes the first four, b the last four (two of which nobody holds), c then the first two, which a alone serves.

    Items enter the spans of a and b where those before them end, which is the widest way.
    """
    plan = Petals(rounds=0).plan(chain(6, dict.fromkeys("abc", 1.0)), limited({"a": 400, "b": 400, "c": 200}))
    assert spans(plan) == {"c": (0, 2), "a": (2, 4), "b": (4, 6)}


def test_petals_devices_move_if_the_least_throughput_rises() -> None:
    """The slow device comes first and holds the first node alone, until a fast one moves there, too."""
    profile, fleet = chain(4, {"slow": 4.0, "a": 1.0, "b": 1.0}), limited({"slow": 100, "a": 200, "b": 200})
    stays, moves = Petals(rounds=0).plan(profile, fleet), Petals().plan(profile, fleet)
    assert spans(stays) == {"slow": (0, 1), "a": (1, 3), "b": (3, 4)}
    assert spans(moves) == {"a": (0, 2), "b": (2, 4)}
    assert (stays.value, moves.value) == (4.0, 2.0)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (PipeEdge(), "no contiguous plan of"),
        (Halda(), "split by latency; 1.5 times the memory on each would do"),
        (
            SeparatePipelines(),
            "the memory of a pipeline of equal devices is too small .*; 1.5 times the memory on each would do",
        ),
        (Swarm(), "no number of devices of fleet can each hold every one .*; 1.5 times the memory on each would do"),
        (Petals(), "the greedy choice of blocks leaves nodes .*; 1.496 times the memory on each would do, or plan with 'flow'"),
    ],
)
def test_the_error_says_how_much_memory_would_do(strategy, message: str) -> None:
    with pytest.raises(InfeasibleError, match=message):
        strategy.plan(chain(6, {"a": 1.0, "b": 1.0}), limited({"a": 200, "b": 200}))


def test_negative_rounds_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"petals.rounds: expected 0 or more, got -1"):
        Petals(rounds=-1)
