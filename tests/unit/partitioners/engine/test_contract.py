"""What all strategies share: options that are checked, and plans that can run."""

from __future__ import annotations

import math

import pytest

from multiedge.errors import ConfigError, PlanError
from multiedge.plan import Stage
from partitioners.engine.contract import check_objective, contiguous_plan, most_bottleneck_s, unused
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.plans import spans
from tests.builders.profiles import profile_of

FLEET = fleet_of("a", "b", "c")
PROFILE = profile_of(chain_graph(3), dict.fromkeys("abc", 1.0))


@pytest.mark.parametrize("objective", ["throughput", "latency", "energy"])
def test_known_objectives_pass(objective: str) -> None:
    assert check_objective(objective) == objective


def test_an_unknown_objective_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"got 'latncy'; did you mean 'latency'\?"):
        check_objective("latncy")


@pytest.mark.parametrize(
    ("min_fps", "expected"),
    [pytest.param(None, math.inf, id="no bound"), (4.0, 0.25), (1e-9, 1e9), pytest.param(math.inf, 0.0, id="no time at all")],
)
def test_items_per_second_become_seconds_per_item(min_fps: float | None, expected: float) -> None:
    assert most_bottleneck_s(min_fps) == pytest.approx(expected)


@pytest.mark.parametrize("min_fps", [0, -1.0, math.nan])
def test_a_rate_that_is_none_is_refused(min_fps: float) -> None:
    with pytest.raises(ConfigError, match="min_fps: expected items per second, more than 0, got"):
        most_bottleneck_s(min_fps)


def test_a_contiguous_plan_hands_on_and_keeps_its_proof() -> None:
    plan = contiguous_plan("mine", "latency", PROFILE, FLEET, spans(("b", 1), ("a", 2)), lower_bound=0.5, notes=("a note",))
    assert [(move.source, move.target, move.tensors) for move in plan.transfers] == [
        (-1, 0, ("t0",)),
        (0, 1, ("t1",)),
        (1, -1, ("t3",)),
    ]
    assert (plan.strategy, plan.objective, plan.value, plan.lower_bound, plan.notes) == (
        "mine",
        "latency",
        3.0,
        0.5,
        ("a note",),
    )


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        pytest.param([Stage("z", (0, 1, 2))], "device 'z' is not in fleet", id="a device that is not there"),
        pytest.param([Stage("a", (0, 1))], "node 2 'n2' is in no stage", id="a node left out"),
    ],
)
def test_a_strategy_cannot_return_what_cannot_run(stages: list[Stage], message: str) -> None:
    with pytest.raises(PlanError, match=f"plan of 'mine' cannot run: .*{message}"):
        contiguous_plan("mine", "throughput", PROFILE, FLEET, stages)


def test_unused_devices_get_the_one_reason_or_their_own() -> None:
    stages = [Stage("a", (0,), ("b",))]
    assert unused(FLEET, stages, "slow") == {"c": "slow"}
    assert unused(FLEET, [Stage("b", (0,))], {"a": "far", "b": "used", "c": "small"}) == {"a": "far", "c": "small"}
    assert unused(FLEET, [Stage("a", (0,), ("b", "c"))], "slow") == {}
