"""Prices of devices: a bound below every plan, and a beam whose plans can run."""

from __future__ import annotations

from math import inf
from random import Random
from time import perf_counter

import pytest

from partitioners.energy import energy_prices, total_price
from partitioners.engine import priced as priced_module
from partitioners.engine.chain import Chain
from partitioners.engine.cheapest import Prices, cheapest
from partitioners.engine.fastest import latency_prices
from partitioners.engine.priced import PricedSearch, Stages, is_priceable
from partitioners.engine.search import States
from tests.builders.cases import Options, random_case

ROUNDING = 1e-9


def prices_of(kind: str, chain: Chain) -> Prices:
    return latency_prices(chain) if kind == "latency" else energy_prices(chain, 0.5)


@pytest.mark.parametrize("kind", ["latency", "energy"])
def test_bounds_and_plans_enclose_the_least_price(kind: str) -> None:
    """Of what a search of all states finds, with and without a limit of the bottleneck, over nodes and over spans."""
    bounds, optima, missed = 0.0, 0.0, 0
    for seed in range(80):
        options = Options(nodes=(3, 7), devices=(2, 4), spans=seed % 2 == 0, powered=True, early_outputs=False, scales_s=(1.0,))
        chain = Chain.of(*random_case(seed, options))
        prices = prices_of(kind, chain)
        most_s = Random(seed).choice([inf, float(chain.seconds[:, -1].max()) * 0.6])
        exact = cheapest(chain, States(chain), prices, most_s)
        found = PricedSearch(Stages(chain), prices, most_s).run(perf_counter() + 5)
        if not exact.path:
            assert not found.path, seed
            continue
        assert found.bound <= exact.price * (1 + ROUNDING), seed
        bounds, optima, missed = bounds + found.bound, optima + exact.price, missed + (not found.path)
        if found.path:
            assert total_price(chain, prices, found.path) >= exact.price * (1 - ROUNDING), seed
            assert chain.bottleneck_s(found.path) <= most_s * (1 + ROUNDING), seed
    assert missed <= 2
    assert bounds > 0.95 * optima


def test_the_search_ends_once_a_plan_as_cheap_as_wanted_is_excluded() -> None:
    chain = Chain.of(*random_case(3, Options(nodes=(6, 6), devices=(3, 3), limited=False)))
    found = PricedSearch(Stages(chain), latency_prices(chain), inf).run(perf_counter() + 5, wanted=0.0)
    assert found.bound > 0.0


def test_tables_that_are_too_large_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain.of(*random_case(3, Options(nodes=(6, 6), devices=(3, 3), limited=False)))
    assert is_priceable(chain)
    monkeypatch.setattr(priced_module, "MOST_ENTRIES", len(chain.groups) * 49 - 1)
    assert not is_priceable(chain)
