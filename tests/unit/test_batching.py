"""Which batch is taken, and when a batch has no plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from multiedge.batching import Arrivals, Planned, Tried, batch_shapes, best, samples_per_s, try_batches, value_per_sample
from multiedge.errors import ConfigError, InfeasibleError
from multiedge.graph import Graph
from partitioners.latency import Latency
from partitioners.throughput import Throughput
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of

FIXED_S, SAMPLE_S = 1.0, 0.25


def planned(batch: int, options: Mapping[str, Any]) -> Planned:
    """One node that takes FIXED_S for an item and SAMPLE_S for each sample in it."""
    graph = chain_graph(1)
    profile = profile_of(graph, {"a": FIXED_S + batch * SAMPLE_S})
    return Planned(graph, profile, Throughput(**options).plan(profile, fleet_of("a")))


def tried(arrivals: Arrivals, *batches: int) -> dict[int, Tried]:
    return {each.batch: each for each in try_batches(batches, arrivals, planned)}


def test_the_batch_of_the_most_samples_per_second_is_taken() -> None:
    found = tried(Arrivals(), 1, 2, 4)
    plan = best(list(found.values())).plan
    assert plan.batch == 4
    assert samples_per_s(plan) == pytest.approx(4 / 2.0)
    assert value_per_sample(plan) == pytest.approx(0.5)
    assert [each.latency_s for each in found.values()] == pytest.approx([1.25, 1.5, 2.0])


def test_a_batch_within_the_latency_is_taken() -> None:
    found = tried(Arrivals(max_latency_s=1.6), 1, 2, 4)
    assert best(list(found.values())).plan.batch == 2
    assert "within 1600 ms was found: allow 2000 ms" in found[4].failure


def test_the_wait_for_a_full_batch_is_part_of_the_latency() -> None:
    found = tried(Arrivals(rate_per_s=1.0, max_latency_s=2.6), 1, 2, 4)
    assert found[2].latency_s == pytest.approx(1.0 + 1.5)
    assert found[4].failure == "to wait for 4 samples takes 3000 ms alone"
    assert found[1].failure == "0.8 samples/s are fewer than the 1 that come"
    assert best(list(found.values())).plan.batch == 2


def test_no_batch_at_all_states_the_reason_of_each() -> None:
    with pytest.raises(InfeasibleError, match=r"^batch 1: 0.8 samples/s are fewer .*; batch 2: 1.333 samples/s are fewer"):
        tried(Arrivals(rate_per_s=9.0), 1, 2)


def test_for_latency_samples_wait_for_the_whole_batch() -> None:
    def plan(batch: int, options: Mapping[str, Any]) -> Planned:
        each = planned(batch, {})
        return Planned(each.graph, each.profile, Latency().plan(each.profile, fleet_of("a")))

    assert best(try_batches((4, 1, 2), Arrivals(), plan)).plan.batch == 1


def declared(**values: Any) -> Graph:
    return graph_of("y: x z", inputs=("x", "z"), tensors={"x": (1, 3, 8), "z": (4,), "y": (1, 3)}, **values)


def test_inputs_whose_first_dimension_is_open_get_the_batch() -> None:
    graph = Graph(**{**vars(declared()), "free_batch": ("x",)})
    assert batch_shapes(graph, declared(), None, 4) == {"x": (4, 3, 8)}
    assert batch_shapes(graph, declared(), {"x": (1, 3, 8), "z": (4,)}, 2) == {"x": (2, 3, 8), "z": (4,)}
    with pytest.raises(ConfigError, match="--shape gives 'x' a first dimension of 8; give 1, or no --batch"):
        batch_shapes(graph, declared(), {"x": (8, 3, 8)}, 4)
    with pytest.raises(ConfigError, match="the first dimension of each input of graph is fixed; leave --batch out"):
        batch_shapes(declared(), declared(), None, 4)
