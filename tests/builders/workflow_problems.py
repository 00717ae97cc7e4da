"""Random problems of the optimiser, and their optima by trying every configuration."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from multiedge.fleet import Power
from multiedge.plan import CALLER
from multiedge.workflows.optimiser.configuration import Choice, Configuration
from multiedge.workflows.optimiser.problem import Demand, Edge, Kind, Objective, Problem, Step, Variant
from multiedge.workflows.optimiser.search import Evaluate

BATCHES = (1, 2, 4)


def random_problem(
    seed: int, *, steps: int = 4, variants: int = 3, batches: tuple[int, ...] = BATCHES, combinations: int = 0
) -> Problem:
    """Up to so many steps with up to so many variants on two devices, which are equal in one of three problems. The accuracy of
    up to so many combinations is known."""
    rng = random.Random(seed)
    power = Power(rng.uniform(1, 4), rng.uniform(5, 15))
    kinds = (
        (Kind("twin", ("twin", "twin2"), rng.uniform(0.5, 2), power, 1000.0),)
        if rng.random() < 1 / 3
        else (
            Kind("large", ("large",), rng.uniform(1, 4), power, rng.choice([math.inf, 900.0])),
            Kind("small", ("small",), rng.uniform(0.2, 1), Power(power.idle_w / 3, power.busy_w / 3), 600.0),
        )
    )
    slower = {kind.name: 1.0 if index == 0 else rng.uniform(1.5, 4) for index, kind in enumerate(kinds)}
    count = rng.randint(1, steps)
    made = tuple(_step(rng, f"s{number}", rng.randint(1, variants), slower, batches) for number in range(count))
    edges = [Edge(CALLER, 0, 1000), *(Edge(a, a + 1, 1000) for a in range(count - 1)), Edge(count - 1, CALLER, 10)]
    whole_s = sum(step.variants[0].seconds[kinds[0].name, 1] * step.rate for step in made)
    demand = Demand(
        rng.uniform(0.05, 0.7) / whole_s,
        whole_s * rng.uniform(2, 20),
        rng.choice([0.0, rng.uniform(0.6, 0.95) ** count]),
        rng.choice(list(Objective)),
    )
    measured = {
        tuple(rng.choice(step.variants).name for step in made): rng.uniform(0.5, 1.0) ** count for _ in range(combinations)
    }
    return Problem(made, kinds, demand, tuple(edges), (tuple(range(count)),), None, batches, measured_accuracy=measured)


def _step(rng: random.Random, name: str, variants: int, slower: dict[str, float], batches: tuple[int, ...]) -> Step:
    gain = rng.uniform(0.4, 1.0)

    def variant(number: int) -> Variant:
        alone_s = rng.uniform(0.002, 0.03) * (1 + number)
        seconds = {
            (kind, batch): alone_s * factor * (1 + (batch - 1) * gain) for kind, factor in slower.items() for batch in batches
        }
        return Variant(f"v{number}", seconds, min(1.0, rng.uniform(0.6, 0.9) + 0.05 * number), rng.randint(50, 400))

    return Step(name, tuple(variant(number) for number in range(variants)), rng.choice([1.0, rng.uniform(0.1, 1.0)]))


@dataclass(frozen=True)
class Congested:
    """An Evaluate without a simulator, by `congested_s`."""

    problem: Problem

    def p99_s(self, configuration: Configuration) -> float:
        return congested_s(self.problem, configuration, range(len(self.problem.steps)))

    def least_p99_s(self, configuration: Configuration, steps: Collection[int]) -> float:
        return congested_s(self.problem, configuration, steps)


def congested_s(problem: Problem, configuration: Configuration, steps: Collection[int]) -> float:
    """A p99 latency without a simulator: each step takes longer the more its kind of devices is loaded."""
    total = 0.0
    for index, (step, choice) in enumerate(zip(problem.steps, configuration.choices, strict=True)):
        if index not in steps:
            continue
        run_s = step.variant(choice.variant).seconds[choice.kind, choice.batch]
        busy = _load(problem, configuration, steps, choice.kind) / configuration.devices[problem.kind_index[choice.kind]]
        filled_s = 0.25 * (choice.batch - 1) / (problem.demand.rate_per_s * step.rate)
        total += filled_s + run_s * (1 + busy / max(1.02 - busy, 0.02) / choice.replicas)
    return total


def _load(problem: Problem, configuration: Configuration, steps: Collection[int], kind: str) -> float:
    pairs = [(problem.steps[index], configuration.choices[index]) for index in steps]
    return sum(
        problem.demand.rate_per_s
        * step.rate
        * min(step.variant(choice.variant).seconds[kind, batch] / batch for batch in problem.batches if batch <= choice.batch)
        for step, choice in pairs
        if choice.kind == kind
    )


def least_value(problem: Problem, evaluate: Evaluate) -> float:
    """The least value of all configurations that meet the demand, in numpy and without the optimiser's code; inf for none."""
    demand, kinds = problem.demand, problem.kinds
    options = [
        [
            (variant, batch, number, replicas)
            for variant in step.variants
            for number, kind in enumerate(kinds)
            for batch in problem.batches
            for replicas in range(1, len(kind.devices) + 1)
        ]
        for step in problem.steps
    ]
    grids = np.meshgrid(*(np.arange(len(each)) for each in options), indexing="ij")
    index = np.stack([grid.ravel() for grid in grids], axis=1)
    rows = len(index)
    load, memory, most = (np.zeros((rows, len(kinds))) for _ in range(3))
    accuracy, least_s, joules = np.ones(rows), np.zeros(rows), np.zeros(rows)
    allowed, names = np.ones(rows, dtype=bool), []
    for number, (step, each) in enumerate(zip(problem.steps, options, strict=True)):
        own_load = np.array([_item_s(*option, kinds) for option in each]) * demand.rate_per_s * step.rate
        chosen = index[:, number]
        kind = np.array([option[2] for option in each])[chosen]
        replicas = np.array([option[3] for option in each])[chosen]
        held = np.array([option[0].memory_bytes for option in each])[chosen]
        at = np.arange(rows), kind
        load[at] += own_load[chosen]
        memory[at] += replicas * held
        most[at] = np.maximum(most[at], replicas)
        allowed &= (own_load[chosen] <= replicas) & (held <= np.array([each.memory_bytes for each in kinds])[kind])
        accuracy *= np.array([option[0].accuracy for option in each])[chosen]
        names.append(np.array([option[0].name for option in each])[chosen])
        least_s += np.array([_least_s(*option, kinds) for option in each])[chosen]
        watts = np.array([each.power.busy_w - each.power.idle_w for each in kinds])
        joules += watts[kind] * own_load[chosen] / demand.rate_per_s
    for variants, share in problem.measured_accuracy.items():
        accuracy[np.all([own == name for own, name in zip(names, variants, strict=True)], axis=0)] = share
    allowed &= (accuracy >= demand.least_accuracy) & (least_s <= demand.p99_s)
    candidates = []
    for devices in itertools.product(*(range(len(kind.devices) + 1) for kind in kinds)):
        count = np.array(devices)
        room = np.array([n * kind.memory_bytes if n else 0.0 for n, kind in zip(devices, kinds, strict=True)])
        fits = allowed & (load <= count).all(axis=1) & (most <= count).all(axis=1) & (memory <= room).all(axis=1)
        price = sum(n * kind.price_per_h for n, kind in zip(devices, kinds, strict=True))
        idle = sum(n * kind.power.idle_w for n, kind in zip(devices, kinds, strict=True)) / demand.rate_per_s
        for row in np.flatnonzero(fits).tolist():
            candidates.append((price if demand.objective is Objective.COST else idle + joules[row], row, devices))
    for value, row, devices in sorted(candidates):
        chosen = [each[i] for each, i in zip(options, index[row].tolist(), strict=True)]
        choices = tuple(Choice(variant.name, batch, kinds[kind].name, replicas) for variant, batch, kind, replicas in chosen)
        if evaluate.p99_s(Configuration(choices, devices)) <= demand.p99_s:
            return float(value)
    return math.inf


def _item_s(variant: Variant, batch: int, kind: int, _replicas: int, kinds: tuple[Kind, ...]) -> float:
    return min(s / size for (name, size), s in variant.seconds.items() if name == kinds[kind].name and size <= batch)


def _least_s(variant: Variant, batch: int, kind: int, _replicas: int, kinds: tuple[Kind, ...]) -> float:
    return min(s for (name, size), s in variant.seconds.items() if name == kinds[kind].name and size <= batch)
