"""Exchangeable devices, swapped in random plans, change no figure of the cost model."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations

from multiedge.fleet import Fleet, Link
from multiedge.plan import Stage, direct_transfers
from multiedge.planning import cost
from multiedge.planning.devices import exchangeable
from multiedge.profile import Profile
from tests.builders.cases import random_case
from tests.builders.oracle import Oracle


def with_copy(profile: Profile, fleet: Fleet, name: str) -> tuple[Profile, Fleet]:
    """The fleet with a second device that is like `name`, links included."""
    twin = f"{name}-twin"
    links = dict(fleet.links)
    for (a, b), link in fleet.links.items():
        links.setdefault((twin, b) if a == name else (a, twin) if b == name else (a, b), link)
    links.setdefault((name, twin), Link(3.0, 0.25))
    devices = (*fleet.devices, replace(fleet.device(name), name=twin))
    profile = profile.with_seconds(twin, profile.seconds_on(name), "copied")
    overhead_s = {**profile.overhead_s, twin: profile.overhead_s.get(name, 0.0)}
    return replace(profile, overhead_s=overhead_s), replace(fleet, devices=devices, links=links)


def swapped(stages: list[Stage], a: str, b: str) -> list[Stage]:
    other = {a: b, b: a}
    names = [tuple(other.get(device, device) for device in stage.devices) for stage in stages]
    return [replace(stage, device=each[0], replicas=each[1:]) for stage, each in zip(stages, names, strict=True)]


def test_swapping_exchangeable_devices_changes_no_figure_of_a_plan() -> None:
    compared = 0
    for seed in range(150):
        profile, fleet = random_case(seed)
        rng = random.Random(seed)
        profile, fleet = with_copy(profile, fleet, rng.choice(fleet.names))
        stages = Oracle(profile, fleet).random_stages(rng)
        before = figures(profile, fleet, stages)
        for group in exchangeable(profile, fleet):
            for a, b in combinations(group, 2):
                assert figures(profile, fleet, swapped(stages, a, b)) == before, seed
                compared += 1
    assert compared > 75


def figures(profile: Profile, fleet: Fleet, stages: list[Stage]) -> tuple[object, ...]:
    """All figures that name no device, rounded: sums over devices add up in another order."""
    expected = cost.estimate(profile, fleet, stages, direct_transfers(profile.graph, stages))
    joules = None if expected.energy_j is None else f"{expected.energy_j:.9g}"
    numbers = (f"{expected.bottleneck_s:.9g}", f"{expected.latency_s:.9g}", joules, expected.network_bytes)
    each = [(stage.memory_bytes, stage.memory_limit_bytes, f"{stage.compute_s:.9g}") for stage in expected.stages]
    return (*numbers, each, [f"{stage.transfer_s:.9g}" for stage in expected.stages])
