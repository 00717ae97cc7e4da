"""What consecutive nodes cost where their times do not add up, and how a profile shares it among stages."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from multiedge.errors import ProfileError
from multiedge.fleet import Fleet
from multiedge.formats.profile import profile_from_json, profile_to_json
from multiedge.plan import Stage
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from multiedge.run import plan_model
from multiedge.simulation.simulate import Load, simulate
from multiedge.spans import BatchedSpans, FastestSpans, MeasuredSpans
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.plans import paths_plan, relay_plan
from tests.builders.profiles import profile_of

NAN, INF = float("nan"), float("inf")
ADDITIVE = profile_of(chain_graph(4, sizes=10), {"a": [1.0, 1.0, 2.0, 4.0], "b": 1.0}, overhead_s={"a": 0.5})
TABLE = np.array([[INF, 1, 3, 6, INF], [INF, INF, 1, 4, 9], [INF, INF, INF, 2, 5], [INF, INF, INF, INF, 2], [INF] * 5])
FLEET: Fleet = fleet_of("a", "b")


@pytest.fixture
def profile() -> Profile:
    return replace(ADDITIVE, spans={"a": MeasuredSpans((0, 1, 2, 3, 4), TABLE)})


@pytest.fixture
def batched() -> BatchedSpans:
    """Memory for 100 bytes: 10 of parameters and 5 of state for each node and item, batches of at most 8."""
    return BatchedSpans(np.full(4, 8.0), np.full(4, 1.0), np.full(4, 10), np.full(4, 5), room_bytes=100, most_items=8)


def test_a_stage_takes_the_time_of_its_span_and_the_overhead(profile: Profile) -> None:
    plan = relay_plan(profile, FLEET, Stage.span("a", 0, 3), Stage.span("b", 3, 4))
    assert [stage.compute_s for stage in plan.estimate.stages] == [0.5 + 6, 1.0]
    assert plan.value == 6.5


def test_stages_of_one_device_share_the_time_of_all_nodes_that_it_holds(profile: Profile) -> None:
    """a holds nodes 0 to 2, which take 6 s together, and 1, 1 and 2 parts of it each."""
    head, tail = Stage.span("a", 0, 2), Stage.span("a", 2, 3)
    plan = paths_plan(
        profile, FLEET, (1.0, [head, tail, Stage.span("b", 3, 4)]), (1.0, [Stage.span("b", 0, 2), tail, Stage.span("b", 3, 4)])
    )
    times = {
        (stage.device, stage.nodes[0]): each.compute_s for stage, each in zip(plan.stages, plan.estimate.stages, strict=True)
    }
    assert times["a", 0] == times["a", 2] == 0.5 + 3.0


def test_the_simulator_takes_the_same_times(profile: Profile) -> None:
    plan = relay_plan(profile, FLEET, Stage.span("a", 0, 3), Stage.span("b", 3, 4))
    found = simulate(plan, profile, FLEET, load=Load(items=100, warmup=10))
    assert len(found.items) / (found.stop_s - found.start_s) == pytest.approx(1 / 6.5)


def test_a_span_without_a_time_cannot_be_held(profile: Profile) -> None:
    plan = relay_plan(ADDITIVE, FLEET, Stage.span("a", 0, 4))
    assert violations(profile, FLEET, plan.stages, plan.transfers) == [
        "device 'a' cannot hold nodes 0 to 3: its profile has no finite time for them"
    ]


def test_brute_force_plans_with_times_that_do_not_add_up(profile: Profile) -> None:
    plan = plan_model(profile, FLEET, "brute_force", objective="throughput")
    assert (plan.value, plan.gap) == (3.0, 0.0)  # one node on a takes 1.5 s, the other three on b 3 s


def test_a_strategy_that_adds_times_refuses_and_names_those_that_do_not(profile: Profile) -> None:
    with pytest.raises(ProfileError, match=r"those of device 'a' do not add up; plan with 'latency', 'throughput' or 'flow'"):
        plan_model(profile, FLEET, "mincut")


def test_more_nodes_leave_room_for_smaller_batches(batched: BatchedSpans) -> None:
    assert [batched.items(0, stop) for stop in (1, 2, 3, 4)] == [8, 8, 4, 3]
    assert batched.seconds(0, 1) == 1 + 8 / 8
    assert batched.seconds(0, 4) == 4 + 32 / 3
    assert replace(batched, room_bytes=12).seconds(0, 1) == INF


def test_half_the_speed_takes_twice_the_time(profile: Profile, batched: BatchedSpans) -> None:
    slower = profile.with_speed({"a": 0.5})
    assert slower.span_s("a", 0, 2) == 2 * profile.span_s("a", 0, 2) == 6.0
    assert batched.at_speed(0.5).seconds(1, 3) == 2 * batched.seconds(1, 3)


def test_costs_of_spans_come_back_from_json(profile: Profile, batched: BatchedSpans) -> None:
    both = replace(profile, spans={**profile.spans, "b": batched})
    back = profile_from_json(json.loads(json.dumps(profile_to_json(both), allow_nan=False)))
    spans = [(start, stop) for start in range(4) for stop in range(start + 1, 5)]
    for device in ("a", "b"):
        assert [back.span_s(device, *span) for span in spans] == [both.span_s(device, *span) for span in spans]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"kind": "guessed"}, "devices.a.spans.kind: unknown value 'guessed'"),
        ({"boundaries": [0, 2, 1, 3, 4]}, "devices.a.spans.boundaries: expected ascending boundaries"),
        ({"seconds": [[1.0]]}, "devices.a.spans.seconds: expected 5 rows of 5 times"),
        ({"boundaries": [0, 1, 2, 3, 9]}, r"devices.a.spans.boundaries\[4\]: expected a whole number from 0 to 4"),
    ],
)
def test_damaged_costs_of_spans_are_refused_by_field(profile: Profile, change: dict[str, object], expected: str) -> None:
    data = profile_to_json(profile)
    data["devices"]["a"]["spans"].update(change)
    with pytest.raises(ProfileError, match=expected):
        profile_from_json(data)


def test_tables_of_another_shape_or_without_time_are_refused() -> None:
    with pytest.raises(ProfileError, match="expected a table of 2 x 2 seconds"):
        MeasuredSpans((0, 1), np.ones((3, 3)))
    with pytest.raises(ProfileError, match="expected times above 0"):
        MeasuredSpans((0, 1), np.zeros((2, 2)))
    with pytest.raises(ProfileError, match="expected ascending boundaries"):
        MeasuredSpans((1, 0), np.ones((2, 2)))


WAYS = FastestSpans(("plain", "rounded"), np.array([[1.0, 1.0, 2.0, 4.0], [2.0, 0.5, 1.0, 1.0]]), np.array([0.0, 0.25]))


def test_a_device_takes_the_way_that_is_the_fastest_for_all_that_it_holds() -> None:
    assert [WAYS.names[WAYS.way(*span)] for span in ((0, 1), (0, 2), (1, 2), (0, 4))] == [
        "plain",
        "plain",
        "rounded",
        "rounded",
    ]
    assert [WAYS.seconds(*span) for span in ((0, 2), (1, 2), (0, 4), (2, 2))] == [2.0, 0.75, 4.75, INF]
    assert WAYS.way_s(0, 0, 4) == 8.0
    assert WAYS.at_speed(0.5).seconds(0, 4) == 9.5


def test_the_table_of_ways_has_the_time_of_each_span() -> None:
    matrix_s = WAYS.matrix_s(4)
    spans = [(start, stop) for start in range(5) for stop in range(5)]
    assert [matrix_s[span] for span in spans] == [WAYS.seconds(*span) for span in spans]


def test_ways_come_back_from_json_and_must_have_times_and_names() -> None:
    both = replace(ADDITIVE, spans={"a": WAYS})
    back = profile_from_json(json.loads(json.dumps(profile_to_json(both), allow_nan=False))).spans["a"]
    assert isinstance(back, FastestSpans)
    assert (back.names, back.rows.tolist(), back.more_s.tolist()) == (WAYS.names, WAYS.rows.tolist(), WAYS.more_s.tolist())
    with pytest.raises(ProfileError, match="expected one row and one overhead for each of the ways, got 2 ways"):
        replace(WAYS, more_s=np.zeros(1))


@pytest.mark.parametrize("strategy", ["throughput", "latency"])
def test_a_proven_plan_over_ways_is_as_good_as_the_best_way_on_each_device(strategy: str) -> None:
    """Every choice of one way for each device, planned by brute force, and the best of these plans."""
    ways = {"a": WAYS, "b": FastestSpans(("x", "y"), np.array([[3.0] * 4, [1.0, 1.0, 9.0, 9.0]]), np.array([0.0, 0.5]))}
    plan = plan_model(replace(ADDITIVE, overhead_s={}, spans=ways), FLEET, strategy)
    values = []
    for one in range(2):
        for other in range(2):
            seconds = {"a": ways["a"].rows[one], "b": ways["b"].rows[other]}
            overhead_s = {"a": float(ways["a"].more_s[one]), "b": float(ways["b"].more_s[other])}
            fixed = replace(ADDITIVE, seconds=seconds, overhead_s=overhead_s)
            values.append(plan_model(fixed, FLEET, "brute_force", objective=strategy).value)
    assert plan.value == pytest.approx(min(values))
    assert plan.lower_bound == pytest.approx(min(values))
