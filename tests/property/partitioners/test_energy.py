"""`energy` against every plan there is, with and without bounds on throughput and latency."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.planning import cost
from multiedge.planning.checks import violations
from partitioners.brute_force import BruteForce
from partitioners.energy import Energy
from tests.builders.chains import instances


def estimates(profile, fleet):
    """Of every contiguous plan that runs and whose energy is known."""
    return [
        expected
        for placement in BruteForce("energy").placements(profile, fleet)
        if not violations(profile, fleet, *placement)
        for expected in [cost.estimate(profile, fleet, *placement)]
        if expected.energy_j is not None
    ]


@settings(max_examples=120, deadline=None)
@given(instances(max_devices=3))
def test_energy_is_the_best_of_all_contiguous_plans(instance):
    profile, fleet = instance
    allowed = estimates(profile, fleet)
    if not allowed:
        with pytest.raises(InfeasibleError, match="MiB more on"):
            Energy().plan(profile, fleet)
        return
    plan = Energy().plan(profile, fleet)
    least = min(expected.energy_j for expected in allowed)
    assert plan.value == pytest.approx(least, rel=2e-6)
    assert plan.lower_bound <= plan.value
    assert plan.gap <= 1e-6


@settings(max_examples=120, deadline=None)
@given(instances(max_devices=3), st.floats(1.0, 2), st.floats(0.8, 2))
def test_bounds_are_kept_and_the_gap_is_honest(instance, slower, later):
    profile, fleet = instance
    everything = estimates(profile, fleet)
    if not everything:
        return
    most_s = slower * min(expected.bottleneck_s for expected in everything)
    latency_s = later * min(expected.latency_s for expected in everything)
    allowed = [e.energy_j for e in everything if e.bottleneck_s <= most_s and e.latency_s <= latency_s]
    strategy = Energy(min_fps=1 / most_s, max_latency_s=latency_s, time_limit_s=2)
    try:
        plan = strategy.plan(profile, fleet)
    except InfeasibleError:
        plan = None
    if not allowed:
        assert plan is None
        return
    if plan is None:
        assert min(map(profile.graph.producer.get, profile.graph.outputs)) < len(profile) - 1, "missed without early outputs"
        return
    assert plan.estimate.bottleneck_s <= most_s * (1 + 1e-9)
    assert plan.estimate.latency_s <= latency_s * (1 + 1e-9)
    assert plan.lower_bound <= min(allowed) * (1 + 2e-6)
    assert plan.value >= min(allowed) * (1 - 1e-9)


@settings(max_examples=30, deadline=None)
@given(instances(max_devices=3))
def test_devices_without_watts_are_left_out(instance):
    profile, fleet = instance
    silent = replace(fleet.devices[-1], power=None)
    part = replace(fleet, devices=(*fleet.devices[:-1], silent))
    allowed = estimates(profile, part)
    if not allowed:
        with pytest.raises((InfeasibleError, ConfigError)):
            Energy().plan(profile, part)
        return
    plan = Energy().plan(profile, part)
    assert plan.left_out[silent.name] == "it declares no power"
    assert plan.value == pytest.approx(min(expected.energy_j for expected in allowed), rel=2e-6)
