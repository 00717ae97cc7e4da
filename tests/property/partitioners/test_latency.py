"""`latency` against every plan there is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiedge.errors import InfeasibleError
from multiedge.planning import cost
from multiedge.planning.checks import violations
from partitioners.brute_force import BruteForce
from partitioners.latency import Latency
from tests.builders.chains import instances


@settings(max_examples=200, deadline=None)
@given(instances(max_devices=3))
def test_latency_is_the_best_of_all_contiguous_plans(instance):
    profile, fleet = instance
    try:
        best = BruteForce("latency").plan(profile, fleet)
    except InfeasibleError:
        with pytest.raises(InfeasibleError, match="MiB more on"):
            Latency().plan(profile, fleet)
        return
    plan = Latency().plan(profile, fleet)
    assert violations(profile, fleet, plan.stages, plan.transfers) == []
    assert plan.lower_bound is not None
    assert plan.lower_bound <= best.value * (1 + 1e-9)
    if plan.gap == 0 or len(profile.graph.outputs) == 1 or fleet.source is None:
        assert plan.gap == 0
        assert plan.value == pytest.approx(best.value, rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(instances(max_devices=3), st.floats(0.5, 3))
def test_a_bound_on_the_bottleneck_is_kept_at_least_latency(instance, factor):
    profile, fleet = instance
    oracle = BruteForce("latency")
    estimates = [
        cost.estimate(profile, fleet, *placement)
        for placement in oracle.placements(profile, fleet)
        if not violations(profile, fleet, *placement)
    ]
    if not estimates:
        return
    least = min(expected.bottleneck_s for expected in estimates)
    allowed = [expected.latency_s for expected in estimates if expected.bottleneck_s <= least * factor * (1 + 1e-13)]
    if not allowed:
        with pytest.raises(InfeasibleError, match=r"ask for .* items/s, the most possible"):
            Latency(min_fps=1 / (least * factor)).plan(profile, fleet)
        return
    plan = Latency(min_fps=1 / (least * factor)).plan(profile, fleet)
    assert plan.estimate.bottleneck_s <= least * factor * (1 + 1e-9)
    if plan.gap == 0:
        assert plan.value == pytest.approx(min(allowed), rel=1e-9)
