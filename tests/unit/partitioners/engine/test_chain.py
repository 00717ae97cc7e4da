"""The arrays of all contiguous plans: kinds of devices, ways to run a stage, times, links and the busiest of a path."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet, Link
from multiedge.plan import Stage
from multiedge.profile import Profile
from partitioners.engine import chain as chain_module
from partitioners.engine.chain import Chain, Placed, Way, is_searchable
from tests.builders.fleets import fleet_of, with_device
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of

ABC = ("a", "b", "c")


def profile(seconds: float | dict[str, Any] = 1.0, **values: Any) -> Profile:
    times = seconds if isinstance(seconds, dict) else dict.fromkeys(ABC, seconds)
    return profile_of(chain_graph(3, sizes=[8, 4, 2, 1]), times, **values)


def test_exchangeable_devices_make_a_group() -> None:
    fleet = with_device(fleet_of(*ABC, memory_bytes=100), "b", memory_bytes=99)
    assert Chain.of(profile(), fleet).groups == (("a", "c"), ("b",))


def test_the_source_is_a_kind_of_its_own() -> None:
    fleet = fleet_of(*ABC, source="c")
    chain = Chain.of(profile(), fleet)
    assert chain.groups == (("a", "b"), ("c",))
    assert chain.source == 1
    assert Chain.of(profile(), fleet_of(*ABC)).source is None


def test_times_are_sums_over_the_first_nodes() -> None:
    chain = Chain.of(profile({"a": [1, 2, 4]}, overhead_s=0.5), fleet_of("a"))
    assert chain.seconds.tolist() == [[0, 1, 3, 7]]
    assert chain.cut.tolist() == [8, 4, 2, 0]
    assert chain.results.tolist() == [0, 0, 0, 1]
    assert chain.compute_s(0, 1, 3) == 6.5
    assert len(chain) == 3


def test_replicas_are_ways_of_their_own_and_share_links() -> None:
    fleet = fleet_of(*ABC, links={("a", "b"): Link(2.0, 1.0), ("a", "c"): Link(2.0, 1.0)}, source="a")
    chain = Chain.of(profile(), fleet, replicate=True)
    assert chain.ways == (Way(0, 1), Way(1, 1), Way(1, 2))
    assert chain.per_byte_s[0].tolist() == [math.inf, 0.5, 0.25]
    assert chain.enter_per_byte_s.tolist() == [0.0, 0.5, 0.25]
    assert chain.leave_latency_s.tolist() == [0.0, 1.0, 1.0]
    # Two of two devices leave none to hand over to.
    assert chain.per_byte_s[1, 2] == chain.per_byte_s[2, 2] == math.inf
    assert chain.per_byte_s[1, 1] == 0.0


def test_without_a_source_items_come_and_go_for_nothing() -> None:
    chain = Chain.of(profile(), fleet_of(*ABC, bandwidth_bytes_per_s=1.0, latency_s=9.0))
    for array in (chain.enter_per_byte_s, chain.enter_latency_s, chain.leave_per_byte_s, chain.leave_latency_s):
        assert not array.any()


def test_a_path_takes_the_next_free_devices_of_each_kind() -> None:
    chain = Chain.of(profile(), fleet_of(*ABC), replicate=True)
    single, pair = chain.ways.index(Way(0, 1)), chain.ways.index(Way(0, 2))
    assert chain.stages([Placed(pair, 0, 2), Placed(single, 2, 3)]) == (Stage("a", (0, 1), ("b",)), Stage("c", (2,)))


SLOW_LINK = Link(0.5)


@pytest.mark.parametrize(
    ("fleet", "path", "expected"),
    [
        pytest.param(fleet_of("a", "b"), [("a", 0, 3)], 3.0, id="all on one device"),
        pytest.param(fleet_of("a", "b"), [("a", 0, 2), ("b", 2, 3)], 2.0, id="the longer stage"),
        pytest.param(fleet_of("a", "b", links=SLOW_LINK), [("a", 0, 2), ("b", 2, 3)], 4.0, id="2 bytes over the link"),
        pytest.param(fleet_of("a", "b", links=SLOW_LINK, source="b"), [("a", 0, 3)], 16.0, id="8 bytes from the source"),
        pytest.param(
            fleet_of("a", "b", links={("a", "b"): Link(0.1), ("b", "a"): Link(math.inf)}, source="b"),
            [("a", 0, 3)],
            10.0,
            id="1 byte back to it",
        ),
        pytest.param(
            fleet_of("a", "b", links={("a", "b"): Link(0.1), ("b", "a"): Link(math.inf)}, source="b"),
            [("a", 0, 1), ("b", 1, 3)],
            40.0,
            id="4 bytes over the link to the source",
        ),
    ],
)
def test_the_busiest_device_or_link_of_a_path(fleet: Fleet, path: list[tuple[str, int, int]], expected: float) -> None:
    """Bytes are 8, 4, 2, 1; each node takes 1 s."""
    chain = Chain.of(profile({"a": 1.0, "b": 1.0000001}), fleet)
    ways = {group[0]: index for index, group in enumerate(chain.groups)}
    placed = [Placed(ways[name], start, stop) for name, start, stop in path]
    assert chain.bottleneck_s(placed) == pytest.approx(expected, rel=1e-6)


def test_early_results_share_the_link_to_the_source_with_the_hand_over() -> None:
    """a hands b both the result t1 (4 bytes) and, for its own use, t1 again: 8 bytes at 1 byte/s."""
    graph = graph_of("t1: t0", "t2: t1", inputs=("t0",), outputs=("t1", "t2"), tensors={"t0": 0, "t1": 4, "t2": 1})
    costs = profile_of(graph, {"a": 1.0, "b": 1.5})
    chain = Chain.of(costs, fleet_of("a", "b", links=Link(1.0), source="b"))
    assert chain.early_results
    assert chain.bottleneck_s([Placed(0, 0, 1), Placed(1, 1, 2)]) == 8.0
    assert not Chain.of(profile(), fleet_of(*ABC)).early_results


@pytest.mark.parametrize(
    ("groups", "nodes", "replicate", "cells"),
    [
        pytest.param([["a"]], 1, False, 2 * 1 * 2, id="one device, one node"),
        pytest.param([["a", "b"], ["c"]], 9, False, 3 * 2 * 2 * 10, id="two of one kind and another"),
        pytest.param([["a", "b"], ["c"]], 9, True, 3 * 2 * 3 * 10, id="with a way for both"),
    ],
)
def test_the_number_of_cells_decides_what_is_searched(
    monkeypatch: pytest.MonkeyPatch, groups: list[list[str]], nodes: int, replicate: bool, cells: int
) -> None:
    monkeypatch.setattr(chain_module, "MOST_CELLS", cells)
    assert is_searchable(groups, nodes, replicate=replicate)
    monkeypatch.setattr(chain_module, "MOST_CELLS", cells - 1)
    assert not is_searchable(groups, nodes, replicate=replicate)


def test_too_many_kinds_are_refused_with_their_number() -> None:
    fleet = Fleet(tuple(Device(f"d{index}", memory_bytes=index) for index in range(40)), name="zoo")
    with pytest.raises(ConfigError, match="zoo: 40 devices of 40 kinds are too many to search for 3 nodes; state devices of"):
        Chain.of(profile_of(chain_graph(3), dict.fromkeys(fleet.names, 1.0)), fleet)


def test_windows_are_those_of_each_kinds_memory() -> None:
    costs = profile_of(chain_graph(2, sizes=0, weight_bytes=10), dict.fromkeys("ab", 1.0))
    chain = Chain.of(costs, Fleet((Device("a", memory_bytes=10), Device("b", memory_bytes=20))))
    widths = [(windows.stops - windows.starts).sum(axis=0).tolist() for windows in chain.windows]
    assert widths == [[0, 1, 1], [0, 1, 2]]
    assert np.isfinite(chain.seconds).all()
