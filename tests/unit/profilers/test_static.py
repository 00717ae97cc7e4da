"""Static profiles: which declared figure decides, and what happens without any."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.errors import ProfileError
from multiedge.fleet import Device, Fleet
from multiedge.graph import Graph, Node
from profilers import PROFILERS
from profilers.engine.macs import count_work
from profilers.engine.roofline import REFERENCE, Capability, capability_of, scaled
from profilers.static import StaticProfiler
from tests.builders.graphs import graph_of

BASE = Capability(1e9, 1e9, 1e-6, 2e9, "test machine")


@pytest.fixture
def graph() -> Graph:
    """A heavy product and a node that only moves data."""
    product, turn = Node("product", "MatMul", ("x", "w"), ("h",)), Node("turn", "Transpose", ("h",), ("y",))
    return graph_of(product, turn, tensors=(1024, 1024), parameters={"w": (1024, 1024)})


def seconds(graph: Graph, *devices: Device) -> dict[str, np.ndarray]:
    return dict(StaticProfiler(BASE).profile(graph, Fleet(devices)).seconds)


def test_the_registry_knows_it() -> None:
    assert PROFILERS.load("static") is StaticProfiler


def test_times_follow_the_roofline(graph: Graph) -> None:
    found = seconds(graph, Device("a", flops_per_s=2e9, memory_bytes_per_s=4e9))["a"]
    assert found[0] == pytest.approx(2 * 1024**3 / 2e9 + 0.5e-6)
    assert found[1] == pytest.approx(2 * (4 << 20) / 4e9 + 0.5e-6)


def test_speed_scales_every_node_alike(graph: Graph) -> None:
    found = seconds(graph, Device("slow", speed=0.25), Device("fast", speed=1.0))
    np.testing.assert_allclose(found["slow"], 4 * found["fast"])


def test_freq_serves_where_nothing_else_is_stated(graph: Graph) -> None:
    found = seconds(graph, Device("a", freq_hz=1e9), Device("b", freq_hz=2e9), Device("c", freq_hz=9e9, speed=1.0))
    np.testing.assert_allclose(found["a"], 2 * found["b"])
    np.testing.assert_allclose(found["c"], found["b"])


def test_flops_go_before_speed(graph: Graph) -> None:
    device = Device("a", flops_per_s=3e9, speed=100.0)
    assert capability_of(device, BASE).flops_per_s == 3e9


def test_threads_speed_up_arithmetic_but_not_memory(graph: Graph) -> None:
    found = seconds(graph, Device("one", speed=1.0), Device("two", speed=1.0, threads=2))
    assert found["two"][0] == pytest.approx(found["one"][0] / 2, rel=1e-3)
    assert found["two"][1] == pytest.approx(found["one"][1])


def test_a_fleet_that_states_no_speed_counts_as_equal(graph: Graph) -> None:
    profile = StaticProfiler().profile(graph, Fleet((Device("a"), Device("b"))))
    np.testing.assert_array_equal(profile.seconds["a"], profile.seconds["b"])
    assert profile.sources["a"] == "static: no stated speed, taken as equal"
    assert REFERENCE.source in profile.settings["reference"]


def test_operations_that_are_not_known_are_estimated_from_the_bytes_and_listed_in_one_line() -> None:
    strange = Node("strange", "Resonate", ("x",), ("y",), domain="com.acme")
    profile = StaticProfiler(BASE).profile(graph_of(strange, tensors=(1024, 1024)), Fleet((Device("a", speed=1.0),)))
    assert profile.seconds["a"][0] == pytest.approx(2 * (4 << 20) / 1e9 + 1e-6)
    assert profile.notes == ("operations not known, time estimated from the bytes moved: operator com.acme.Resonate (1 node)",)


def test_one_device_without_speed_among_others_is_refused(graph: Graph) -> None:
    with pytest.raises(ProfileError, match="device 'b' states no speed, flops or freq, but others do"):
        StaticProfiler().profile(graph, Fleet((Device("a", speed=1.0), Device("b"))))


def test_sources_say_what_was_used(graph: Graph) -> None:
    fleet = Fleet((Device("a", flops_per_s=2e10, memory_bytes_per_s=5e9), Device("b", speed=0.5), Device("c", freq_hz=2.6e9)))
    sources = StaticProfiler().profile(graph, fleet).sources
    assert list(sources.values()) == ["static: flops 20 GFLOP/s, memory 5 GB/s", "static: speed 0.5", "static: freq 2.6 GHz"]


def test_known_times_are_carried_over_by_the_ratio_of_rooflines(graph: Graph) -> None:
    work, known = count_work(graph), np.array([1.0, 1.0])
    quick_memory = Device("m", speed=1.0, memory_bytes_per_s=2e9)
    target = capability_of(quick_memory, BASE)
    carried = scaled(known, work, BASE, target)
    assert target.source == "speed 1, memory 2 GB/s"
    assert carried[0] == pytest.approx(1.0, rel=1e-3)
    assert carried[1] == pytest.approx(0.5, rel=1e-3)
    np.testing.assert_allclose(scaled(known, work, BASE, capability_of(Device("s", speed=0.5), BASE)), [2.0, 2.0])


@pytest.mark.parametrize(
    ("devices", "line"),
    [
        pytest.param([{"flops_per_s": 1e9}, {"flops_per_s": 2e9}], "", id="flops alone"),
        pytest.param([{"speed": 1.0}, {"speed": 2.0}], "", id="speeds alone"),
        pytest.param(
            [{"flops_per_s": 1e9}, {"speed": 2.0}],
            "a states flops, b speed; speed 1 is taken as 1 GFLOP/s; state the same for all devices",
            id="mixed",
        ),
        pytest.param([{"flops_per_s": 2e9, "speed": 2.0}, {"speed": 1.0}], "", id="both, and they agree"),
        pytest.param(
            [{"flops_per_s": 3e9, "speed": 1.0}, {"speed": 1.0}],
            "speed 1 is taken as 1 GFLOP/s, but device 'a' states flops and a speed with 3; state one",
            id="both, and they differ",
        ),
    ],
)
def test_flops_and_speed_are_compared_in_one_line(graph: Graph, devices: list[dict[str, float]], line: str) -> None:
    fleet = Fleet(tuple(Device(name, **stated) for name, stated in zip("ab", devices, strict=True)), name="f")
    notes = StaticProfiler(BASE).profile(graph, fleet).notes
    assert " ".join(notes) == (line and f"f: {line}")
