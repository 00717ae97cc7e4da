"""The front: plans of which none is better in one respect without being worse in another."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from multiedge.errors import InfeasibleError
from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.pareto import front, respects, undominated
from multiedge.plan import DeviceMemory, Estimate, Plan, StageEstimate
from tests.builders.fleets import fleet_of, with_devices
from tests.builders.graphs import chain_graph
from tests.builders.plans import relay_plan, spans
from tests.builders.profiles import profile_of


def plan(bottleneck_s: float, latency_s: float, energy_j: float | None, *memory_bytes: int, strategy: str = "") -> Plan:
    stages = tuple(StageEstimate(0.0, 0.0, nbytes, None, 0.0) for nbytes in memory_bytes or (1,))
    memory = tuple(DeviceMemory(f"d{number}", stage.memory_bytes, None) for number, stage in enumerate(stages))
    estimate = Estimate(stages, bottleneck_s, "", latency_s, energy_j, 0, memory=memory)
    return Plan(strategy, "throughput", (), (), estimate, bottleneck_s)


def test_respects_are_time_latency_joules_and_the_fullest_device() -> None:
    assert respects(plan(1.0, 2.0, 3.0, 40, 70, 60)) == (1.0, 2.0, 3.0, 70.0)
    assert respects(plan(1.0, 2.0, None, 40)) == (1.0, 2.0, math.inf, 40.0)


@pytest.mark.parametrize(
    ("plans", "kept"),
    [
        pytest.param([plan(1, 1, 1)], [0], id="one"),
        pytest.param([plan(2, 1, 1), plan(1, 2, 1)], [1, 0], id="each better in one respect, by bottleneck"),
        pytest.param([plan(2, 2, 2), plan(1, 1, 1)], [1], id="worse in all"),
        pytest.param([plan(1, 1, 2), plan(1, 1, 1)], [1], id="worse in one, equal in the rest"),
        pytest.param([plan(1, 1, 1, strategy="first"), plan(1, 1, 1)], [0], id="equal: the first"),
        pytest.param([plan(1, 1, None), plan(2, 2, 5)], [0, 1], id="unknown joules are the worst"),
        pytest.param([plan(1, 1, None), plan(2, 2, None)], [0], id="unknown on both sides"),
        pytest.param([plan(1, 1, 1, 9), plan(2, 2, 2, 3)], [0, 1], id="less memory"),
        pytest.param([plan(1 + 1e-12, 1, 1), plan(1, 1, 1 + 1e-12)], [1], id="rounding makes no difference"),
    ],
)
def test_plans_beaten_in_every_respect_go(plans: list[Plan], kept: list[int]) -> None:
    assert list(undominated(plans)) == [plans[index] for index in kept]


PROFILE = profile_of(chain_graph(4, sizes=2, weight_bytes=10), dict.fromkeys("ab", 1.0))
FLEET = fleet_of("a", "b", links=Link(1.0))


def test_the_front_of_two_devices_trades_rate_for_latency_and_memory() -> None:
    """One device: 4 s and 4 s. Two: 2 s per item, 6 s for one (2 s on the way), half the weights on each."""
    plans = front(PROFILE, FLEET, steps=2)
    assert [(plan.estimate.bottleneck_s, plan.estimate.latency_s) for plan in plans] == [(2.0, 6.0), (4.0, 4.0)]
    assert respects(plans[0])[3] < respects(plans[1])[3]


def test_without_watts_energy_plays_no_part_and_with_them_it_does() -> None:
    assert all(plan.estimate.energy_j is None for plan in front(PROFILE, FLEET, steps=1))
    thrifty = Fleet((Device("a", power=Power(0, 100)), Device("b", power=Power(0, 1))), FLEET.links)
    slower = replace(PROFILE, seconds={"a": PROFILE.seconds["a"], "b": 3 * PROFILE.seconds["a"]})
    plans = front(slower, thrifty, steps=2)
    assert min(plan.estimate.energy_j for plan in plans) == pytest.approx(12.0)
    assert max(plan.estimate.energy_j for plan in plans) > 12.0


def test_every_plan_of_the_front_runs_within_the_real_limits() -> None:
    limited = with_devices(FLEET, memory_bytes=60)
    for plan in front(PROFILE, limited, steps=3):
        assert all(stage.memory_bytes <= 60 == stage.memory_limit_bytes for stage in plan.estimate.stages)


def test_a_plan_made_under_a_cap_says_under_which() -> None:
    """b takes five times as long as a; six weights of 200 kB, so less memory on a is more time on b."""
    heavy = profile_of(chain_graph(6, sizes=0, weight_bytes=200_000), {"a": 1.0, "b": 5.0})
    plans = front(heavy, fleet_of("a", "b"), steps=4)
    assert [(plan.value, respects(plan)[3]) for plan in plans] == [(5.0, 1e6), (6.0, 1.2e6), (10.0, 8e5), (15.0, 6e5)]
    assert [plan.bound_scope for plan in plans[2:]] == [
        "contiguous plans within 0.8 MiB on each device",
        "contiguous plans within 0.6 MiB on each device",
    ]


def test_one_device_has_a_front_of_one_plan() -> None:
    assert [plan.stages for plan in front(PROFILE, fleet_of("a"))] == [
        relay_plan(PROFILE, fleet_of("a"), *spans(("a", 4))).stages
    ]


def test_there_is_no_front_where_nothing_fits() -> None:
    with pytest.raises(InfeasibleError, match="fits the memory"):
        front(PROFILE, with_devices(FLEET, memory_bytes=5))
