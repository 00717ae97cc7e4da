"""The arrays that strategies search are the cost model's own numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiedge.plan import relay_transfers
from multiedge.planning import cost, memory
from partitioners.energy import energy_prices, total_price
from partitioners.engine.chain import Chain, Placed
from partitioners.engine.cheapest import cheapest
from partitioners.engine.fastest import latency_prices
from partitioners.engine.memory import memory_rows
from partitioners.engine.search import SLACK, States, reachable
from tests.builders.chains import instances


@st.composite
def paths(draw, replicate: bool = False):
    """A chain, a random path through it and the path's stages, memory not asked."""
    profile, fleet = draw(instances())
    chain = Chain.of(profile, fleet, replicate=replicate)
    order = draw(st.permutations(range(len(chain.ways))))
    free = [len(group) for group in chain.groups]
    ways = []
    for way in [way for way in order for _ in range(2)]:
        kind = chain.ways[way]
        if free[kind.group] >= kind.replicas and len(ways) < len(chain):
            free[kind.group] -= kind.replicas
            ways.append(way)
    ways = ways[: draw(st.integers(1, len(ways)))]
    inner = sorted(draw(st.permutations(range(1, len(chain))))[: len(ways) - 1])
    bounds = [0, *inner, len(chain)]
    path = [Placed(way, *span) for way, span in zip(ways, pairwise(bounds), strict=True)]
    return chain, path


def estimate_of(chain, path):
    stages = chain.stages(path)
    transfers = relay_transfers(chain.profile.graph, stages, chain.profile.cut_bytes.tolist())
    return stages, transfers, cost.estimate(chain.profile, chain.fleet, stages, transfers)


@settings(max_examples=150, deadline=None)
@given(st.booleans().flatmap(paths))
def test_bottleneck_and_memory_of_a_path_are_the_cost_models(case):
    chain, path = case
    stages, transfers, expected = estimate_of(chain, path)
    assert chain.bottleneck_s(path) == pytest.approx(expected.bottleneck_s, rel=1e-9)
    rows, whole = list(memory_rows(chain.profile)), chain.profile.open_boundaries
    needed = memory.memory_by_device(chain.profile, chain.fleet, stages, transfers)
    for stage, placed in zip(stages, path, strict=True):
        assert needed[stage.device] == rows[placed.start][placed.stop - placed.start - 1]
        windows = chain.windows[chain.ways[placed.way].group]
        spans = zip(windows.starts[:, placed.stop], windows.stops[:, placed.stop], strict=True)
        fits = needed[stage.device] <= chain.fleet.device(stage.device).memory_bytes and whole[placed.stop]
        assert any(start <= placed.start < stop for start, stop in spans) == fits


@settings(max_examples=150, deadline=None)
@given(paths())
def test_prices_of_a_path_are_the_cost_models(case):
    chain, path = case
    _, _, expected = estimate_of(chain, path)
    joules = total_price(chain, energy_prices(chain, expected.bottleneck_s), path)
    assert joules == pytest.approx(expected.energy_j, rel=1e-9)
    latency_s = total_price(chain, latency_prices(chain), path)
    assert latency_s <= expected.latency_s * (1 + 1e-9)
    if not chain.early_results:
        assert latency_s == pytest.approx(expected.latency_s, rel=1e-9)


@settings(max_examples=80, deadline=None)
@given(paths())
def test_what_is_found_is_worth_what_is_said(case):
    chain, path = case
    states, prices = States(chain), latency_prices(chain)
    most_s = chain.bottleneck_s(path)
    found = cheapest(chain, states, prices, most_s)
    if found.path:
        assert total_price(chain, prices, found.path) == pytest.approx(found.price, rel=1e-9)
        assert chain.bottleneck_s(found.path) <= most_s * SLACK
    reached = reachable(chain, states, most_s)
    assert bool(reached) == bool(found.path)
    assert not reached or chain.bottleneck_s(reached) <= most_s * SLACK
