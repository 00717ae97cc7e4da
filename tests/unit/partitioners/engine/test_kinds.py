"""Fleets of too many kinds: devices that are nearly alike taken as equal, for a bound and for a plan."""

from __future__ import annotations

import pytest

from multiedge.fleet import Device, Fleet, Link
from partitioners.engine import chain as chain_module
from partitioners.engine.chain import Chain
from partitioners.engine.kinds import chains
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of

NAMES = ("a", "b", "c", "d")
SECONDS = {"a": [1, 2], "b": [2, 1], "c": [8, 8], "d": [8, 9]}
PROFILE = profile_of(chain_graph(2, sizes=[4, 2, 1], weight_bytes=10), SECONDS, overhead_s={"a": 0.5})
CELLS_FOR_TWO_KINDS = 3 * 3 * 2 * 3
"""Two sets of two devices: 9 states, 2 ways, 3 boundaries."""


@pytest.fixture
def two_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "MOST_CELLS", CELLS_FOR_TWO_KINDS)


def test_a_fleet_that_can_be_searched_is_taken_as_it_is() -> None:
    optimistic, pessimistic = chains(PROFILE, fleet_of(*NAMES))
    assert optimistic is pessimistic
    assert optimistic.groups == (("a",), ("b",), ("c",), ("d",))


@pytest.mark.usefixtures("two_kinds")
def test_the_nearest_in_total_time_are_joined() -> None:
    optimistic, pessimistic = chains(PROFILE, fleet_of(*NAMES))
    assert optimistic.groups == pessimistic.groups == (("a", "b"), ("c", "d"))


@pytest.mark.usefixtures("two_kinds")
def test_times_are_the_best_of_a_set_for_the_bound_and_the_worst_for_the_plan() -> None:
    optimistic, pessimistic = chains(PROFILE, fleet_of(*NAMES))
    assert optimistic.seconds.tolist() == [[0, 1, 2], [0, 8, 16]]
    assert pessimistic.seconds.tolist() == [[0, 2, 4], [0, 8, 17]]
    assert optimistic.overhead_s.tolist() == [0.0, 0.0]
    assert pessimistic.overhead_s.tolist() == [0.5, 0.0]


@pytest.mark.usefixtures("two_kinds")
def test_memory_and_links_are_levelled_too() -> None:
    devices = (Device("a", memory_bytes=17), Device("b"), Device("c", memory_bytes=30, runtime_bytes=5), Device("d"))
    links = {("a", "b"): Link(1.0), ("a", "c"): Link(2.0, 1.0), ("b", "d"): Link(4.0, 0.5), ("c", "d"): Link(8.0)}
    optimistic, pessimistic = chains(PROFILE, Fleet(devices, links))
    assert [optimistic.fleet.device(name).available_bytes for name in "ac"] == [float("inf")] * 2
    assert [pessimistic.fleet.device(name).available_bytes for name in "ac"] == [17, 25]
    # Between the sets: 1/2, free, free and 1/4 seconds per byte.
    assert (optimistic.per_byte_s[0, 1], pessimistic.per_byte_s[0, 1]) == (0.0, 0.5)
    assert (optimistic.latency_s[0, 1], pessimistic.latency_s[0, 1]) == (0.0, 1.0)
    assert (optimistic.per_byte_s[0, 0], pessimistic.per_byte_s[0, 0]) == (1.0, 1.0)


@pytest.mark.usefixtures("two_kinds")
def test_sets_grow_from_the_nearest_pair() -> None:
    """2, 2.1, 2.3 and 9 s: 5 % apart before 10 %, before four times."""
    near = profile_of(chain_graph(2), {"a": 1.0, "b": 1.15, "c": 1.05, "d": 4.5})
    optimistic, _ = chains(near, fleet_of(*NAMES))
    assert set(map(frozenset, optimistic.groups)) == {frozenset("abc"), frozenset("d")}


def test_the_source_stays_a_kind_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "MOST_CELLS", 4 * 2 * 2 * 3)
    optimistic, pessimistic = chains(PROFILE, fleet_of(*NAMES, source="b"))
    for chain in (optimistic, pessimistic):
        assert sorted(map(sorted, chain.groups)) == [["a", "c", "d"], ["b"]]
        assert chain.source is not None
        assert chain.groups[chain.source] == ("b",)


@pytest.mark.usefixtures("two_kinds")
def test_no_path_is_better_than_on_the_optimistic_chain_or_worse_than_on_the_pessimistic_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = fleet_of(*NAMES, links=Link(1.0))
    optimistic, pessimistic = chains(PROFILE, fleet)
    monkeypatch.setattr(chain_module, "MOST_CELLS", 10**6)
    real = Chain.of(PROFILE, fleet)
    for device in NAMES:
        way = next(index for index, group in enumerate(real.groups) if device in group)
        level = next(index for index, group in enumerate(optimistic.groups) if device in group)
        for start, stop in ((0, 1), (1, 2), (0, 2)):
            times = [chain.compute_s(at, start, stop) for chain, at in ((optimistic, level), (real, way), (pessimistic, level))]
            assert times == sorted(times)
