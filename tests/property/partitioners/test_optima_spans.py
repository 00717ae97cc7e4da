"""Each strategy against every plan there is, where the times of spans do not add up over their nodes.

Cases are numbered by seed and the same everywhere; more of them are marked slow.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from math import inf

import pytest

from multiedge.errors import ConfigError
from partitioners.branches import Branches
from partitioners.brute_force import BruteForce
from partitioners.energy import Energy
from partitioners.engine import chain as chain_module
from partitioners.exact import Exact
from partitioners.latency import Latency
from partitioners.pipeedge import PipeEdge
from partitioners.single import Single
from partitioners.throughput import Throughput
from tests.builders.cases import Options, random_case
from tests.builders.optima import ENERGY, ROUNDING, planned, require_honest, require_optimum
from tests.builders.oracle import Oracle, best

SPANS = Options(spans=True)
POWERED = Options(spans=True, powered=True)
LATE = Options(spans=True, early_outputs=False)


def blocks(quick: int, slow: int) -> pytest.MarkDecorator:
    """Seeds 0 ... quick - 1, and in a slow test those up to `slow`."""
    return pytest.mark.parametrize("seeds", [range(quick), pytest.param(range(quick, slow), marks=pytest.mark.slow)], ids=str)


@blocks(40, 600)
def test_throughput(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, SPANS))
        require_optimum(planned(Throughput(), oracle), best(oracle.contiguous_costs(), "throughput"), seed)


@blocks(30, 300)
def test_throughput_with_replicas(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, Options(nodes=(1, 4), spans=True)))
        optimum = best(oracle.contiguous_costs(replicas=True), "throughput")
        require_optimum(planned(Throughput(replicate=True), oracle), optimum, seed)


@blocks(30, 300)
def test_throughput_within_a_latency(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, SPANS))
        costs = oracle.contiguous_costs()
        latencies = sorted({cost.latency_s for cost in costs if cost.latency_s > 0})
        if latencies:
            latency_s = random.Random(seed).choice(latencies)
            plan = planned(Throughput(max_latency_s=latency_s), oracle)
            require_optimum(plan, best(costs, "throughput", max_latency_s=latency_s * ROUNDING), seed)


@blocks(40, 600)
def test_latency(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, SPANS))
        require_optimum(planned(Latency(), oracle), best(oracle.contiguous_costs(), "latency"), seed)


@blocks(30, 300)
def test_latency_at_a_rate(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, LATE))
        costs = oracle.contiguous_costs()
        rates = sorted({1 / cost.bottleneck_s for cost in costs if cost.bottleneck_s > 0})
        if rates:
            min_fps = random.Random(seed).choice(rates)
            optimum = best(costs, "latency", most_s=ROUNDING / min_fps)
            require_optimum(planned(Latency(min_fps=min_fps), oracle), optimum, seed)


@blocks(30, 300)
def test_energy(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, POWERED))
        require_optimum(planned(Energy(), oracle), best(oracle.contiguous_costs(), "energy"), seed, rel=ENERGY)


@blocks(20, 200)
def test_energy_at_a_rate_and_within_a_latency(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle, rng = Oracle(*random_case(seed, Options(powered=True, nodes=(1, 4), spans=True))), random.Random(seed)
        costs = oracle.contiguous_costs()
        if costs:
            most_s, latency_s = rng.choice(costs).bottleneck_s or inf, 1.03 * rng.choice(costs).latency_s
            if seed % 2:
                most_s = inf
            if not latency_s:
                continue
            plan = planned(Energy(1 / most_s if most_s < inf else None, latency_s), oracle)
            require_optimum(plan, best(costs, "energy", most_s=most_s, max_latency_s=latency_s), seed, rel=ENERGY)


@blocks(20, 200)
def test_exact(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, SPANS))
        costs = [*(cost for _, cost in oracle.one_stage_each()), *oracle.contiguous_costs()]
        require_optimum(planned(Exact(gap=0.0, orders=3), oracle), best(costs, "throughput"), seed, rel=1e-6)


@pytest.mark.slow
def test_up_to_seven_nodes_on_four_devices() -> None:
    for seed in range(20):
        options = Options(nodes=(6, 7), devices=(3, 4), powered=True, spans=True, early_outputs=False)
        oracle = Oracle(*random_case(seed, options))
        costs = oracle.contiguous_costs()
        require_optimum(planned(Throughput(), oracle), best(costs, "throughput"), seed)
        require_optimum(planned(Latency(), oracle), best(costs, "latency"), seed)
        require_optimum(planned(Energy(), oracle), best(costs, "energy"), seed, rel=ENERGY)


@blocks(30, 200)
def test_brute_force_and_single(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, SPANS))
        plans = list(oracle.contiguous())
        require_optimum(planned(BruteForce("latency"), oracle), best((cost for _, cost in plans), "latency"), seed)
        alone = best((cost for stages, cost in plans if len(stages) == 1), "throughput")
        require_optimum(planned(Single(), oracle), alone, seed)


@blocks(20, 200)
def test_pipeedge_without_a_source(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, SPANS))
        if oracle.fleet.source is None and len(oracle.graph.outputs) == 1:
            plan, optimum = planned(PipeEdge(), oracle), best(oracle.contiguous_costs(), "throughput")
            assert (plan is None) == (optimum is None), seed
            assert plan is None or plan.value == pytest.approx(optimum), seed


@blocks(15, 150)
def test_the_bound_of_branches_holds(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, SPANS))
        costs = [*(cost for _, cost in oracle.one_stage_each()), *oracle.contiguous_costs()]
        plan = planned(Branches(moves=20), oracle)
        if plan is not None and costs:
            assert plan.lower_bound <= best(costs, "latency") * (1 + 1e-9), seed


@blocks(15, 150)
def test_fleets_that_are_too_large_to_search_have_bounds_that_hold(
    seeds: Iterable[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_module, "MOST_CELLS", 40)
    for seed in seeds:
        oracle = Oracle(*random_case(seed, Options(powered=True, spans=True, nodes=(3, 5), devices=(3, 3))))
        costs = oracle.contiguous_costs()
        for strategy, objective in ((Throughput(), "throughput"), (Latency(), "latency"), (Energy(), "energy")):
            try:
                plan = planned(strategy, oracle)
            except ConfigError:
                continue
            optimum = best(costs, objective)
            if plan is not None:
                require_honest(plan, optimum, seed, rel=ENERGY)
