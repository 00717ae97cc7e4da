"""The cheapest configuration that passes the simulator.

The integer program leaves out queues and waits, so what it finds costs at most as much as any configuration that meets the
demand. Its answers are simulated in ascending order of their value, and of one that fails, as few steps as fail even if all
others take no time are forbidden together (a combinatorial Benders cut: Codato and Fischetti, 2006). The first answer that
passes is therefore the best there is, and where the search ends earlier, the program's last value is the lower bound of the
gap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

from multiedge.errors import InfeasibleError
from multiedge.workflows.optimiser.configuration import Configuration, accuracy, is_possible, load, value
from multiedge.workflows.optimiser.problem import Objective, Problem
from multiedge.workflows.optimiser.program import Program

MARGIN = 0.02
"""By so much of the bound on latency must a part of a configuration fail before it is forbidden in every configuration."""
Progress = Callable[[str, float], None]


class Evaluate(Protocol):
    """What says how long items take."""

    def p99_s(self, configuration: Configuration) -> float:
        """The p99 latency in seconds; inf if it cannot be placed or does not answer every item."""
        ...

    def least_p99_s(self, configuration: Configuration, steps: Collection[int]) -> float:
        """What the p99 latency of no configuration is below that has the same choices for these steps, slower variants of them,
        or fewer devices, whatever it has for the others."""
        ...


@dataclass(frozen=True)
class Judged:
    """A configuration with its value, its accuracy and its simulated p99 latency in seconds."""

    configuration: Configuration
    value: float
    accuracy: float
    p99_s: float


@dataclass(frozen=True)
class Budget:
    """How many configurations are simulated at most, and for how long the search goes on."""

    simulations: int = 400
    seconds: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """What the search found.

    Attributes:
        best: The best configuration that passed.
        lower_bound: No configuration that meets the demand is below this value.
        simulated: Simulated runs.
        solve_s: Seconds of the whole search.
    """

    best: Judged
    lower_bound: float
    simulated: int
    solve_s: float

    @property
    def gap(self) -> float:
        """How far the value may be from the least one, as a share of it; 0 if it is proven to be the least."""
        return max(0.0, 1 - self.lower_bound / self.best.value) if self.best.value > 0 else 0.0


def judge(problem: Problem, configuration: Configuration, evaluate: Evaluate) -> Judged:
    """A configuration with all that is asked of it."""
    p99_s = evaluate.p99_s(configuration)
    return Judged(configuration, value(problem, configuration), accuracy(problem, configuration), p99_s)


def meets(problem: Problem, judged: Judged) -> bool:
    """Whether a configuration meets the demand."""
    return judged.p99_s <= problem.demand.p99_s and is_possible(problem, judged.configuration)


def optimise(
    problem: Problem,
    evaluate: Evaluate,
    *,
    known: Iterable[Judged] = (),
    budget: Budget = Budget(),
    progress: Progress = lambda step, share: None,
) -> Outcome:
    """The configuration of least value that meets the demand.

    Args:
        problem: What there is to choose from, and what is demanded.
        evaluate: What says how long items take.
        known: Configurations that were judged already, such as those of heuristics.
        budget: When the search ends.
        progress: Called with what is done, and the share of the budget that is spent.

    Returns:
        The Outcome. Its bound holds if runs that take longer make no item earlier.

    Raises:
        InfeasibleError: If no configuration meets the demand, or none was found within the budget.
    """
    search = _Search(problem, evaluate, budget, progress)
    best = min((each for each in known if meets(problem, each)), key=lambda each: each.value, default=None)
    found = search.run(math.inf if best is None else best.value)
    best = found or best
    if best is None:
        raise InfeasibleError(_failure(problem, search.simulated, is_proven=math.isinf(search.bound)))
    return Outcome(best, min(search.bound, best.value), search.simulated, perf_counter() - search.start_s)


class _Search:
    """The search while it goes on: the program with what is forbidden, the lower bound, and what was spent of the budget."""

    def __init__(self, problem: Problem, evaluate: Evaluate, budget: Budget, progress: Progress) -> None:
        self._problem, self._evaluate, self._budget, self._progress = problem, evaluate, budget, progress
        self._program = Program(problem)
        self.start_s = perf_counter()
        self.simulated, self.bound = 0, 0.0

    def run(self, below: float) -> Judged | None:
        """The best configuration whose value is at most `below`, that of one that is known; None if there is no better one, or
        if the budget is spent. Of those as good as the known one only the first is tried."""
        is_level_known = False
        while self.simulated < self._budget.simulations and self._left_s > 0:
            candidate = self._program.best_at(self.bound, self._left_s) if is_level_known else None
            if candidate is None:
                least, candidate = self._program.least_value(self._left_s)
                self.bound = max(self.bound, least)
                if candidate is None or self.bound > below:
                    return None
                is_level_known = self._problem.demand.objective is Objective.COST
                if is_level_known:
                    candidate = self._program.best_at(self.bound, self._left_s) or candidate
            judged = self._judged(candidate)
            if judged is not None or self.bound >= below:
                return judged
        return None

    @property
    def _left_s(self) -> float:
        return self._budget.seconds - (perf_counter() - self.start_s)

    def _judged(self, candidate: Configuration) -> Judged | None:
        """The candidate if it meets the demand; otherwise it is forbidden."""
        problem = self._problem
        if not is_possible(problem, candidate):  # by less than the tolerance of the program
            self._program.forbid_alone(candidate)
            return None
        judged = judge(problem, candidate, self._evaluate)
        self._count()
        if meets(problem, judged):
            return judged
        reason = self._reason(candidate)
        if reason is None:
            self._program.forbid_alone(candidate)
        else:
            self._program.forbid(*reason)
        return None

    def _reason(self, failing: Configuration) -> tuple[Configuration, list[int]] | None:
        """As few steps as suffice to fail, with as many devices as there are if they fail with them as well; None if it is not
        known that others fail, too."""
        steps = list(range(len(self._problem.steps)))
        if not self._fails(failing, steps):
            return None
        most = replace(failing, devices=tuple(len(kind.devices) for kind in self._problem.kinds))
        if most != failing and self._fails(most, steps):
            failing = most
        loads = [load(self._problem, *each) for each in zip(self._problem.steps, failing.choices, strict=True)]
        for step in sorted(steps, key=loads.__getitem__):
            fewer = [each for each in steps if each != step]
            if fewer and self._fails(failing, fewer):
                steps = fewer
        return failing, steps

    def _fails(self, configuration: Configuration, steps: Collection[int]) -> bool:
        self._count()
        return self._evaluate.least_p99_s(configuration, steps) > (1 + MARGIN) * self._problem.demand.p99_s

    def _count(self) -> None:
        self.simulated += 1
        self._progress(f"{self.simulated} simulated runs", min(1.0, self.simulated / self._budget.simulations))


def _failure(problem: Problem, simulated: int, *, is_proven: bool) -> str:
    demand = problem.demand
    asked = f"a p99 latency of {demand.p99_s * 1e3:g} ms at {demand.rate_per_s:g} items/s"
    if demand.least_accuracy:
        asked += f" and an accuracy of {demand.least_accuracy:g}"
    if is_proven:
        return f"no configuration keeps {asked} ({simulated} were simulated); permit more, or add devices"
    return f"no configuration that keeps {asked} was found by {simulated} simulations; permit more of them, or more latency"
