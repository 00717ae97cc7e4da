"""Profile: sums over ranges of nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.errors import ProfileError
from multiedge.fleet import Device, Fleet
from multiedge.graph import Node
from multiedge.profile import Profile
from profilers.engine.summary import costliest_nodes, costliest_operators, headline, summary, warnings
from profilers.static import StaticProfiler
from tests.builders.graphs import graph_of


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


def test_summary_ranks_nodes_and_operators(profile: Profile) -> None:
    assert {row.name for row in costliest_nodes(profile, "d", 2)} == {"up", "again"}
    first = costliest_operators(profile, "d")[0]
    assert (first.name, first.nodes, first.parameter_bytes) == ("MatMul", 2, 16384)
    assert sum(row.share for row in costliest_operators(profile, "d")) == pytest.approx(1.0)
    assert "3 nodes" in headline(profile, "d")
    assert summary(profile, "d")["macs"] == 2 * 64**3


def test_a_busy_machine_is_told(profile: Profile) -> None:
    calm = replace(profile, settings={"host": {"1": {"latency_s": 0.010, "cpu_s": 0.0099}}})
    busy = replace(profile, settings={"host": {"1": {"latency_s": 0.025, "cpu_s": 0.0130}}})
    assert warnings(profile) == warnings(calm) == []
    assert warnings(busy)[0].startswith("with 1 thread the model took 25 ms but only 13 ms of processor time")
