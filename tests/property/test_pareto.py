"""The front holds the optimum of each respect, and no plan that another beats in all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from multiedge.errors import InfeasibleError
from multiedge.pareto import front, respects
from multiedge.planning import cost
from multiedge.planning.checks import violations
from partitioners.brute_force import BruteForce
from tests.builders.chains import instances


@settings(max_examples=25, deadline=None)
@given(instances(max_devices=3))
def test_the_front_spans_all_respects(instance):
    profile, fleet = instance
    everything = [
        cost.make_plan("any", "throughput", profile, fleet, *placement)
        for placement in BruteForce().placements(profile, fleet)
        if not violations(profile, fleet, *placement)
    ]
    if not everything:
        with pytest.raises(InfeasibleError):
            front(profile, fleet)
        return
    plans = front(profile, fleet, steps=3, time_limit_s=0.3)
    found = np.array([respects(plan) for plan in plans])
    best = np.array([respects(plan) for plan in everything]).min(axis=0)
    assert found[:, 0].min() == pytest.approx(best[0], rel=1e-9)
    assert found[:, 2].min() == pytest.approx(best[2], rel=1e-4)
    assert found[:, 3].min() == best[3]
    if len(profile.graph.outputs) == 1:
        assert found[:, 1].min() == pytest.approx(best[1], rel=1e-9)
    for index, plan in enumerate(plans):
        others = np.delete(found, index, axis=0)
        assert not (others <= found[index]).all(axis=1).any()
        assert violations(profile, fleet, plan.stages, plan.transfers) == []
        limits = [fleet.device(stage.device).memory_bytes for stage in plan.stages]
        assert [stage.memory_limit_bytes for stage in plan.estimate.stages] == limits
