"""The beam search and its bound on small fleets, against every plan there is."""

from __future__ import annotations

from math import inf
from time import perf_counter

import numpy as np
import pytest

from multiedge.fleet import Device, Fleet
from partitioners.engine.beam import search
from partitioners.engine.chain import Chain
from partitioners.engine.load_bound import load_bound
from partitioners.throughput import Throughput
from tests.builders.cases import Options, random_case
from tests.builders.graphs import chain_graph
from tests.builders.oracle import Oracle, best
from tests.builders.profiles import profile_of


def found(oracle: Oracle, seconds: float = 0.3):
    return search(Chain.of(oracle.profile, oracle.fleet, searched=False), perf_counter() + seconds)


def test_bounds_hold_and_plans_can_run() -> None:
    for seed in range(100):
        oracle = Oracle(*random_case(seed, Options(devices=(1, 4))))
        optimum = best(oracle.contiguous_costs(), "throughput")
        result = found(oracle)
        assert result.lower_bound_s <= (inf if optimum is None else optimum * (1 + 1e-9)), seed
        if result.path:
            stages = Chain.of(oracle.profile, oracle.fleet).stages(result.path)
            cost = oracle.cost(stages, oracle.relay_messages(stages))
            assert oracle.can_run(stages), seed
            assert oracle.keeps_fused(stages), seed
            assert oracle.fits(cost), seed
            assert result.seconds == pytest.approx(cost.bottleneck_s, rel=1e-9, abs=0), seed


def test_most_plans_are_the_best() -> None:
    optimal = total = 0
    for seed in range(100):
        oracle = Oracle(*random_case(seed, Options(devices=(1, 4))))
        optimum = best(oracle.contiguous_costs(), "throughput")
        if optimum is not None:
            total += 1
            result = found(oracle)
            optimal += bool(result.path) and result.seconds <= optimum * 1.001
    assert optimal >= 0.9 * total, (optimal, total)


def test_the_bound_is_at_least_that_of_the_load() -> None:
    rng = np.random.default_rng(0)
    times = {f"d{index}": (speed * rng.uniform(0.5, 1.5, 60)).tolist() for index, speed in enumerate(rng.uniform(1, 8, 12))}
    chain = Chain.of(profile_of(chain_graph(60), times), Fleet(tuple(map(Device, times))), searched=False)
    result = search(chain, perf_counter() + 5.0)
    assert result.lower_bound_s >= load_bound(np.array(list(times.values())).T) * (1 - 1e-6)
    assert result.seconds <= result.lower_bound_s * 1.1


def test_more_devices_never_give_a_worse_plan() -> None:
    """Each fleet has the devices of the one before it and some that are slower."""
    rng = np.random.default_rng(1)
    base = rng.lognormal(0, 0.5, 40)
    times = {f"d{index}": ((1 + 0.1 * index) * base * rng.uniform(0.9, 1.1, 40)).tolist() for index in range(40)}
    profile = profile_of(chain_graph(40), times)
    values = [
        Throughput(time_limit_s=8.0).plan(profile, Fleet(tuple(map(Device, list(times)[:count])))).value
        for count in (8, 16, 24, 40)
    ]
    assert values == sorted(values, reverse=True)
