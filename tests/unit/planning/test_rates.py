from dataclasses import replace

import numpy as np
import pytest

from multiedge.fleet import Link
from multiedge.formats.profile import profile_from_json, profile_to_json
from multiedge.graph import Graph, Node, Tensor
from multiedge.plan import Stage
from multiedge.planning.rates import with_rates, without_rates
from multiedge.profile import Profile
from multiedge.run import plan_model
from multiedge.simulation.presence import drawn_presence, drawn_work
from multiedge.simulation.simulate import Items, Load, simulate
from multiedge.verification.audit import Verdict, audit
from tests.builders.fleets import fleet_of
from tests.builders.plans import direct_plan, relay_plan
from tests.builders.profiles import profile_of

RATE = 0.25
FLEET = fleet_of("a", "b", links=Link(100.0), memory_bytes=10_000)


def cascade(rate: float = RATE) -> Graph:
    """x -> small -> large, which computes for a share of the items, and their join."""
    rates = {"x": 1.0, "small/y": 1.0, "large.when/y": rate, "large/z": rate, "result": 1.0}
    tensors = {name: Tensor(name, "uint8", (100,), 100, each) for name, each in rates.items()}
    nodes = (
        Node("small/run", "A", ("x",), ("small/y",)),
        Node("large.when/When", "When", ("small/y",), ("large.when/y",), "multiedge.workflow"),
        Node("large/run", "B", ("large.when/y",), ("large/z",)),
        Node("pick/FirstOf", "FirstOf", ("large/z", "small/y"), ("result",), "multiedge.workflow"),
    )
    return Graph("cascade", nodes, ("x",), ("result",), tensors)


def costs(rate: float = RATE) -> Profile:
    return profile_of(cascade(rate), {"a": [1.0, 0.0, 4.0, 0.0], "b": [2.0, 0.0, 8.0, 0.0]})


def test_nodes_behind_a_condition_cost_their_share_of_the_items() -> None:
    profile = with_rates(costs())
    assert profile.seconds["b"].tolist() == [2.0, 0.0, 2.0, 0.0]
    assert profile.notes == ("times are means over all items, of which some do not pass every step: large 25%",)


def test_the_share_is_counted_once_and_can_be_taken_out_again() -> None:
    profile = with_rates(costs())
    assert with_rates(profile) is profile
    assert without_rates(profile).seconds["b"].tolist() == [2.0, 0.0, 8.0, 0.0]
    assert with_rates(profile_of(cascade(1.0), {"a": 1.0})).is_mean is False
    never = without_rates(with_rates(costs(0.0)))
    assert never.seconds["b"] == pytest.approx([2.0, 0.0, 8.0, 0.0])


def test_a_file_says_whether_its_times_are_means() -> None:
    for profile in (costs(), with_rates(costs())):
        read = profile_from_json(profile_to_json(profile))
        assert (read.is_mean, read.graph.tensors["large/z"].rate) == (profile.is_mean, RATE)
        assert with_rates(read).seconds["b"].tolist() == [2.0, 0.0, 2.0, 0.0]


def test_a_link_carries_the_mean_and_memory_has_room_for_the_whole() -> None:
    stages = Stage.span("a", 0, 2), Stage.span("b", 2, 4)
    often, rarely = (direct_plan(with_rates(costs(rate)), FLEET, *stages) for rate in (1.0, RATE))
    sent = {(move.source, move.target): move.nbytes for move in rarely.transfers}
    assert sent[0, 1] == 100 + 25
    assert often.estimate.planned_bytes == rarely.estimate.planned_bytes
    assert with_rates(costs()).cut_bytes.tolist() == [100, 100, 125, 125, 0]
    assert with_rates(costs()).live_bytes.tolist() == costs(1.0).live_bytes.tolist()


@pytest.mark.parametrize("strategy", ["throughput", "latency", "exact", "flow"])
def test_strategies_plan_with_the_mean_and_the_audit_agrees(strategy) -> None:
    profile = with_rates(costs())
    plan = plan_model(profile, FLEET, strategy)
    assert Verdict.WRONG not in [finding.verdict for finding in audit(plan, profile, FLEET)]
    whole = plan_model(
        replace(profile_of(cascade(1.0), {"a": [1.0, 0.0, 4.0, 0.0], "b": [2.0, 0.0, 8.0, 0.0]})), FLEET, strategy
    )
    assert plan.value < whole.value


def test_drawn_items_pass_as_often_as_the_rates_say_and_joins_have_all() -> None:
    drawn = drawn_presence(cascade(), seed=3, rows=4000)
    assert drawn["large"].mean() == pytest.approx(RATE, abs=0.03)
    assert drawn["small"].all()
    assert drawn["pick"].all()
    assert drawn_work(cascade(1.0)) is None


def test_a_condition_behind_another_one_is_passed_by_a_part_of_its_items() -> None:
    graph = cascade()
    tensors = {**graph.tensors, "last/w": Tensor("last/w", "uint8", (100,), 100, 0.1)}
    nodes = (*graph.nodes, Node("last/When", "When", ("large/z",), ("last/w",), "multiedge.workflow"))
    drawn = drawn_presence(replace(graph, nodes=nodes, tensors=tensors), rows=4000)
    assert drawn["last"].mean() == pytest.approx(0.1, abs=0.02)
    assert not (drawn["last"] & ~drawn["large"]).any()


def test_simulated_items_take_the_mean_together_and_the_whole_one_by_one() -> None:
    profile = with_rates(costs())
    plan = relay_plan(profile, FLEET, Stage.span("a", 0, 4))
    run = simulate(plan, profile, FLEET, load=Load(2000, interval_s=10.0), items=Items(drawn_work(profile.graph)))
    taken = np.array([item.done_s - item.due_s for item in run.items])
    assert set(taken.round(6).tolist()) == {1.0, 5.0}
    assert taken.mean() == pytest.approx(plan.estimate.bottleneck_s, rel=0.05)
