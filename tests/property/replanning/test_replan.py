"""New plans for random fleets that have changed: they run, move what they say, and are nearly as good as the best."""

from __future__ import annotations

import random

import pytest

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Plan
from multiedge.profile import Profile
from multiedge.replanning.replan import replan
from partitioners.throughput import Throughput
from tests.builders.cases import Options, random_case
from tests.builders.oracle import Oracle, best

CASES = Options(devices=(2, 3), scales_s=(1.0,))


def running_plan(profile: Profile, fleet: Fleet) -> Plan | None:
    try:
        return Throughput().plan(profile, fleet)
    except InfeasibleError:
        return None


def parameters_moved(oracle: Oracle, running: Plan, plan: Plan) -> int:
    """Bytes of parameters that each device needs for the new plan and does not hold for the old one."""

    def held(of: Plan, device: str) -> set[str]:
        nodes = [node for stage in of.stages if device in stage.devices for node in stage.nodes]
        return set[str]().union(*(oracle.parameters[node] for node in nodes))

    devices = {device for stage in plan.stages for device in stage.devices}
    missing = [name for device in devices for name in held(plan, device) - held(running, device)]
    return sum(oracle.graph.parameters[name].nbytes or 0 for name in missing)


@pytest.mark.parametrize("first", range(0, 120, 40))
def test_after_a_device_has_left_the_plan_runs_on_the_rest_and_is_nearly_the_best(first: int) -> None:
    for seed in range(first, first + 40):
        profile, fleet = random_case(seed, CASES)
        running = running_plan(profile, fleet)
        if running is None:
            continue
        lost = random.Random(seed).choice([name for name in fleet.names if name != fleet.source])
        oracle = Oracle(profile, fleet.without(lost))
        optimum = best(oracle.contiguous_costs(), "throughput")
        if optimum is None:
            with pytest.raises(InfeasibleError):
                replan(running, profile, oracle.fleet)
            continue
        again = replan(running, profile, oracle.fleet, tolerance=0.1)
        oracle.require_sound(again.plan)
        assert lost not in {device for stage in again.plan.stages for device in stage.devices}, seed
        assert again.moved_bytes == parameters_moved(oracle, running, again.plan), seed
        assert again.plan.value <= optimum * 1.1 * (1 + 1e-9), seed


@pytest.mark.parametrize("tolerance", [0.0, 0.2])
def test_with_other_speeds_the_plan_stays_within_the_tolerance_and_nothing_moves_without_need(tolerance: float) -> None:
    for seed in range(60):
        profile, fleet = random_case(seed, CASES)
        running, rng = running_plan(profile, fleet), random.Random(seed)
        if running is None:
            continue
        now = profile.with_speed({name: rng.choice([0.5, 1.0, 2.0]) for name in fleet.names})
        oracle = Oracle(now, fleet)
        again = replan(running, now, fleet, tolerance=tolerance)
        oracle.require_sound(again.plan)
        optimum = best(oracle.contiguous_costs(), "throughput")
        assert again.plan.value <= optimum * (1 + tolerance) * (1 + 1e-9), seed
        assert again.moved_bytes == parameters_moved(oracle, running, again.plan), seed
        if oracle.cost_of(running).bottleneck_s <= min(optimum, again.plan.value) * (1 + tolerance) * (1 - 1e-9):
            assert again.moved_bytes == 0, seed
