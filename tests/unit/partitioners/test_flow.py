"""Plans with several paths: examples by hand, and the same rate as trying every placement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet, Link
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from multiedge.proof import Plans
from multiedge.run import plan_model
from multiedge.simulation.simulate import Load, simulate
from multiedge.spans import BatchedSpans
from tests.builders.fleets import fleet_of
from tests.builders.flow_cases import QUICK, flow_case
from tests.builders.flow_oracle import best_seconds
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of

EXACT = 2e-6
"""The solver's tolerance, relative."""


def test_unlike_devices_share_the_items_by_their_rates() -> None:
    profile = profile_of(chain_graph(1, sizes=10), {"fast": 1.0, "slow": 3.0})
    plan = plan_model(profile, fleet_of("fast", "slow"), "flow")
    assert plan.value == pytest.approx(1 / (1 + 1 / 3))
    assert {plan.stages[path.stages[0]].device: path.items_per_s for path in plan.paths} == pytest.approx(
        {"fast": 1.0, "slow": 1 / 3}
    )


def test_an_item_may_enter_inside_the_span_of_another_device() -> None:
    """a has memory for one node, b for both: what a computes, b need not; b takes whole items besides."""
    profile = profile_of(chain_graph(2, sizes=0, weight_bytes=100), {"a": [1.0, 1.0], "b": [1.0, 1.0]})
    fleet = Fleet((Device("a", memory_bytes=100), Device("b", memory_bytes=200)))
    plan = plan_model(profile, fleet, "flow")
    # a is busy all the time with node 0 of all items, and so is b with node 1: no path needs more.
    assert plan.value == pytest.approx(1.0)
    faster = profile.with_seconds("a", np.array([4.0, 4.0]), "test")
    shared = plan_model(faster, fleet, "flow")
    # x items/s enter b at node 1 after node 0 on a (4 x <= 1), y enter at node 0: x + 2 y <= 1, so 0.25 + 0.375.
    assert shared.value == pytest.approx(1 / 0.625)
    assert len(shared.paths) == 2


def test_a_link_limits_what_flows_over_it() -> None:
    profile = profile_of(chain_graph(1, sizes=100), {"a": 1.0, "b": 1.0})
    fleet = Fleet((Device("a"), Device("b")), {("a", "b"): Link(40.0)}, source="a")
    plan = plan_model(profile, fleet, "flow")
    # b gets an input of 100 bytes for each of its items, at 40 bytes/s.
    assert plan.value == pytest.approx(1 / 1.4)


def test_the_rate_is_that_of_the_simulation() -> None:
    profile, fleet = flow_case(3)
    plan = plan_model(profile, fleet, "flow")
    found = simulate(plan, profile, fleet, load=Load(items=400, warmup=50))
    assert len(found.items) / (found.stop_s - found.start_s) == pytest.approx(1 / plan.value, rel=0.05)


def test_the_rates_of_the_paths_add_up_to_that_of_the_plan() -> None:
    for seed in range(10):
        profile, fleet = flow_case(seed, QUICK)
        try:
            plan = plan_model(profile, fleet, "flow")
        except InfeasibleError:
            continue
        assert sum(path.items_per_s for path in plan.paths) == pytest.approx(1 / plan.value, rel=1e-6)


def _rate_equals_that_of_all_placements(seed: int, *sizes: tuple[tuple[int, int], ...]) -> None:
    profile, fleet = flow_case(seed, *sizes)
    expected = best_seconds(profile, fleet)
    if expected == float("inf"):
        with pytest.raises(InfeasibleError):
            plan_model(profile, fleet, "flow")
        return
    plan = plan_model(profile, fleet, "flow")
    assert plan.value == pytest.approx(expected, rel=EXACT)
    assert plan.lower_bound is not None
    assert plan.lower_bound <= expected * (1 + 1e-9)
    assert plan.gap == pytest.approx(0, abs=1e-3)
    assert plan.scope is not None
    assert plan.scope.plans is Plans.PATHS


@pytest.mark.parametrize("seed", range(60))
def test_the_rate_is_the_best_of_all_placements(seed: int) -> None:
    _rate_equals_that_of_all_placements(seed, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [seed for seed in range(24) if seed % 8 in (2, 5, 6, 7)])
def test_the_rate_is_the_best_of_all_placements_of_larger_cases(seed: int) -> None:
    _rate_equals_that_of_all_placements(seed)


def test_a_larger_model_is_never_slower_than_on_one_path() -> None:
    fleet, graph = synthetic_fleet((1, 1, 1), 3), synthetic_graph(20, 3)
    profile = synthetic_profile(graph, fleet, 3)
    one, several = plan_model(profile, fleet), plan_model(profile, fleet, "flow", time_limit_s=4.0)
    assert several.value <= one.value * (1 + 1e-9)
    assert several.lower_bound is not None
    assert several.lower_bound <= several.value


def test_without_time_the_plan_is_that_of_one_path() -> None:
    fleet, graph = synthetic_fleet((2, 2, 2), 5), synthetic_graph(6, 5)
    profile = synthetic_profile(graph, fleet, 5, overhead_s=1e-3)
    plan = plan_model(profile, fleet, "flow", time_limit_s=0.01)
    assert plan.strategy == "flow"
    assert plan.value <= plan_model(profile, fleet).value * (1 + 1e-9)


def test_nodes_that_are_all_alike_are_planned_by_counting_devices() -> None:
    """20 layers, whose cache leaves room for smaller batches the more layers a device holds."""
    names = [f"big{n}" for n in range(2)] + [f"small{n}" for n in range(4)]
    profile = profile_of(chain_graph(20, sizes=10), dict.fromkeys(names, 1e-3))

    def batched(room: float) -> BatchedSpans:
        return BatchedSpans(np.full(20, 1e-2), np.full(20, 1e-3), np.full(20, 10), np.full(20, 1), room, most_items=32)

    spans = {name: batched(120.0 if name.startswith("big") else 60.0) for name in names}
    plan = plan_model(replace(profile, spans=spans), fleet_of(*names), "flow", time_limit_s=5.0)
    # Two small ones hold 3 layers in batches of 10, the others 3 in batches of 10 or 5 in batches of 14: 6 ms for each item.
    assert {device for stage in plan.stages for device in stage.devices} == set(names)
    assert plan.value <= 6e-3 * (1 + 1e-9)


def test_memory_that_holds_no_plan_is_told() -> None:
    profile = profile_of(chain_graph(3, weight_bytes=1000), {"a": 1.0, "b": 1.0})
    with pytest.raises(InfeasibleError, match="no placement of chain on fleet was found"):
        plan_model(profile, fleet_of("a", "b", memory_bytes=500), "flow")


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_time_limit_that_is_no_time_is_refused(limit: float) -> None:
    with pytest.raises(ConfigError, match="time_limit_s: expected seconds above 0"):
        plan_model(*flow_case(0), "flow", time_limit_s=limit)
