"""From what a device states to seconds: which figure decides, and how times are carried over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multiedge.errors import ProfileError
from multiedge.fleet import Device, Fleet
from profilers.engine.macs import Work
from profilers.engine.roofline import REFERENCE, Capability, capability_of, has_speed, require_speeds, scaled, with_threads

BASE = Capability(100.0, 10.0, 0.5, 2e9, "test machine")
WORK = Work(np.array([0, 0, 0]), np.array([1000.0, 10.0, 0.0]), np.array([10.0, 50.0, 0.0]), np.array([True, True, True]), ())
"""A node that computes (10 s against 1 s), one that moves data (0.1 s against 5 s), one that does neither."""


def test_a_node_takes_its_arithmetic_or_its_traffic_and_the_overhead() -> None:
    assert BASE.node_seconds(WORK).tolist() == [10.5, 5.5, 0.5]


def test_a_machine_that_is_faster_in_all_is_faster_in_every_node() -> None:
    np.testing.assert_allclose(BASE.times(2.0).node_seconds(WORK), BASE.node_seconds(WORK) / 2)


@pytest.mark.parametrize(
    ("device", "flops", "memory", "overhead", "source"),
    [
        pytest.param(Device("d"), 100, 10, 0.5, "no stated speed, taken as equal", id="nothing stated"),
        pytest.param(Device("d", speed=0.5), 50, 5, 1.0, "speed 0.5", id="speed: all of it"),
        pytest.param(Device("d", freq_hz=4e9), 200, 20, 0.25, "freq 4 GHz", id="clock: all of it"),
        pytest.param(Device("d", flops_per_s=400.0), 400, 40, 0.125, "flops 4e-07 GFLOP/s", id="flops: all of it"),
        pytest.param(Device("d", memory_bytes_per_s=30.0), 100, 30, 0.5, "memory 3e-08 GB/s", id="memory bandwidth alone"),
        pytest.param(
            Device("d", speed=0.5, memory_bytes_per_s=30.0), 50, 30, 1.0, "speed 0.5, memory 3e-08 GB/s", id="speed and memory"
        ),
        pytest.param(
            Device("d", flops_per_s=400.0, speed=9.0, freq_hz=9e9), 400, 40, 0.125, "flops 4e-07 GFLOP/s", id="flops first"
        ),
        pytest.param(Device("d", speed=0.5, freq_hz=9e9), 50, 5, 1.0, "speed 0.5", id="speed before the clock"),
    ],
)
def test_the_first_figure_stated_decides(device: Device, flops: float, memory: float, overhead: float, source: str) -> None:
    able = capability_of(device, BASE)
    found = (able.flops_per_s, able.memory_bytes_per_s, able.node_overhead_s)
    assert found == pytest.approx((flops, memory, overhead))
    assert able.source == source


def test_capabilities_are_compared_by_their_figures_not_their_source() -> None:
    assert BASE.equals(replace(BASE, source="elsewhere"))
    assert not BASE.equals(replace(BASE, node_overhead_s=0.6))
    assert capability_of(Device("d", speed=1.0), BASE).equals(BASE)


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_threads_multiply_arithmetic_only(threads: int) -> None:
    able = with_threads(BASE, threads)
    assert (able.flops_per_s, able.memory_bytes_per_s, able.node_overhead_s) == (100.0 * threads, 10.0, 0.5)
    assert able.source == ("test machine" if threads == 1 else f"test machine x {threads}")


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        pytest.param(Device("d"), [7, 7, 7], id="the same machine"),
        pytest.param(Device("d", speed=0.5), [14, 14, 14], id="half as fast in all"),
        pytest.param(Device("d", flops_per_s=200.0, memory_bytes_per_s=20.0), [3.5, 3.5, 3.5], id="twice as fast in both"),
        # Rooflines of 10.5, 5.5 and 0.5 s become 10.5, 10.5 and 0.5 s.
        pytest.param(Device("d", memory_bytes_per_s=5.0), [7, 7 * 10.5 / 5.5, 7], id="slower memory: the node that moves data"),
    ],
)
def test_known_times_are_carried_over_node_by_node(device: Device, expected: list[float]) -> None:
    known = np.array([7.0, 7.0, 7.0])
    np.testing.assert_allclose(scaled(known, WORK, BASE, capability_of(device, BASE)), expected)
    assert known.tolist() == [7.0, 7.0, 7.0]


@pytest.mark.parametrize(
    ("values", "stated"),
    [
        ({}, False),
        ({"speed": 1.0}, True),
        ({"freq_hz": 1e9}, True),
        ({"flops_per_s": 1.0}, True),
        ({"memory_bytes_per_s": 1.0}, False),
    ],
)
def test_what_counts_as_a_stated_speed(values: dict[str, float], stated: bool) -> None:
    assert has_speed(Device("d", **values)) == stated


def test_speeds_are_stated_by_all_or_by_none() -> None:
    require_speeds(Fleet((Device("a"), Device("b"))))
    require_speeds(Fleet((Device("a", speed=1.0), Device("b", freq_hz=1e9))))
    with pytest.raises(ProfileError, match="lab: device 'b' states no speed, flops or freq, but others do; state one of them"):
        require_speeds(Fleet((Device("a", speed=1.0), Device("b"), Device("c")), name="lab"))


def test_the_reference_is_a_machine_that_could_be() -> None:
    assert REFERENCE.flops_per_s > REFERENCE.memory_bytes_per_s > 1e9
    assert 0 < REFERENCE.node_overhead_s < 1e-3
