"""Strategies with the first stage, the last one or both on a device, against every plan that has them there.

Cases are numbered by seed and the same everywhere; more of them are marked slow.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise, permutations

import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.plan import Plan, Stage
from multiedge.planning.pins import Pins, plan_pinned
from partitioners.branches import Branches
from partitioners.brute_force import BruteForce
from partitioners.energy import Energy
from partitioners.engine import chain as chain_module
from partitioners.engine.contract import Partitioner
from partitioners.exact import Exact
from partitioners.latency import Latency
from partitioners.single import Single
from partitioners.throughput import Throughput
from tests.builders.cases import Options, random_case
from tests.builders.optima import ENERGY, EXACT, require_honest, require_optimum
from tests.builders.oracle import Cost, Oracle, best

POWERED = Options(powered=True)


def blocks(quick: int, slow: int) -> pytest.MarkDecorator:
    """Seeds 0 ... quick - 1, and in a slow test those up to `slow`."""
    return pytest.mark.parametrize("seeds", [range(quick), pytest.param(range(quick, slow), marks=pytest.mark.slow)], ids=str)


def pins_of(seed: int, oracle: Oracle) -> Pins:
    """The first stage, the last one or both on devices of the case; not both on the same one."""
    rng = random.Random(seed)
    first, last = rng.choice(oracle.fleet.names), rng.choice(oracle.fleet.names)
    return [Pins(first), Pins("", last), Pins(first, last if last != first else "")][seed % 3]


def keeps(oracle: Oracle, stages: Sequence[Stage], pins: Pins) -> bool:
    """Whether the caller sends inputs to, and gets results from, those devices alone. The first of stages that hand on gets all
    inputs, and who reads one later must be there too."""
    inputs, outputs = set(oracle.graph.inputs), set(oracle.graph.outputs)
    taking = [stages[0], *(each for each in stages if any(oracle.reads[node] & inputs for node in each.nodes))]
    giving = [stages[-1], *(each for each in stages if any(oracle.writes[node] & outputs for node in each.nodes))]
    return not (pins.first_on and any(set(each.devices) != {pins.first_on} for each in taking)) and not (
        pins.last_on and any(set(each.devices) != {pins.last_on} for each in giving)
    )


def planned(strategy: Partitioner, oracle: Oracle, pins: Pins) -> Plan | None:
    """The strategy's plan, sound and with the pins; None if it says that there is none."""
    try:
        plan = plan_pinned(strategy.plan, oracle.profile, oracle.fleet, pins)
    except InfeasibleError:
        return None
    oracle.require_sound(plan)
    assert keeps(oracle, plan.stages, pins)
    assert plan.scope
    assert (plan.scope.first_on, plan.scope.last_on) == (pins.first_on, pins.last_on)
    return plan


@pytest.mark.parametrize("options", [POWERED, Options(powered=True, spans=True)], ids=["sums", "spans"])
@pytest.mark.parametrize(
    ("strategy", "objective", "rel"),
    [
        (Throughput(), "throughput", EXACT),
        (Latency(), "latency", EXACT),
        (Energy(), "energy", ENERGY),
        (BruteForce("latency"), "latency", EXACT),
    ],
    ids=["throughput", "latency", "energy", "brute_force"],
)
@blocks(30, 400)
def test_a_strategy_for_chains_finds_the_best_plan_with_the_pins(
    seeds: Iterable[int], strategy: Partitioner, objective: str, rel: float, options: Options
) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, options))
        pins = pins_of(seed, oracle)
        optimum = best((cost for stages, cost in oracle.contiguous() if keeps(oracle, stages, pins)), objective)
        require_optimum(planned(strategy, oracle, pins), optimum, seed, rel=rel)


@blocks(20, 200)
def test_the_whole_model_on_the_device(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, POWERED))
        name = random.Random(seed).choice(oracle.fleet.names)
        alone = [cost for stages, cost in oracle.contiguous() if [stage.device for stage in stages] == [name]]
        require_optimum(planned(Single(), oracle, Pins(name, name)), best(alone, "throughput"), seed)


@blocks(15, 150)
def test_exact_finds_the_best_of_all_plans_with_one_stage_per_device(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed))
        pins = pins_of(seed, oracle)
        plan = planned(Exact(gap=0.0, orders=3), oracle, pins)
        both = [*oracle.one_stage_each(), *oracle.contiguous()]
        optimum = best((cost for stages, cost in both if plan_keeps(oracle, stages, pins)), "throughput")
        require_optimum(plan, optimum, seed, rel=1e-6)


def plan_keeps(oracle: Oracle, stages: Sequence[Stage], pins: Pins) -> bool:
    """As `keeps`, for stages in any order: what comes before the first reader, and after the last maker, counts too."""
    readers = [node for node in range(oracle.count) if oracle.reads[node] & set(oracle.graph.inputs)] or [0]
    makers = [oracle.maker[name] for name in oracle.graph.outputs]
    first, last = {*readers, *range(min(readers))}, {*makers, *range(max(makers), oracle.count)}
    for nodes, name in ((first, pins.first_on), (last, pins.last_on)):
        if name and any(set(each.devices) != {name} for each in stages if nodes & set(each.nodes)):
            return False
    return True


@blocks(15, 150)
def test_the_bound_of_branches_holds_with_pins(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed))
        pins = pins_of(seed, oracle)
        plan = planned_any(Branches(moves=20), oracle, pins)
        both = [*oracle.one_stage_each(), *oracle.contiguous()]
        optimum = best((cost for stages, cost in both if plan_keeps(oracle, stages, pins)), "latency")
        if plan is not None and optimum is not None:
            assert plan.lower_bound <= optimum * (1 + 1e-9), seed


def planned_any(strategy: Partitioner, oracle: Oracle, pins: Pins) -> Plan | None:
    try:
        plan = plan_pinned(strategy.plan, oracle.profile, oracle.fleet, pins)
    except InfeasibleError:
        return None
    assert plan_keeps(oracle, plan.stages, pins)
    return plan


def there_and_back(oracle: Oracle, name: str) -> Iterator[Cost]:
    """Every contiguous plan with its first and its last stage on one device, each other device with one stage at most.

    With two stages on the device alone, early results return before the second one begins.
    """
    others = [each for each in oracle.fleet.names if each != name]
    for count in range(len(others) + 1):
        for order in permutations(others, count):
            for inner in combinations(range(1, oracle.count), count + 1):
                spans = pairwise((0, *inner, oracle.count))
                stages = [Stage.span(device, *span) for device, span in zip((name, *order, name), spans, strict=True)]
                if oracle.keeps_fused(stages) and keeps(oracle, stages, Pins(name, name)):
                    yield oracle.cost(stages, oracle.relay_messages(stages))
    yield from (cost for stages, cost in oracle.contiguous() if [stage.device for stage in stages] == [name])


@blocks(40, 400)
def test_both_ends_on_one_device(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, Options(powered=True, limited=False, nodes=(2, 5))))
        name = random.Random(seed).choice(oracle.fleet.names)
        costs = list(there_and_back(oracle, name))
        plan = planned(Latency(), oracle, Pins(name, name))
        require_optimum(plan, best(costs, "latency"), seed)
        for strategy, objective in ((Throughput(), "throughput"), (Energy(), "energy")):
            plan, optimum = planned(strategy, oracle, Pins(name, name)), best(costs, objective)
            require_honest(plan, optimum, seed, rel=ENERGY)


@blocks(15, 150)
def test_fleets_that_are_too_large_to_search_keep_the_pins_and_their_bounds_hold(
    seeds: Iterable[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_module, "MOST_CELLS", 40)
    for seed in seeds:
        oracle = Oracle(*random_case(seed, Options(powered=True, nodes=(3, 5), devices=(3, 3))))
        pins = pins_of(seed, oracle)
        costs = [cost for stages, cost in oracle.contiguous() if keeps(oracle, stages, pins)]
        for strategy, objective in ((Throughput(), "throughput"), (Latency(), "latency"), (Energy(), "energy")):
            try:
                plan, optimum = planned(strategy, oracle, pins), best(costs, objective)
            except ConfigError:
                continue
            if plan is not None:
                require_honest(plan, optimum, seed, rel=ENERGY)
