"""Plans in which items take one of several paths: their cost, what keeps them from running, and their simulated rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multiedge.fleet import Device, Fleet, Link
from multiedge.plan import CALLER, Path, Plan, Stage, next_path
from multiedge.planning import cost, memory
from multiedge.planning.checks import structural_violations, violations
from multiedge.profile import Profile
from multiedge.simulation.simulate import Load, simulate
from multiedge.spans import MeasuredSpans
from multiedge.trace import DeviceEvent, Trace
from tests.builders.graphs import chain_graph
from tests.builders.plans import paths_plan, relay_plan
from tests.builders.profiles import profile_of

PROFILE = profile_of(chain_graph(4, sizes=100, weight_bytes=1000), {"a": 1.0, "b": 2.0, "c": 1.0})
FLEET = Fleet((Device("a"), Device("b"), Device("c")), {("a", "b"): Link(1000.0, 0.5), ("a", "c"): Link(100.0)}, source="a")


@pytest.fixture
def plan() -> Plan:
    """Two of three items: nodes 0-1 on a, 2-3 on c; one of three: node 0-1 on a, 2 on b, 3 on c."""
    head, middle, tail = Stage.span("a", 0, 2), Stage.span("b", 2, 3), Stage.span("c", 3, 4)
    return paths_plan(PROFILE, FLEET, (2.0, [head, Stage.span("c", 2, 4)]), (1.0, [head, middle, tail]))


def test_each_stage_and_transfer_counts_with_the_share_of_its_items(plan: Plan) -> None:
    assert [(stage.device, stage.nodes) for stage in plan.stages] == [("a", (0, 1)), ("b", (2,)), ("c", (2, 3)), ("c", (3,))]
    assert [path.stages for path in plan.paths] == [(0, 2), (0, 1, 3)]
    assert [stage.compute_s for stage in plan.estimate.stages] == [2.0, 2.0, 2.0, 1.0]
    # Per item a computes 2 s, b 2/3 s, c 2 * 2/3 + 1/3 s; the link a -> c carries two of three items and a result of all.
    assert [round(stage.utilisation * 2, 6) for stage in plan.estimate.stages] == [2.0, 0.666667, 1.333333, 0.333333]
    assert plan.value == 2.0
    assert plan.estimate.network_bytes == round(100 * (2 / 3 + 1 / 3 + 1 / 3 + 1))


def test_the_source_sends_inputs_in_the_share_of_the_paths_that_begin_elsewhere() -> None:
    whole = [Stage.span("a", 0, 4)], [Stage.span("b", 0, 4)]
    several = paths_plan(PROFILE, FLEET, (3.0, whole[0]), (1.0, whole[1]))
    assert several.estimate.source is not None
    # One of four items, of 100 bytes, is sent to b: 0.5 s of latency and 0.1 s.
    assert (several.estimate.source.transfer_s, several.estimate.source.sent_bytes) == (pytest.approx(0.6 / 4), 25)


def test_one_item_alone_takes_the_slowest_path(plan: Plan) -> None:
    # a 2 s, then c 2 s after 1 s of transfer, or b 2 s after 0.6 s and c 1 s; the result takes 1 s back to a.
    assert plan.estimate.latency_s == max(2 + 1 + 2 + 1, 2 + 0.6 + 2 + 1 + 1)


def test_a_plan_with_one_path_costs_what_it_costs_without_paths() -> None:
    stages = [Stage.span("a", 0, 1), Stage.span("c", 1, 4)]
    one = paths_plan(PROFILE, FLEET, (3.0, stages))
    assert one.estimate == relay_plan(PROFILE, FLEET, *stages).estimate


def test_buffers_count_once_for_messages_of_which_an_item_takes_one(plan: Plan) -> None:
    needed = memory.memory_by_device(PROFILE, FLEET, plan.stages, plan.transfers, plan.paths)
    alone = relay_plan(PROFILE, FLEET, Stage.span("a", 0, 2), Stage.span("c", 2, 4))
    assert needed["a"] == memory.memory_by_device(PROFILE, FLEET, alone.stages, alone.transfers)["a"]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([Path((0, 2), 1.0)], ["stage 1 is in no path", "stage 3 is in no path"]),
        ([Path((0, 2), 1.0), Path((0, 1), 1.0), Path((0, 3), 1.0)], ["path 1: node 3 'n3' is in no stage"]),
        ([Path((2, 0), 1.0), Path((0, 1, 3), 1.0)], ["path 0: expected stages from 0 to 3, ascending, got 2, 0"]),
        ([Path((0, 7), 1.0), Path((0, 1, 3), 1.0)], ["path 0: expected stages from 0 to 3, ascending, got 0, 7"]),
        ([Path((0, 2), 0.0), Path((0, 1, 3), 1.0)], ["path 0: expected a rate above 0, got 0 items/s"]),
    ],
)
def test_paths_that_cannot_run_are_named(plan: Plan, paths: list[Path], expected: list[str]) -> None:
    wrong = structural_violations(PROFILE.graph, FLEET, plan.stages, paths)
    assert wrong[: len(expected)] == expected


def test_a_sound_plan_of_paths_has_no_violations(plan: Plan) -> None:
    assert violations(PROFILE, FLEET, plan.stages, plan.transfers, plan.paths) == []


def test_every_path_has_its_share_of_the_items_at_any_time() -> None:
    paths = (Path((0,), 5.0), Path((1,), 3.0), Path((2,), 2.0))
    taken = [0, 0, 0]
    for number in range(1, 201):
        taken[next_path(paths, taken)] += 1
        assert all(abs(count - number * path.items_per_s / 10) <= 1 for count, path in zip(taken, paths, strict=True))
    assert taken == [100, 60, 40]


def test_the_simulated_rate_is_that_of_the_estimate(plan: Plan) -> None:
    found = simulate(plan, PROFILE, FLEET, load=Load(items=300, warmup=30))
    assert len(found.items) / (found.stop_s - found.start_s) == pytest.approx(plan.estimate.fps_bound, rel=1e-3)


def test_simulated_items_go_on_over_the_path_that_is_left_and_take_the_other_up_again(plan: Plan) -> None:
    trace = Trace((DeviceEvent(100.0, "b", "leave"), DeviceEvent(200.0, "b", "return")))
    found = simulate(plan, PROFILE, FLEET, trace, Load(items=150))
    fault, back_s = found.faults[0], 200.0
    assert (fault.recovered_s, fault.detail) == (100.0, "items take the paths that are left")
    busy = [event for event in found.events if event.kind == "compute" and event.device == "b"]
    assert not [event for event in busy if 100.0 < event.start_s < back_s]
    assert [event for event in busy if event.start_s > back_s]
    # The path that is left is limited by a and c alike, at one item per 2 s.
    assert sum(120.0 < item.done_s <= 180.0 for item in found.items) == pytest.approx(30, abs=1)


def test_an_item_uses_the_transfers_of_its_path_only(plan: Plan) -> None:
    stages, moves = cost.on_path(plan.paths[1], plan.stages, plan.transfers)
    assert [stage.device for stage in stages] == ["a", "b", "c"]
    assert [(move.source, move.target) for move in moves] == [(CALLER, 0), (0, 1), (1, 2), (2, CALLER)]


def test_a_device_whose_times_do_not_add_up_may_have_stages_that_follow_each_other_only() -> None:

    table = np.triu(np.full((5, 5), 3.0), 1) + np.tril(np.full((5, 5), np.inf))
    profile: Profile = replace(PROFILE, spans={"a": MeasuredSpans((0, 1, 2, 3, 4), table)})
    apart = (Stage.span("a", 0, 1), Stage.span("b", 1, 3), Stage.span("a", 3, 4))
    plan = relay_plan(PROFILE, FLEET, *apart)
    assert "times for consecutive nodes only" in violations(profile, FLEET, apart, plan.transfers)[0]
