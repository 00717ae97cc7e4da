"""The bound on one request: the longest path, each node where that path ends earliest."""

from __future__ import annotations

import pytest

from multiedge.fleet import Link
from partitioners.engine.latency_bound import latency_bound
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, fork_graph, graph_of
from tests.builders.profiles import profile_of

TEN_PER_S = Link(10.0, latency_s=1.0)


def test_a_node_alone_takes_its_fastest_device_with_its_overhead() -> None:
    profile = profile_of(chain_graph(1, sizes=0), {"a": 5.0, "b": 3.0}, overhead_s={"a": 0.0, "b": 1.0})
    assert latency_bound(profile, fleet_of("a", "b")) == 4.0


@pytest.mark.parametrize(
    ("nbytes", "expected"),
    [
        pytest.param(10, 1 + (1 + 1) + 1, id="two seconds on the way are worth it"),
        pytest.param(100, 10.0 + 1, id="eleven are not: both on a"),
    ],
)
def test_a_chain_pays_the_way_or_the_slower_device(nbytes: int, expected: float) -> None:
    profile = profile_of(chain_graph(2, sizes=[0, nbytes, 0]), {"a": [1, 10], "b": [20, 1]})
    assert latency_bound(profile, fleet_of("a", "b", links=TEN_PER_S)) == pytest.approx(expected)


def test_the_way_over_a_third_device_counts_where_it_is_faster() -> None:
    links = {("a", "b"): Link(10.0, 100.0), ("a", "c"): Link(10.0, 1.0), ("c", "b"): Link(10.0, 1.0)}
    profile = profile_of(chain_graph(2, sizes=[0, 10, 0]), {"a": [1, 50], "b": [50, 1], "c": [50, 50]})
    assert latency_bound(profile, fleet_of("a", "b", "c", links=links)) == pytest.approx(1 + 2 + 2 + 1)


def test_items_come_from_the_source_and_results_go_back_to_it() -> None:
    """Only b is fast: 10 bytes there, 2 s; 20 bytes back, 3 s."""
    profile = profile_of(chain_graph(1, sizes=[10, 20]), {"a": 50.0, "b": 1.0})
    assert latency_bound(profile, fleet_of("a", "b", links=TEN_PER_S, source="a")) == pytest.approx(2 + 1 + 3)
    assert latency_bound(profile, fleet_of("a", "b", links=TEN_PER_S)) == pytest.approx(1.0)


def test_links_that_differ_by_direction_are_taken_as_they_are() -> None:
    links = {("a", "b"): Link(10.0), ("b", "a"): Link(1.0)}
    profile = profile_of(chain_graph(1, sizes=[10, 20]), {"a": 50.0, "b": 1.0})
    assert latency_bound(profile, fleet_of("a", "b", links=links, source="a")) == pytest.approx(1 + 1 + 20)


def test_branches_count_by_the_longest_not_by_their_sum() -> None:
    profile = profile_of(fork_graph(2, 3, nbytes=0), dict.fromkeys("ab", 1.0))
    assert latency_bound(profile, fleet_of("a", "b")) == pytest.approx(5.0)


def test_the_load_counts_where_it_is_more_than_the_longest_path() -> None:
    profile = profile_of(fork_graph(4, 1, nbytes=0), dict.fromkeys("ab", 1.0))
    assert latency_bound(profile, fleet_of("a", "b")) == pytest.approx(6 / 2)
    assert latency_bound(profile, fleet_of("a")) == pytest.approx(6.0)


def test_a_result_that_is_made_early_but_far_from_the_source_can_be_the_last_to_arrive() -> None:
    graph = graph_of("a: x", "b: a", outputs=("a", "b"), tensors={"x": 0, "a": 100, "b": 0})
    profile = profile_of(graph, {"s": [90, 90], "t": [1, 1]})
    bound = latency_bound(profile, fleet_of("s", "t", links=Link(10.0), source="s"))
    assert bound == pytest.approx(1 + 10)


def test_the_overhead_of_a_device_is_paid_again_on_each_entry() -> None:
    """Both nodes on a: 5 + 1 + 1; the second on b: 5 + 1 + 1 + 0."""
    profile = profile_of(chain_graph(2, sizes=0), {"a": [1, 1], "b": [9, 0]}, overhead_s={"a": 5.0, "b": 1.0})
    assert latency_bound(profile, fleet_of("a", "b")) == pytest.approx(7.0)
