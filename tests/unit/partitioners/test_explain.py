"""What plans explain, what errors explain where there is no plan, and how long that takes."""

from __future__ import annotations

from dataclasses import replace
from time import process_time

import numpy as np
import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet, Link
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from partitioners.brute_force import BruteForce
from partitioners.energy import Energy
from partitioners.latency import Latency
from partitioners.throughput import Throughput

GRAPH = synthetic_graph(30, seed=1)
MIB = 1 << 20


def uniform(*devices: Device, links: dict[tuple[str, str], Link] | None = None):
    """A fleet and a profile in which a node takes 10 ms at speed 1."""
    fleet = Fleet(devices, links or {}, name="my fleet")
    profile = synthetic_profile(GRAPH, fleet)
    return replace(profile, seconds={d.name: np.full(30, 0.01 / (d.speed or 1)) for d in devices}), fleet


def test_a_device_that_is_too_slow_is_left_out_with_its_figures():
    profile, fleet = uniform(Device("quick", speed=1), Device("snail", speed=0.01))
    plan = Throughput().plan(profile, fleet)
    assert plan.left_out == {"snail": "its quickest node takes 1e+03 ms, the bottleneck is 300 ms"}


def test_a_device_behind_a_slow_link_is_left_out_with_its_figures():
    profile, fleet = uniform(Device("near", speed=1), Device("far", speed=1), links={("near", "far"): Link(1e3)})
    plan = Throughput().plan(profile, fleet)
    assert "the smallest cut takes" in plan.left_out["far"]
    assert plan.gap == 0


def test_a_device_without_room_for_a_node_is_left_out():
    profile, fleet = uniform(Device("big", speed=1), Device("tiny", speed=1, memory_bytes=1024))
    assert Throughput().plan(profile, fleet).left_out == {"tiny": "its memory holds not even one node"}


def test_equal_devices_share_the_work_equally():
    profile, fleet = uniform(*(Device(f"d{i}", speed=1) for i in range(3)))
    plan = Throughput().plan(profile, fleet)
    assert [len(stage.nodes) for stage in plan.stages] == [10, 10, 10]
    assert plan.lower_bound == plan.value == pytest.approx(0.1)


def test_a_stage_is_replicated_where_one_node_outweighs_the_rest():
    profile, fleet = uniform(*(Device(f"d{i}", speed=1) for i in range(4)))
    heavy = np.full(30, 0.001)
    heavy[15] = 0.3
    profile = replace(profile, seconds=dict.fromkeys(fleet.names, heavy))
    alone, shared = Throughput().plan(profile, fleet), Throughput(replicate=True).plan(profile, fleet)
    assert alone.value == pytest.approx(0.3, rel=0.01)
    assert shared.value < 0.11
    assert max(len(stage.devices) for stage in shared.stages) >= 3
    assert "with replicas" in shared.bound_scope


def test_an_error_names_the_smallest_remedy():
    profile, fleet = uniform(Device("phone", speed=1, memory_bytes=3 * MIB), Device("tablet", speed=1, memory_bytes=4 * MIB))
    with pytest.raises(InfeasibleError) as caught:
        Throughput().plan(profile, fleet)
    text = str(caught.value)
    assert text.startswith("no contiguous plan of synthetic-30 fits the memory of my fleet; ")
    extra, name = float(text.split("; ")[1].split(" MiB")[0]), text.split("'")[1]
    step = 2 * 1024

    def grown(by: float) -> Fleet:
        devices = [replace(d, memory_bytes=round(d.memory_bytes + by)) if d.name == name else d for d in fleet.devices]
        return replace(fleet, devices=tuple(devices))

    assert Throughput().plan(profile, grown(extra * MIB + step)).stages
    with pytest.raises(InfeasibleError):
        Throughput().plan(profile, grown(extra * MIB - step))


def test_a_node_larger_than_any_memory_is_named():
    profile, fleet = uniform(Device("phone", speed=1, memory_bytes=100 * 1024), Device("tablet", speed=1, memory_bytes=1024))
    with pytest.raises(
        InfeasibleError, match=r": node \d+ 'n\d+' alone needs .* MiB, the largest device, 'phone', has 0.1 MiB; "
    ):
        Throughput().plan(profile, fleet)


def test_bounds_that_cannot_be_kept_say_what_can():
    profile, fleet = uniform(*(Device(f"d{i}", speed=1) for i in range(3)))
    with pytest.raises(InfeasibleError, match=r"gives 100 items/s; ask for 10 items/s, the most possible"):
        Latency(min_fps=100).plan(profile, fleet)
    with pytest.raises(ConfigError, match="no device declares any"):
        Energy().plan(profile, fleet)
    powered = synthetic_fleet((1, 1), seed=1)
    costs = synthetic_profile(GRAPH, powered, seed=1)
    with pytest.raises(InfeasibleError, match=r"within 0.001 ms: allow .* ms, the least latency possible"):
        Energy(max_latency_s=1e-6).plan(costs, powered)
    with pytest.raises(ConfigError, match="min_fps: expected items per second, more than 0, got 0"):
        Latency(min_fps=0)


def test_brute_force_refuses_to_take_for_ever():
    profile, fleet = uniform(*(Device(f"d{i}", speed=1) for i in range(8)))
    with pytest.raises(ConfigError, match=r"30 nodes on 8 devices have up to .* plans"):
        BruteForce().plan(profile, fleet)


def test_interleaved_plans_are_at_least_as_good_as_contiguous_direct_ones():
    fleet = synthetic_fleet((1, 1), seed=4)
    profile = synthetic_profile(synthetic_graph(7, seed=5, skips=0.6), fleet, seed=6)
    plan = BruteForce("latency", interleave=True).plan(profile, fleet)
    assert sorted(node for stage in plan.stages for node in stage.nodes) == list(range(7))
    assert plan.bound_scope == "plans with stages in order"


@pytest.mark.parametrize("strategy", [Throughput, Latency])
def test_500_nodes_on_8_different_devices_take_less_than_a_second(strategy):
    fleet = synthetic_fleet((1,) * 8, seed=1, memory_bytes=[60 * MIB] * 8)
    profile = synthetic_profile(synthetic_graph(503, seed=1), fleet, seed=1)
    start = process_time()
    plan = strategy().plan(profile, fleet)
    assert process_time() - start < 1.0
    assert plan.gap == 0.0


def test_5000_nodes_on_16_devices_of_4_kinds_take_less_than_ten_seconds():
    fleet = synthetic_fleet((4, 4, 4, 4), seed=1)
    profile = synthetic_profile(synthetic_graph(5000, seed=1), fleet, seed=1)
    start = process_time()
    plan = Throughput().plan(profile, fleet)
    assert process_time() - start < 10.0
    assert plan.gap == 0.0


def test_time_that_runs_out_leaves_an_honest_gap():
    fleet = synthetic_fleet((1,) * 6, seed=1)
    profile = synthetic_profile(synthetic_graph(300, seed=1), fleet, seed=1)
    hasty, best = Throughput(time_limit_s=0).plan(profile, fleet), Throughput().plan(profile, fleet)
    assert hasty.gap > 0
    assert hasty.lower_bound < best.value <= hasty.value
