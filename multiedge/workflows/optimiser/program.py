"""The choice for every step as an integer program, solved by HiGHS.

x[i, o] = 1 says that step i takes option o, and g[k, m] = 1 that at least m devices of kind k are in use, n[k] = sum_m g[k, m]:

    sum_o x[i, o] = 1                                                         (one option for each step)
    sum_i,o on k load[i, o] x[i, o] <= n[k]                                   (devices are not overloaded)
    sum_i,o on k memory[i, o] x[i, o] <= memory_k n[k]
    sum_o on k replicas[o] x[i, o] <= n[k]                                    (replicas of a step are on different devices)
    sum_i,o log(accuracy[i, o]) x[i, o] + sum_c lift[c] z[c] >= log(least accuracy)
    z[c] <= sum_o of c's variant x[i, o] for every step i                     (z[c] = 1 only for the combination c)
    sum_i on p sum_o seconds[i, o] x[i, o] + sum_e on p c[e] <= p99           for every way p through the workflow
    c[e] >= link(k, l) (x[i, on k] + x[j, on l] - 1)                          for edge e from step i to step j

where lift[c] is what the product of the accuracies lacks for a combination c of variants that was measured to be accurate
enough; combinations that were measured not to be are forbidden. The value sum_k value[k] n[k] + sum_i,o value[i, o] x[i, o] is
to be least. Where the seconds are the least ones, every configuration that meets the demand is an answer, so what the program
finds is a lower bound; IPA's own times are another table of the same rows. Of configurations with the least value, the one
whose estimated latency is the shortest comes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from multiedge.errors import InfeasibleError
from multiedge.plan import CALLER
from multiedge.profile import Floats
from multiedge.workflows.optimiser.configuration import (
    Choice,
    Configuration,
    choice_value,
    device_value,
    expected_seconds,
    least_seconds,
    load,
    memory_bytes,
    options,
)
from multiedge.workflows.optimiser.problem import Problem, Step

Amount = Callable[[Problem, Step, Choice], float]
"""What an option of a step adds to a row, such as the seconds of the step in those of the p99 bound."""
Term = tuple[int, float]
GREATEST = 1e3
"""The largest coefficient of the objective: HiGHS has absolute tolerances of 1e-6."""
LEVEL = 1e-9
"""Values that differ by less, relatively, are equal."""


def least_times(_problem: Problem, step: Step, choice: Choice) -> float:
    """Times without any wait."""
    return least_seconds(step, choice)


def _one(_problem: Problem, _step: Step, _choice: Choice) -> float:
    return 1.0


def _replicas(_problem: Problem, _step: Step, choice: Choice) -> float:
    return float(choice.replicas)


def _memory_share(problem: Problem, step: Step, choice: Choice) -> float:
    """The memory of all replicas, in that of one device."""
    room = problem.kind(choice.kind).memory_bytes
    return memory_bytes(step, choice) / room if 0 < room < math.inf else 0.0


def _log_accuracy(problem: Problem, step: Step, choice: Choice) -> float:
    return _log_of(problem, step, choice.variant)


def _log_of(problem: Problem, step: Step, variant: str) -> float:
    """A variant that is never right makes the product 0: far below every demand."""
    return math.log(max(step.variant(variant).accuracy, problem.demand.least_accuracy * 1e-9))


@dataclass(frozen=True)
class _Column:
    """An option of a step, by the step's position."""

    step: int
    choice: Choice


class Program:
    """The configurations of a problem that are not forbidden yet.

    Args:
        problem: What there is to choose from.
        times: The seconds of a step in the rows of the p99 bound.
        shares_devices: Whether steps may share devices; otherwise each replica has one of its own.

    Raises:
        InfeasibleError: If a step has no option.
    """

    def __init__(self, problem: Problem, times: Amount = least_times, *, shares_devices: bool = True) -> None:
        self._problem = problem
        self._columns = [_Column(i, choice) for i, step in enumerate(problem.steps) for choice in options(problem, step)]
        for index, step in enumerate(problem.steps):
            if not any(column.step == index for column in self._columns):
                raise InfeasibleError(
                    f"step '{step.name}': no variant fits any kind of device at {problem.demand.rate_per_s:g} items/s"
                )
        ends = np.cumsum([len(self._columns), *(len(kind.devices) for kind in problem.kinds)]).tolist()
        self._in_use = [range(start, stop) for start, stop in pairwise(ends)]
        self._links = ends[-1]
        self._accurate = self._links + len(problem.edges)
        least = problem.demand.least_accuracy
        known = {names: share >= least for names, share in problem.measured_accuracy.items()}
        self._lifted = [names for names, enough in known.items() if enough and problem.product_of(names) < least]
        self._refused = [names for names, enough in known.items() if not enough]
        self._latency = self._accurate + len(self._lifted)
        self._rows: list[Floats] = []
        self._low: list[float] = []
        self._high: list[float] = []
        self._add_choice_rows()
        self._add_device_rows(shares_devices)
        self._add_latency_rows(times)
        values = self._values()
        self._scale = GREATEST / float(np.abs(values).max(initial=0.0) or 1.0)
        self._value = values * self._scale

    def least_value(self, time_limit_s: float) -> tuple[float, Configuration | None]:
        """The least value of any configuration that is left, and one that has it.

        Returns:
            A lower bound of the value, inf if no configuration is left. The configuration is None then, and if the time was
            over before the bound was known to be reached.
        """
        answer = self._solve(self._value, time_limit_s)
        if answer.status == 2:
            return math.inf, None
        if answer.status == 0:
            return float(answer.fun) / self._scale, self._configuration(answer.x)
        return float(answer.mip_dual_bound or 0.0) / self._scale, None

    def best_at(self, value: float, time_limit_s: float) -> Configuration | None:
        """Of the configurations of at most this value, that with the shortest estimated latency; None if there is none."""
        aim = np.zeros(self._latency + 1)
        aim[self._latency] = 1.0
        self._add(enumerate(self._value.tolist()), high=value * self._scale + LEVEL * GREATEST)
        answer = self._solve(aim, time_limit_s)
        for rows in (self._rows, self._low, self._high):
            rows.pop()
        return None if answer.x is None else self._configuration(answer.x)

    def forbid_alone(self, configuration: Configuration) -> None:
        """Forbids one configuration; the same choices with other devices are others."""
        terms = [(self._columns.index(_Column(index, choice)), 1.0) for index, choice in enumerate(configuration.choices)]
        room = len(terms) - 1.0
        for own, count in zip(self._in_use, configuration.devices, strict=True):
            if count:
                terms.append((own[count - 1], 1.0))
                room += 1.0
            if count < len(own):
                terms.append((own[count], -1.0))
        self._add(terms, high=room)

    def forbid(self, configuration: Configuration, steps: Collection[int]) -> None:
        """Forbids what some steps of a configuration have, also with slower variants of these steps and with fewer devices."""
        problem, terms, kinds = self._problem, list[Term](), set[str]()
        for index in steps:
            choice = configuration.choices[index]
            kinds.add(choice.kind)
            terms += [(column, 1.0) for column in self._as_slow(index, choice)]
        for number, count in enumerate(configuration.devices):
            own = self._in_use[number]
            if count < len(own) and problem.kinds[number].name in kinds:
                terms.append((own[count], -float(len(steps))))  # with one device more the row does not bind
        self._add(terms, high=len(steps) - 1.0)

    def _as_slow(self, index: int, choice: Choice) -> Iterable[int]:
        """The options of a step that are at least as slow as a choice with every batch, and equal otherwise."""
        step, batches = self._problem.steps[index], self._problem.batches
        own = step.variant(choice.variant).seconds
        for number, column in enumerate(self._columns):
            other = column.choice
            if column.step != index or (other.batch, other.kind, other.replicas) != (
                choice.batch,
                choice.kind,
                choice.replicas,
            ):
                continue
            seconds = step.variant(other.variant).seconds
            sizes = [(choice.kind, size) for size in batches if size <= choice.batch and (choice.kind, size) in own]
            if all(seconds.get(each, -1.0) >= own[each] for each in sizes):
                yield number

    def _add(self, terms: Iterable[Term], low: float = -math.inf, high: float = math.inf) -> None:
        row = np.zeros(self._latency + 1)
        for column, value in terms:
            row[column] += value
        self._rows.append(row)
        self._low.append(low)
        self._high.append(high)

    def _terms(self, step: int, amount: Amount, kind: str = "") -> list[Term]:
        """What the options of a step, all or those on one kind, add to a row."""
        problem = self._problem
        return [
            (number, amount(problem, problem.steps[step], column.choice))
            for number, column in enumerate(self._columns)
            if column.step == step and kind in ("", column.choice.kind)
        ]

    def _all_terms(self, amount: Amount, kind: str = "") -> list[Term]:
        """The same of all steps together."""
        return [term for step in range(len(self._problem.steps)) for term in self._terms(step, amount, kind)]

    def _add_choice_rows(self) -> None:
        for index in range(len(self._problem.steps)):
            self._add(self._terms(index, _one), low=1.0, high=1.0)
        if self._problem.demand.least_accuracy > 0:
            self._add_accuracy_rows(math.log(self._problem.demand.least_accuracy))

    def _add_accuracy_rows(self, least: float) -> None:
        problem = self._problem
        lifts = []
        for column, names in enumerate(self._lifted, self._accurate):
            product = sum(_log_of(problem, step, name) for step, name in zip(problem.steps, names, strict=True))
            lifts.append((column, least - product))
            for index, name in enumerate(names):
                self._add([*self._variant_terms(index, name), (column, -1.0)], low=0.0)
        self._add([*self._all_terms(_log_accuracy), *lifts], low=least - LEVEL)
        for names in self._refused:
            taken = [term for index, name in enumerate(names) for term in self._variant_terms(index, name)]
            self._add(taken, high=len(names) - 1.0)

    def _variant_terms(self, step: int, variant: str) -> list[Term]:
        """The options of a step with this variant."""
        return [(number, 1.0) for number, _ in self._terms(step, _one) if self._columns[number].choice.variant == variant]

    def _add_device_rows(self, shares_devices: bool) -> None:
        problem = self._problem
        for number, kind in enumerate(problem.kinds):
            in_use = [(column, -1.0) for column in self._in_use[number]]
            for fewer, more in pairwise(self._in_use[number]):
                self._add([(fewer, 1.0), (more, -1.0)], low=0.0)
            self._add([*self._all_terms(load, kind.name), *in_use], high=0.0)
            self._add([*self._all_terms(_memory_share, kind.name), *in_use], high=0.0)
            for index in range(len(problem.steps)):
                self._add([*self._terms(index, _replicas, kind.name), *in_use], high=0.0)
            if not shares_devices:
                self._add([*self._all_terms(_replicas, kind.name), *in_use], high=0.0)

    def _add_latency_rows(self, times: Amount) -> None:
        problem, bound_s = self._problem, self._problem.demand.p99_s
        for number, edge in enumerate(problem.edges):
            if CALLER not in (edge.source, edge.target):
                self._add_link_rows(self._links + number, edge.source, edge.target, edge.nbytes)
        for way in problem.ways:
            hops = set(pairwise(way))
            links = [
                (self._links + number, 1.0) for number, edge in enumerate(problem.edges) if (edge.source, edge.target) in hops
            ]
            entry = [(n, problem.caller_s(way[0], self._columns[n].choice.kind)) for n, _ in self._terms(way[0], _one)]
            bound = [*entry, *links, *(term for index in way for term in self._terms(index, times))]
            expected = [*links, *(term for index in way for term in self._terms(index, expected_seconds))]
            self._add([(column, seconds / bound_s) for column, seconds in bound], high=1.0)
            self._add([*expected, (self._latency, -1.0)], high=0.0)

    def _add_link_rows(self, column: int, source: int, target: int, nbytes: int) -> None:
        for one in self._problem.kinds:
            for other in self._problem.kinds:
                seconds = self._problem.link_s(one.name, other.name, nbytes)
                if seconds > 0:
                    ends = [*self._terms(source, _one, one.name), *self._terms(target, _one, other.name)]
                    self._add([*((number, seconds) for number, _ in ends), (column, -1.0)], high=seconds)

    def _values(self) -> Floats:
        problem, values = self._problem, np.zeros(self._latency + 1)
        for number, column in enumerate(self._columns):
            values[number] = choice_value(problem, problem.steps[column.step], column.choice)
        for number, kind in enumerate(problem.kinds):
            values[self._in_use[number]] = device_value(problem, kind)
        return values

    def _solve(self, aim: Floats, time_limit_s: float) -> Any:
        from scipy.optimize import Bounds, LinearConstraint, milp

        high = np.full(self._latency + 1, np.inf)
        high[: self._links] = 1.0
        integral = np.zeros(self._latency + 1)
        integral[: self._links] = 1
        return milp(
            aim,
            integrality=integral,
            bounds=Bounds(0.0, high),
            constraints=LinearConstraint(np.array(self._rows), self._low, self._high),
            options={"time_limit": max(time_limit_s, 0.01), "mip_rel_gap": 0.0},
        )

    def _configuration(self, x: Floats) -> Configuration:
        taken = [column for column, share in zip(self._columns, x, strict=False) if share > 0.5]
        devices = [round(float(x[own].sum())) for own in self._in_use]
        return Configuration(tuple(column.choice for column in taken), tuple(devices))
