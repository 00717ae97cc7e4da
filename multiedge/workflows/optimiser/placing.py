"""The replicas of a configuration on the devices of their kinds."""

from __future__ import annotations

from collections.abc import Collection

from multiedge.workflows.optimiser.configuration import Configuration, load
from multiedge.workflows.optimiser.problem import Kind, Problem


def placed(problem: Problem, configuration: Configuration, steps: Collection[int]) -> tuple[tuple[str, ...], ...] | None:
    """The devices of each step, in the order of the steps.

    Steps of a kind are placed by the load of a replica, largest first, each replica on the least loaded device that has room
    for it and not yet a replica of the same step (Graham's rule for the longest jobs).

    Args:
        problem: What there is to choose from.
        configuration: A choice for each step.
        steps: Those that take load and memory.

    Returns:
        Names of devices by step; None if memory does not permit it.
    """
    devices: list[tuple[str, ...]] = [()] * len(problem.steps)
    for kind, count in zip(problem.kinds, configuration.devices, strict=True):
        own = [index for index, choice in enumerate(configuration.choices) if choice.kind == kind.name]
        share = {index: load(problem, problem.steps[index], configuration.choices[index]) * (index in steps) for index in own}
        busy, held = dict.fromkeys(kind.devices[:count], 0.0), dict.fromkeys(kind.devices[:count], 0.0)
        for index in sorted(own, key=lambda index: (-share[index] / configuration.choices[index].replicas, index)):
            choice = configuration.choices[index]
            nbytes = problem.steps[index].variant(choice.variant).memory_bytes * (index in steps)
            roomy = [name for name in busy if held[name] + nbytes <= kind.memory_bytes]
            taken = sorted(roomy, key=lambda name: busy[name])[: choice.replicas]
            if len(taken) < choice.replicas:
                return None
            for name in taken:
                busy[name] += share[index] / choice.replicas
                held[name] += nbytes
            devices[index] = tuple(sorted(taken, key=kind.devices.index))
    return tuple(devices)


def most_in_use(problem: Problem, configuration: Configuration) -> tuple[int, ...]:
    """How many devices of each kind are in use where each replica has one of its own, as far as there are so many."""

    def wanted(kind: Kind) -> int:
        return sum(choice.replicas for choice in configuration.choices if choice.kind == kind.name)

    return tuple(min(len(kind.devices), wanted(kind)) for kind in problem.kinds)
