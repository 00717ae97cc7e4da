"""Profile: sums over ranges of nodes."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.errors import ProfileError, UnknownSizeError
from multiedge.fleet import Device, Fleet
from multiedge.graph import Node
from multiedge.profile import Profile
from profilers.static import StaticProfiler
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of


@pytest.fixture
def profile() -> Profile:
    """Two products that share a weight, and a node between them."""
    graph = graph_of(
        Node("up", "MatMul", ("x", "w"), ("a",)),
        Node("act", "Relu", ("a",), ("b",)),
        Node("again", "MatMul", ("b", "w"), ("y",)),
        tensors=(64, 64),
        parameters={"w": (64, 64)},
    )
    return StaticProfiler().profile(graph, Fleet((Device("d", speed=1.0),)))


def test_a_shared_parameter_counts_once_in_a_range(profile: Profile) -> None:
    assert profile.parameter_bytes.tolist() == [16384, 0, 16384]
    assert profile.span().parameter_bytes == 16384
    assert profile.span(1, 2).parameter_bytes == 0


def test_sums_and_peaks(profile: Profile) -> None:
    whole = profile.span()
    assert whole.macs == 2 * 64**3
    assert whole.peak_live_bytes == 32768
    assert whole.seconds["d"] == pytest.approx(sum(profile.span(i, i + 1).seconds["d"] for i in range(3)))


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 2), (0, 4)])
def test_ranges_outside_are_refused(profile: Profile, start: int, stop: int) -> None:
    with pytest.raises(ProfileError, match="no nodes"):
        profile.span(start, stop)


CHAIN = profile_of(
    chain_graph(3, sizes=[8, 4, 2, 1], weight_bytes=100),
    {"a": [1.0, 2.0, 4.0], "b": 3.0},
    overhead_s={"a": 0.5},
    macs=[1, 2, 3],
)


@pytest.mark.parametrize(
    ("start", "stop", "macs", "parameter_bytes", "output_bytes", "peak_live_bytes", "seconds"),
    [
        pytest.param(0, 3, 6, 300, 7, 12, {"a": 7.0, "b": 9.0}, id="all"),
        pytest.param(0, 1, 1, 100, 4, 12, {"a": 1.0, "b": 3.0}, id="the first"),
        pytest.param(1, 3, 5, 200, 3, 6, {"a": 6.0, "b": 6.0}, id="the rest"),
    ],
)
def test_spans_on_paper(
    start: int, stop: int, macs: int, parameter_bytes: int, output_bytes: int, peak_live_bytes: int, seconds: dict[str, float]
) -> None:
    span = CHAIN.span(start, stop)
    assert (span.macs, span.flops, span.parameter_bytes) == (macs, 2.0 * macs, parameter_bytes)
    assert (span.output_bytes, span.peak_live_bytes, span.seconds) == (output_bytes, peak_live_bytes, seconds)


def test_arrays_over_nodes_and_boundaries() -> None:
    assert CHAIN.cut_bytes.tolist() == [8, 4, 2, 0]
    assert CHAIN.output_bytes.tolist() == [4, 2, 1]
    assert CHAIN.live_bytes.tolist() == [12, 6, 3]
    assert CHAIN.parameter_bytes.tolist() == [100, 100, 100]
    assert len(CHAIN) == 3


def test_a_graph_with_a_size_that_is_not_known_has_no_profile() -> None:
    graph = graph_of("a: x", "b: a", "c: a b", tensors={"x": 1, "b": 4})
    assert [cut.nbytes for cut in graph.cuts] == [1, None, None, 0]
    with pytest.raises(UnknownSizeError, match="the size of 'a' and 1 more depends on the data; add --measure-shapes"):
        profile_of(graph, {})


def test_boundaries_inside_a_fused_node_are_closed() -> None:
    graph = graph_of("a: x", "b: a", "c: b", "d: c a")
    assert profile_of(graph, {}).open_boundaries.tolist() == [True] * 5
    assert profile_of(graph, {}, fused={"b"}).open_boundaries.tolist() == [True, True, False, True, True]
    assert profile_of(graph, {}, fused={"a"}).open_boundaries.tolist() == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("factors", "seconds", "overhead_s"),
    [
        pytest.param({}, {"a": [1, 2, 4], "b": [3, 3, 3]}, {"a": 0.5}, id="nothing changes"),
        pytest.param({"a": 0.5}, {"a": [2, 4, 8], "b": [3, 3, 3]}, {"a": 1.0}, id="half the speed, overhead too"),
        pytest.param({"b": 3.0}, {"a": [1, 2, 4], "b": [1, 1, 1]}, {"a": 0.5, "b": 0.0}, id="no overhead stays none"),
        pytest.param({"a": 1.0, "z": 9.0}, {"a": [1, 2, 4], "b": [3, 3, 3]}, {"a": 0.5}, id="a device that it does not know"),
    ],
)
def test_times_follow_speed(factors: dict[str, float], seconds: dict[str, list[float]], overhead_s: dict[str, float]) -> None:
    changed = CHAIN.with_speed(factors)
    assert {device: values.tolist() for device, values in changed.seconds.items()} == seconds
    assert changed.overhead_s == overhead_s
    assert CHAIN.seconds["a"].tolist() == [1, 2, 4]


def test_times_of_one_device_can_be_set() -> None:
    changed = CHAIN.with_seconds("c", np.array([9.0, 9.0, 9.0]), "by hand")
    assert changed.seconds_on("c").tolist() == [9, 9, 9]
    assert changed.sources["c"] == "by hand"
    with pytest.raises(ProfileError, match=r"profile of chain: no times for device 'c' \(it has a, b\); profile the model for"):
        CHAIN.seconds_on("c")
    with pytest.raises(ProfileError, match=r"no times for device 'c' \(it has none\)"):
        profile_of(CHAIN.graph, {}).seconds_on("c")


def test_arrays_of_another_length_are_refused() -> None:
    with pytest.raises(ProfileError, match=r"profile of chain: seconds\[a\] has shape \(2,\), expected \(3,\)"):
        CHAIN.with_seconds("a", np.zeros(2), "damaged")


@pytest.mark.parametrize("name", ["t0", "t3", "w0", "nothing"])
def test_only_a_tensor_that_one_node_makes_and_another_reads_can_be_fused(name: str) -> None:
    with pytest.raises(ProfileError, match=f"fused tensor '{name}' is not made and read by its nodes"):
        profile_of(CHAIN.graph, {}, fused={name})
