"""Strategies on fleets of devices that all differ, too many to search: near to their bounds, and refused with a proof only."""

from __future__ import annotations

import random

import pytest

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from multiedge.profile import Profile
from partitioners.energy import Energy
from partitioners.engine import chain as chain_module
from partitioners.engine.contract import Partitioner
from partitioners.latency import Latency
from partitioners.throughput import Throughput

NODES, DEVICES = 40, 14


@pytest.fixture(autouse=True)
def few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet is too large to search at 8 devices."""
    monkeypatch.setattr(chain_module, "MOST_CELLS", 60_000)


def case(share: float | None = None) -> tuple[Profile, Fleet]:
    """A model on devices that all differ; with a `share` they hold it about so many times together."""
    graph, rng = synthetic_graph(NODES, seed=1), random.Random(1)
    whole = sum(parameter.nbytes or 0 for parameter in graph.parameters.values())
    memory = share and [int(share * whole / DEVICES * rng.uniform(0.7, 1.6)) for _ in range(DEVICES)]
    fleet = synthetic_fleet([1] * DEVICES, seed=1, links=False, memory_bytes=memory or None)
    return synthetic_profile(graph, fleet, seed=1), fleet


def test_the_least_latency_is_nearly_proven() -> None:
    plan = Latency().plan(*case())
    assert plan.gap is not None
    assert plan.gap < 0.01


def test_the_most_throughput_within_a_latency_is_nearly_proven() -> None:
    profile, fleet = case()
    latency_s = 1.05 * Latency().plan(profile, fleet).value
    plan = Throughput(max_latency_s=latency_s, time_limit_s=8).plan(profile, fleet)
    assert plan.estimate.latency_s <= latency_s * (1 + 1e-9)
    assert plan.gap is not None
    assert plan.gap < 0.05


@pytest.mark.parametrize("strategy", [Latency(), Energy(time_limit_s=1)], ids=["latency", "energy"])
def test_a_plan_that_needs_nearly_all_memory_is_found(strategy: Partitioner) -> None:
    """The fastest and the largest few devices alone do not hold the model, nor do all with the memory of the smallest."""
    profile, fleet = case(share=2.2)
    assert len(strategy.plan(profile, fleet).stages) > 8


@pytest.mark.parametrize("strategy", [Latency(), Energy(time_limit_s=1)], ids=["latency", "energy"])
def test_memory_that_no_plan_fits_is_refused_with_what_would_do(strategy: Partitioner) -> None:
    with pytest.raises(
        InfeasibleError, match=r"fits the memory of synthetic-14; [\d.]+ times the memory on each device would do"
    ):
        strategy.plan(*case(share=0.9))


def test_a_rate_that_is_not_possible_is_refused_with_one_that_is() -> None:
    profile, fleet = case()
    with pytest.raises(InfeasibleError, match=r"ask for [\d.]+ items/s"):
        Latency(min_fps=1e6).plan(profile, fleet)
