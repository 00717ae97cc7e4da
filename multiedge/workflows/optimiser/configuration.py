"""One choice for each step, and what can be said of it without simulating: cost, energy, accuracy, load, least latency."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from multiedge.workflows.optimiser.problem import MOST_REPLICAS, Kind, Objective, Problem, Step

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, order=True)
class Choice:
    """What a step is run with: a variant, the most items in a run, and replicas, each on a device of its own of one kind."""

    variant: str
    batch: int
    kind: str
    replicas: int


@dataclass(frozen=True)
class Configuration:
    """A choice for each step, and how many devices of each kind are in use. Steps share devices."""

    choices: tuple[Choice, ...]
    devices: tuple[int, ...]


def options(problem: Problem, step: Step) -> Iterator[Choice]:
    """Every choice of one step that its own load and memory permit."""
    for variant in step.variants:
        for kind in problem.kinds:
            if variant.memory_bytes > kind.memory_bytes:
                continue
            for batch in problem.batches:
                if (kind.name, batch) in variant.seconds:
                    for replicas in range(1, min(len(kind.devices), MOST_REPLICAS) + 1):
                        choice = Choice(variant.name, batch, kind.name, replicas)
                        if load(problem, step, choice) <= replicas:
                            yield choice


def load(problem: Problem, step: Step, choice: Choice) -> float:
    """The devices that all replicas of a step keep busy together, with runs of the best size up to its batch."""
    each_s = step.variant(choice.variant).seconds_per_item(choice.kind, choice.batch)
    return problem.demand.rate_per_s * step.rate * each_s


def memory_bytes(step: Step, choice: Choice) -> int:
    """What all replicas of a step take together."""
    return choice.replicas * step.variant(choice.variant).memory_bytes


def least_seconds(step: Step, choice: Choice) -> float:
    """The least time that an item spends in a step: its run, without any wait."""
    return step.least_work * step.variant(choice.variant).least_seconds(choice.kind, choice.batch)


def wait_s(problem: Problem, step: Step, choice: Choice) -> float:
    """How long an item waits at most until its batch is full."""
    if choice.batch == 1:
        return 0.0
    if step.timeout_s is not None:
        return step.timeout_s
    passing = min(step.rate, 1.0)  # a batch counts items, however much work each has
    return (choice.batch - 1) * choice.replicas / (problem.demand.rate_per_s * passing)


def expected_seconds(problem: Problem, step: Step, choice: Choice) -> float:
    """About how long an item spends in a step: until its batch is full, in the queue of a replica that no other step uses, and
    in its run. It only says what is to be tried first."""
    run_s = step.variant(choice.variant).seconds[choice.kind, choice.batch]
    busy = min(load(problem, step, choice) / choice.replicas, 0.99)
    return wait_s(problem, step, choice) + run_s * (1 + busy / (2 * (1 - busy)))


def accuracy(problem: Problem, configuration: Configuration) -> float:
    """The accuracy of the workflow with the chosen variants."""
    return problem.accuracy_of([choice.variant for choice in configuration.choices])


def least_latency_s(problem: Problem, configuration: Configuration) -> float:
    """What no p99 latency is below: the longest way through steps and links, without any wait."""
    return max(_way_s(problem, configuration, way) for way in problem.ways)


def _way_s(problem: Problem, configuration: Configuration, way: tuple[int, ...]) -> float:
    chosen = configuration.choices
    seconds = sum(least_seconds(problem.steps[step], chosen[step]) for step in way)
    seconds += problem.caller_s(way[0], chosen[way[0]].kind)
    for edge in problem.edges:
        if (edge.source, edge.target) in pairwise(way):
            seconds += problem.link_s(chosen[edge.source].kind, chosen[edge.target].kind, edge.nbytes)
    return seconds


def value(problem: Problem, configuration: Configuration) -> float:
    """What is to be least: the price of the devices in use for an hour, or joules per item."""
    in_use = zip(problem.kinds, configuration.devices, strict=True)
    fixed = sum(count * device_value(problem, kind) for kind, count in in_use)
    pairs = zip(problem.steps, configuration.choices, strict=True)
    return fixed + sum(choice_value(problem, step, choice) for step, choice in pairs)


def device_value(problem: Problem, kind: Kind) -> float:
    """What a device in use adds: its price, or what it draws while it waits from one item to the next."""
    if problem.demand.objective is Objective.COST:
        return kind.price_per_h
    return (kind.power.idle_w if kind.power else math.inf) / problem.demand.rate_per_s


def choice_value(problem: Problem, step: Step, choice: Choice) -> float:
    """What a choice adds to that of the devices: the energy of computing an item."""
    power = problem.kind(choice.kind).power
    if problem.demand.objective is Objective.COST or power is None:
        return 0.0
    return (power.busy_w - power.idle_w) * load(problem, step, choice) / problem.demand.rate_per_s


def is_possible(problem: Problem, configuration: Configuration) -> bool:
    """Whether a configuration keeps what does not need the simulator: accuracy, load, memory, replicas and least latency."""
    if accuracy(problem, configuration) < problem.demand.least_accuracy:
        return False
    if least_latency_s(problem, configuration) > problem.demand.p99_s:
        return False
    pairs = list(zip(problem.steps, configuration.choices, strict=True))
    for kind, count in zip(problem.kinds, configuration.devices, strict=True):
        own = [(step, choice) for step, choice in pairs if choice.kind == kind.name]
        if count > len(kind.devices) or any(choice.replicas > count for _, choice in own):
            return False
        if sum(load(problem, *each) for each in own) > count:
            return False
        if sum(memory_bytes(*each) for each in own) > count * kind.memory_bytes:
            return False
    return all(choice in options(problem, step) for step, choice in pairs)
