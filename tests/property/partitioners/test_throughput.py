"""`throughput` against every plan there is, and the laws that its optimum obeys."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise, permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Stage, relay_transfers
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from partitioners.brute_force import BruteForce
from partitioners.engine.remedy import least_extra_bytes
from partitioners.throughput import Throughput
from tests.builders.chains import instances
from tests.builders.dags import keeps_fused

MIB = 1 << 20


@settings(max_examples=300, deadline=None)
@given(instances())
def test_throughput_is_the_best_of_all_contiguous_plans(instance):
    profile, fleet = instance
    try:
        best = BruteForce().plan(profile, fleet)
    except InfeasibleError:
        with pytest.raises(InfeasibleError, match="MiB more on"):
            Throughput().plan(profile, fleet)
        return
    plan = Throughput().plan(profile, fleet)
    assert plan.value == pytest.approx(best.value, rel=1e-9)
    assert plan.lower_bound == plan.value
    assert violations(profile, fleet, plan.stages, plan.transfers) == []
    assert set(plan.left_out) == set(fleet.names) - {device for stage in plan.stages for device in stage.devices}


def replicated_plans(profile: Profile, fleet: Fleet):
    """Every contiguous plan in which a stage may also run on several devices that are exchangeable."""
    nodes = len(profile)
    teams = [
        team
        for size in range(1, len(fleet.devices) + 1)
        for team in combinations(fleet.names, size)
        if len(team) == 1 or (len({fleet.device(name).type for name in team}) == 1 and fleet.source not in team)
    ]
    for count in range(1, len(fleet.devices) + 1):
        for order in permutations(teams, count):
            if len({name for team in order for name in team}) < sum(map(len, order)):
                continue
            for inner in combinations(range(1, nodes), count - 1):
                spans = pairwise((0, *inner, nodes))
                stages = [Stage.span(team[0], *span, team[1:]) for team, span in zip(order, spans, strict=True)]
                transfers = relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())
                if keeps_fused(profile, stages) and not violations(profile, fleet, stages, transfers):
                    yield cost.estimate(profile, fleet, stages, transfers).bottleneck_s


@settings(max_examples=60, deadline=None)
@given(instances(max_devices=3))
def test_replicas_are_used_just_when_they_help(instance):
    profile, fleet = instance
    best = min(replicated_plans(profile, fleet), default=None)
    if best is None:
        with pytest.raises(InfeasibleError):
            Throughput(replicate=True).plan(profile, fleet)
        return
    plan = Throughput(replicate=True).plan(profile, fleet)
    assert plan.value == pytest.approx(best, rel=1e-9)
    assert plan.lower_bound == plan.value


@settings(max_examples=60, deadline=None)
@given(instances(), st.integers(0, 3))
def test_a_device_more_never_worsens_the_optimum(instance, position):
    profile, fleet = instance
    assume(len(fleet.devices) > 1)
    leaving = fleet.devices[1 + position % (len(fleet.devices) - 1)].name
    try:
        before = Throughput().plan(profile, fleet.without(leaving))
    except InfeasibleError:
        return
    assert Throughput().plan(profile, fleet).value <= before.value * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(instances())
def test_the_remedy_is_enough_and_not_too_much(instance):
    profile, fleet = instance
    for name in fleet.names:
        extra = least_extra_bytes(profile, fleet, name)
        if extra > 0:
            with pytest.raises(InfeasibleError):
                Throughput().plan(profile, with_memory(fleet, name, extra - 1024))
        assert Throughput().plan(profile, with_memory(fleet, name, extra)).stages


def with_memory(fleet: Fleet, name: str, extra: int) -> Fleet:
    devices = [replace(d, memory_bytes=d.memory_bytes + extra) if d.name == name else d for d in fleet.devices]
    return replace(fleet, devices=tuple(devices))
