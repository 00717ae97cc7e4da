"""The least total price, against every path of small chains."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise, permutations
from math import inf

import numpy as np
import pytest

from multiedge.fleet import Device, Fleet
from partitioners.engine.chain import Chain, Placed
from partitioners.engine.cheapest import Prices, cheapest
from partitioners.engine.search import States
from tests.builders.cases import Options, random_case
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of


def plain(chain: Chain) -> Prices:
    """Seconds of nodes, and nothing else."""
    ways, ends = len(chain.ways), len(chain) + 1
    nothing, seconds = np.zeros(ways), chain.seconds[[way.group for way in chain.ways]]
    return Prices(seconds, seconds, nothing, nothing, np.zeros((ways, ways, ends)), nothing, (None,) * ways)


def chain_of(*seconds: list[float]) -> Chain:
    names = "abcd"[: len(seconds)]
    count = len(seconds[0])
    return Chain.of(profile_of(chain_graph(count, sizes=0), dict(zip(names, seconds, strict=True))), fleet_of(*names))


def path_of(chain: Chain, prices: Prices, most_s: float = inf) -> tuple[float, list[tuple[int, int, int]]]:
    found = cheapest(chain, States(chain), prices, most_s)
    return found.price, [(placed.way, placed.start, placed.stop) for placed in found.path]


TWO = chain_of([1, 5, 5], [5, 1, 1])


def test_each_node_where_it_is_cheap() -> None:
    assert path_of(TWO, plain(TWO)) == (3.0, [(0, 0, 1), (1, 1, 3)])


@pytest.mark.parametrize(
    ("change", "price", "path"),
    [
        pytest.param({"stage": np.array([0.0, 7.0])}, 3.0 + 7.0, [(0, 0, 1), (1, 1, 3)], id="a stage on b costs 7"),
        pytest.param({"stage": np.array([0.0, 9.0])}, 11.0, [(0, 0, 3)], id="a stage on b costs 9"),
        pytest.param({"enter": np.array([9.0, 0.0])}, 7.0, [(1, 0, 3)], id="entering a costs 9"),
        pytest.param({"last_stage": np.array([0.0, 9.0])}, 11.0, [(0, 0, 3)], id="ending on b costs 9"),
        pytest.param({"hand_over": np.full((2, 2, 4), inf)}, 7.0, [(1, 0, 3)], id="no link"),
        pytest.param({"hand_over": np.full((2, 2, 4), 5.0)}, 7.0, [(1, 0, 3)], id="a link for 5"),
        pytest.param({"hand_over": np.full((2, 2, 4), 3.5)}, 6.5, [(0, 0, 1), (1, 1, 3)], id="a link for 3.5"),
        pytest.param(
            {"last_nodes": np.array([[0.0, 1, 2, 3], [0, 9, 18, 27]])}, 3.0, [(0, 0, 3)], id="the last stage is cheap on a"
        ),
    ],
)
def test_every_price_counts(change: dict[str, np.ndarray], price: float, path: list[tuple[int, int, int]]) -> None:
    assert path_of(TWO, replace(plain(TWO), **change)) == (price, path)


def test_a_hand_over_is_priced_by_the_boundary_and_both_ends() -> None:
    between = np.full((2, 2, 4), inf)
    between[0, 1, 2] = 0.25
    assert path_of(TWO, replace(plain(TWO), hand_over=between)) == (7.0, [(1, 0, 3)])
    between[0, 1, 1] = 0.25
    assert path_of(TWO, replace(plain(TWO), hand_over=between)) == (3.25, [(0, 0, 1), (1, 1, 3)])


def test_a_later_stage_where_items_arise_costs_extra() -> None:
    graph = chain_graph(2, sizes=0)
    chain = Chain.of(profile_of(graph, {"a": [5, 1], "b": [1, 5]}), fleet_of("a", "b", source="a"))
    assert path_of(chain, plain(chain)) == (2.0, [(1, 0, 1), (0, 1, 2)])
    assert path_of(chain, replace(plain(chain), late_source=3.0)) == (5.0, [(1, 0, 1), (0, 1, 2)])
    assert path_of(chain, replace(plain(chain), late_source=5.0))[0] == 6.0


def test_the_bottleneck_bounds_the_path() -> None:
    chain = chain_of([1, 1, 1], [2, 2, 2])
    assert path_of(chain, plain(chain), 3.0) == (3.0, [(0, 0, 3)])
    assert path_of(chain, plain(chain), 2.0)[0] == 4.0
    assert path_of(chain, plain(chain), 1.9) == (inf, [])


def test_memory_bounds_the_path_to_starts_that_are_no_interval() -> None:
    """t1 has 100 bytes, so a stage may start at 0 or 2 but not at 1 (see the test of windows)."""
    profile = profile_of(chain_graph(3, sizes=[0, 100, 0, 0]), {"a": [1, 9, 9], "b": [19, 1, 1]})
    ample = Chain.of(profile, fleet_of("a", "b"))
    tight = Chain.of(profile, Fleet((Device("a"), Device("b", memory_bytes=150))))
    assert path_of(ample, plain(ample)) == (3.0, [(0, 0, 1), (1, 1, 3)])
    assert path_of(tight, plain(tight)) == (11.0, [(0, 0, 2), (1, 2, 3)])


def test_nothing_fits_nothing() -> None:
    chain = Chain.of(profile_of(chain_graph(1, weight_bytes=5), {"a": 1.0}), fleet_of("a", memory_bytes=1))
    assert path_of(chain, plain(chain)) == (inf, [])


def paths(chain: Chain) -> Iterator[list[Placed]]:
    """Every path that memory and fused nodes allow, one way per group."""
    count = len(chain)
    for wanted in range(1, min(count, len(chain.ways)) + 1):
        for ways in permutations(range(len(chain.ways)), wanted):
            for inner in combinations(range(1, count), wanted - 1):
                path = [Placed(way, *span) for way, span in zip(ways, pairwise((0, *inner, count)), strict=True)]
                if all(is_allowed(chain, placed) for placed in path):
                    yield path


def is_allowed(chain: Chain, placed: Placed) -> bool:
    windows = chain.windows[chain.ways[placed.way].group]
    spans = zip(windows.starts[:, placed.stop], windows.stops[:, placed.stop], strict=True)
    return any(first <= placed.start < stop for first, stop in spans)


def price_of(chain: Chain, prices: Prices, path: list[Placed]) -> float:
    total = prices.enter[path[0].way]
    for index, (way, start, stop) in enumerate((placed.way, placed.start, placed.stop) for placed in path):
        last = index == len(path) - 1
        nodes = (prices.last_nodes if last else prices.nodes)[way]
        total += nodes[stop] - nodes[start] + prices.stage[way]
        total += prices.last_stage[way] if last else prices.hand_over[way, path[index + 1].way, stop]
        total += prices.late_source if index and chain.ways[way].group == chain.source else 0.0
    return float(total)


@pytest.mark.parametrize("seed", range(40))
def test_no_path_of_a_random_chain_at_random_prices_is_cheaper(seed: int) -> None:
    rng, draw = random.Random(seed), np.random.default_rng(seed)
    profile, fleet = random_case(seed, Options(nodes=(2, 6), devices=(2, 3)))
    chain = Chain.of(profile, fleet)
    if any(len(group) > 1 for group in chain.groups):
        return
    ways, ends = len(chain.ways), len(chain) + 1
    nodes, last = (np.cumsum(draw.integers(0, 5, (ways, ends)), axis=1).astype(float) for _ in range(2))
    between = draw.integers(0, 5, (ways, ways, ends)).astype(float)
    stage, enter, last_stage = (draw.integers(0, 5, ways).astype(float) for _ in range(3))
    prices = Prices(nodes, last, stage, enter, between, last_stage, (None,) * ways, late_source=float(rng.randint(0, 3)))
    everything = list(paths(chain))
    limits = [inf, *sorted({chain.bottleneck_s(path) for path in everything})]
    for most_s in rng.sample(limits, min(4, len(limits))):
        kept = [path for path in everything if chain.bottleneck_s(path) <= most_s * (1 + 1e-12)]
        expected = min((price_of(chain, prices, path) for path in kept), default=inf)
        found = cheapest(chain, States(chain), prices, most_s)
        assert found.price == pytest.approx(expected)
        if found.path:
            assert price_of(chain, prices, found.path) == pytest.approx(expected)
            assert found.path in kept
