"""The search over ends of plans: limits on latency, results that return early, and its deadline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multiedge.fleet import Device, Fleet, Link, Power
from partitioners.energy import energy_prices
from partitioners.engine.chain import Chain
from partitioners.engine.fastest import latency_prices
from partitioners.engine.search import States
from partitioners.engine.suffixes import Best, Question, best_within
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of


def two_devices() -> Chain:
    """Per node, x takes 1 s and 10 J, y takes 2 s and 2 J; two nodes."""
    fleet = Fleet((Device("x", power=Power(0, 10)), Device("y", power=Power(0, 1))))
    return Chain.of(profile_of(chain_graph(2, sizes=0), {"x": 1.0, "y": 2.0}), fleet)


def cheapest_within(chain: Chain, most_latency_s: float, **changes: float) -> Best:
    question = Question(latency_prices(chain), energy_prices(chain, 0.0), most_latency_s=most_latency_s)
    return best_within(chain, States(chain), replace(question, **changes))


WITHIN = [(np.inf, 4.0), (4.0, 4.0), (3.9, 12.0), (3.0, 12.0), (2.9, 20.0), (2.0, 20.0)]
"""Latencies, and the joules of the best plan within each."""


@pytest.mark.parametrize(("most_latency_s", "joules"), WITHIN)
@pytest.mark.parametrize("rate", [0.0, 0.5, 8.0, 100.0])
def test_the_least_energy_within_a_latency_whatever_the_multiplier(most_latency_s: float, joules: float, rate: float) -> None:
    rate = rate if np.isfinite(most_latency_s) else 0.0
    assert cheapest_within(two_devices(), most_latency_s, rate=rate).bound == pytest.approx(joules)


def test_no_plan_is_fast_enough() -> None:
    assert cheapest_within(two_devices(), 1.9) == Best(np.inf)


def test_results_that_return_early_count_in_the_latency() -> None:
    """Node 0 makes an output of 10 B; from y it takes 10 s to return to x, so both nodes stay on x although y is faster."""
    graph = graph_of("a: t0", "b: a", inputs=("t0",), outputs=("a", "b"), tensors={"t0": 0, "a": 10, "b": 0})
    fleet = Fleet((Device("x"), Device("y")), {("x", "y"): Link(1.0)}, source="x")
    chain = Chain.of(profile_of(graph, {"x": 3.0, "y": 1.0}), fleet)
    best = best_within(chain, States(chain), Question(latency_prices(chain)))
    assert best.bound == pytest.approx(6.0)
    assert [placed.way for placed in best.path] == [0]


def test_after_the_deadline_only_a_bound_is_left() -> None:
    """Twenty nodes on devices whose prices conflict have more suffixes than are taken between two looks at the clock."""
    rng = np.random.default_rng(0)
    fleet = Fleet(tuple(Device(name, power=Power(0, watts)) for name, watts in (("a", 9), ("b", 4), ("c", 2), ("d", 1))))
    seconds = {name: (scale * rng.uniform(1, 2, 40)).tolist() for name, scale in (("a", 1), ("b", 2), ("c", 4), ("d", 7))}
    chain = Chain.of(profile_of(chain_graph(40, sizes=0), seconds), fleet)
    question = Question(latency_prices(chain), energy_prices(chain, 0.0), most_latency_s=120.0)
    late, full = best_within(chain, States(chain), question, deadline_s=0.0), best_within(chain, States(chain), question)
    assert late.path == ()
    assert 0 < late.bound <= full.bound < np.inf
