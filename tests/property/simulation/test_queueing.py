"""Latency under load, against what queueing theory says of one server: M/D/1."""

from __future__ import annotations

import math
from itertools import islice, pairwise

import pytest

from multiedge.arrivals import poisson_times
from multiedge.fleet import Device, Fleet
from multiedge.measurements import Measurements
from multiedge.metrics.percentiles import percentile
from multiedge.plan import Stage
from multiedge.simulation.simulate import Load, simulate
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.plans import relay_plan
from tests.builders.profiles import profile_of

SERVICE_S, SEED, ITEMS = 0.02, 7, 20_000


def one_server(load: float, items: int = ITEMS) -> list[float]:
    """Latencies of one stage of SERVICE_S at that share of its rate."""
    profile, fleet = profile_of(chain_graph(1, sizes=0), {"a": SERVICE_S}), fleet_of("a")
    plan = relay_plan(profile, fleet, Stage.span("a", 0, 1))
    measured = simulate(plan, profile, fleet, load=Load(items, interval_s=SERVICE_S / load, seed=SEED))
    return latencies(measured)


def latencies(measured: Measurements) -> list[float]:
    return [item.latency_s for item in measured.items]


def share_within(load: float, wait_s: float) -> float:
    """The share of items of an M/D/1 queue that wait at most so long (Erlang, 1909)."""
    rate = load / SERVICE_S
    terms = []
    for number in range(math.floor(wait_s / SERVICE_S) + 1):
        at = rate * (number * SERVICE_S - wait_s)
        terms.append(at**number / math.factorial(number) * math.exp(-at))
    return (1 - load) * math.fsum(terms)


def expected_latency_s(load: float, p: float) -> float:
    """The percentile of an M/D/1 queue, by bisection."""
    low, high = 0.0, 40 * SERVICE_S
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if share_within(load, middle) < p else (low, middle)
    return SERVICE_S + high


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_each_item_waits_as_lindley_s_recursion_says(load: float) -> None:
    due = list(islice(poisson_times(load / SERVICE_S, SEED), 2000))
    waits = [0.0]
    for before, after in pairwise(due):
        waits.append(max(0.0, waits[-1] + SERVICE_S - (after - before)))
    assert one_server(load, 2000) == pytest.approx([wait + SERVICE_S for wait in waits])


@pytest.mark.parametrize(("load", "tolerance"), [(0.6, 0.05), (0.8, 0.1)])
def test_percentiles_are_those_of_an_m_d_1_queue(load: float, tolerance: float) -> None:
    """The nearer to full load, the more do waits of successive items depend on each other, and the more a sample varies."""
    found = one_server(load)
    mean_s = SERVICE_S + load * SERVICE_S / (2 * (1 - load))
    assert sum(found) / len(found) == pytest.approx(mean_s, rel=tolerance)
    for p in (0.5, 0.9, 0.99):
        assert percentile(found, p) == pytest.approx(expected_latency_s(load, p), rel=tolerance), p


def test_items_that_are_evenly_spaced_wait_for_nothing_below_full_load() -> None:
    profile, fleet = profile_of(chain_graph(2, sizes=0), {"a": 1.0, "b": 1.0}), Fleet((Device("a"), Device("b")))
    plan = relay_plan(profile, fleet, Stage.span("a", 0, 1), Stage.span("b", 1, 2))
    assert latencies(simulate(plan, profile, fleet, load=Load(50, interval_s=1.01))) == pytest.approx([2.0] * 50)


def test_random_arrivals_make_items_wait_at_the_same_rate() -> None:
    profile, fleet = profile_of(chain_graph(2, sizes=0), {"a": 1.0, "b": 1.0}), Fleet((Device("a"), Device("b")))
    plan = relay_plan(profile, fleet, Stage.span("a", 0, 1), Stage.span("b", 1, 2))
    found = latencies(simulate(plan, profile, fleet, load=Load(50, interval_s=1.01, seed=SEED)))
    assert min(found) == pytest.approx(2.0)
    assert max(found) > 3.0
