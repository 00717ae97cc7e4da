"""Fleets too large to search as they are: the plan runs, and its bound holds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.planning.checks import violations
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from partitioners.brute_force import BruteForce
from partitioners.engine import chain as chain_module
from partitioners.latency import Latency
from partitioners.throughput import Throughput
from tests.builders.chains import instances


@pytest.fixture(scope="module", autouse=True)
def _small_tables():
    usual, chain_module.MOST_CELLS = chain_module.MOST_CELLS, 40
    yield
    chain_module.MOST_CELLS = usual


@settings(max_examples=60, deadline=None)
@given(instances())
def test_bounds_hold_and_plans_run_where_kinds_were_merged(instance):
    profile, fleet = instance
    for strategy in (Throughput(), Latency()):
        objective = "throughput" if isinstance(strategy, Throughput) else "latency"
        try:
            plan = strategy.plan(profile, fleet)
        except (InfeasibleError, ConfigError):
            continue
        best = BruteForce(objective).plan(profile, fleet).value
        assert violations(profile, fleet, plan.stages, plan.transfers) == []
        assert plan.lower_bound <= best * (1 + 1e-9)
        assert plan.value >= best * (1 - 1e-9)


def test_a_fleet_too_varied_and_too_small_is_infeasible_all_the_same(monkeypatch):
    monkeypatch.setattr(chain_module, "MOST_CELLS", 200)
    fleet = synthetic_fleet((1,) * 5, seed=2, memory_bytes=[1 << 16] * 5)
    profile = synthetic_profile(synthetic_graph(20, seed=1), fleet, seed=1)
    with pytest.raises(InfeasibleError, match=r"fits the memory of .* times the memory on each device would do"):
        Throughput().plan(profile, fleet)


def test_thirty_different_devices_get_a_plan_with_a_gap(monkeypatch):
    monkeypatch.setattr(chain_module, "MOST_CELLS", 2_000_000)
    fleet = synthetic_fleet((1,) * 30, seed=2, links=False)
    profile = synthetic_profile(synthetic_graph(200, seed=1), fleet, seed=1, unrelated=0.0)
    plan = Throughput().plan(profile, fleet)
    assert 0 < plan.gap < 0.1
    assert set(plan.left_out) == set(fleet.names) - {stage.device for stage in plan.stages}
