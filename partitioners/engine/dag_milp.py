"""One device order of a graph as a mixed-integer program, solved by HiGHS.

For stages s = 0 ... k-1 on given devices, y[v, s] = 1 says that group v is in stage s or an earlier one, so

    y[v, s] >= y[v, s-1]                  x[v, s] = y[v, s] - y[v, s-1]                        (in exactly one stage)
    y[u, s] >= y[v, s]                    for every edge u -> v                                (the order is kept)
    sum_v seconds[v, s] x[v, s] + overhead_s used_s <= T,   used_s >= x[v, s]
    sum_i span_s[i] z[i] + overhead_s used_s <= T,          x[v, s] = sum of z[i] over the spans i that hold v, sum_i z[i] <= 1
    c[m, s, t] >= x[source, s] + x[reader, t] - 1           message m goes from stage s to t once
    sum_m nbytes_m c[m, s, t] / bytes_per_s(s, t) <= T      for each link, the caller's included
    runtime_s used_s + parameters + buffers + largest live set of one node <= memory_s

and T is to be small. The row with spans z is for devices whose times do not add up, in place of that with seconds. The last row
leaves out what other live tensors a node meets; a placement that breaks a memory limit all the same is forbidden by a row of
its own, and the program solved again, so what is returned is exact. Given that T must be below a cut-off, groups are first
fixed by what their ancestors and descendants weigh.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multiedge.plan import CALLER
from multiedge.planning.memory import BUFFERED_ITEMS
from multiedge.profile import Floats
from partitioners.engine.dag import Dag
from partitioners.engine.dag_search import Order, Placement
from partitioners.engine.load_bound import speed_weights

if TYPE_CHECKING:
    from scipy.optimize import LinearConstraint

Term = tuple[int, float]


@dataclass(frozen=True)
class Span:
    """Groups that are consecutive nodes together, and the time of all of them on a device."""

    groups: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class Machine:
    """What the program must know of the fleet, by device index; CALLER is the place of the one who feeds items.

    `per_byte_s[(a, b)]` is the seconds that a byte keeps the link busy. `parameters` lists (bytes, reading groups).
    """

    overhead_s: tuple[float, ...]
    runtime_bytes: tuple[int, ...]
    memory_bytes: tuple[int | None, ...]
    per_byte_s: dict[tuple[int, int], float]
    source: int | None
    parameters: tuple[tuple[int, tuple[int, ...]], ...]
    working_bytes: tuple[int, ...]
    """By group: bytes that its largest node reads and writes."""
    spans: tuple[tuple[Span, ...] | None, ...]
    """By device: what it can hold, where times do not add up over groups; None where they do, or a bound is enough."""


@dataclass(frozen=True)
class Answer:
    """`lower_bound_s` holds for the device order; `placement` is None if none better than the cut-off was found."""

    lower_bound_s: float
    placement: Placement | None


@dataclass
class _Rows:
    """A sparse matrix in the making: rows with bounds."""

    columns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def add(self, terms: Iterable[Term], low: float = -np.inf, high: float = np.inf) -> None:
        for column, value in terms:
            self.columns.append(column)
            self.values.append(value)
        self.starts.append(len(self.columns))
        self.low.append(low)
        self.high.append(high)

    def constraint(self, width: int) -> LinearConstraint:
        from scipy.optimize import LinearConstraint
        from scipy.sparse import csr_matrix

        matrix = csr_matrix((self.values, self.columns, self.starts), shape=(len(self.low), width))
        matrix.sum_duplicates()
        return LinearConstraint(matrix, self.low, self.high)


class OrderProgram:
    """The program for one order of devices and a cut-off on T; times are scaled by the cut-off."""

    def __init__(self, dag: Dag, machine: Machine, order: Order, cutoff_s: float) -> None:
        self._dag, self._machine, self._order, self._cutoff_s = dag, machine, order, cutoff_s
        self._stages = len(order)
        self._rows = _Rows()
        self._width = len(dag) * self._stages
        self._low = np.zeros(self._width)
        self._high = np.ones(self._width)
        self._fix()
        self.hopeless = bool((self._low > self._high).any())
        if not self.hopeless:
            self._bottleneck = self._column()
            self._used = [self._column() for _ in order]
            self._add_order_rows()
            self._add_load_rows()
            self._add_flow_rows()

    def solve(self, time_limit_s: float, gap: float) -> Answer:
        """The best placement of this order below the cut-off, and what none can beat (the cut-off if there is none)."""
        if self.hopeless or time_limit_s <= 0:
            return Answer(self._cutoff_s if self.hopeless else 0.0, None)
        from scipy.optimize import Bounds, milp

        aim = np.zeros(self._width)
        aim[self._bottleneck] = 1.0
        integral = np.zeros(self._width)
        integral[: len(self._dag) * self._stages] = 1
        bounds = Bounds(self._padded(self._low, 0.0), self._padded(self._high, 1.0))
        found = milp(
            aim,
            integrality=integral,
            bounds=bounds,
            constraints=self._rows.constraint(self._width),
            options={"time_limit": max(time_limit_s, 0.01), "mip_rel_gap": gap},
        )
        if found.status == 2:
            return Answer(self._cutoff_s, None)
        bound = found.mip_dual_bound if found.mip_dual_bound is not None else 0.0
        placement = None if found.x is None else self._placement(found.x)
        return Answer(max(0.0, min(bound, 1.0)) * self._cutoff_s, placement)

    def forbid(self, placement: Placement, stage_groups: Sequence[int] | None = None) -> None:
        """Rules out one placement, or every one in which just these groups share their stage."""
        groups = range(len(self._dag)) if stage_groups is None else stage_groups
        inside, terms, count = set(groups), [], 0
        stage_of = {device: stage for stage, device in enumerate(self._order)}
        stage = stage_of[placement[next(iter(inside))]]
        for group in range(len(self._dag)):
            if stage_groups is None:
                terms += self._in(group, stage_of[placement[group]])
                count += 1
            elif group in inside:
                terms += self._in(group, stage)
                count += 1
            else:
                terms += [(column, -value) for column, value in self._in(group, stage)]
        self._rows.add(terms, high=count - 1)

    def _column(self) -> int:
        self._width += 1
        return self._width - 1

    def _padded(self, known: Floats, rest: float) -> Floats:
        return np.concatenate([known, np.full(self._width - len(known), rest)])

    def _y(self, group: int, stage: int) -> int:
        return group * self._stages + stage

    def _in(self, group: int, stage: int) -> list[Term]:
        """x[group, stage] as terms."""
        own = (self._y(group, stage), 1.0)
        return [own] if stage == 0 else [own, (self._y(group, stage - 1), -1.0)]

    def _fix(self) -> None:
        """Fixes y where the cut-off leaves no choice: what must come before a group takes some stages' whole time."""
        seconds, width = self._dag.seconds[:, list(self._order)], self._stages
        weights = speed_weights(seconds.sum(axis=0))
        room = self._cutoff_s * (1 + 1e-6)
        ancestors = self._dag.ancestors
        descendants = ancestors.T
        self._low[self._y(0, width - 1) :: width] = 1.0
        for stage in range(width - 1):
            head, tail = weights[: stage + 1], weights[stage + 1 :]
            before = (seconds[:, : stage + 1] * head).min(axis=1) / head.sum()
            after = (seconds[:, stage + 1 :] * tail).min(axis=1) / tail.sum()
            self._high[stage::width][ancestors @ before > room] = 0.0
            self._low[stage::width][descendants @ after > room] = 1.0

    def _add_order_rows(self) -> None:
        for group in range(len(self._dag)):
            for stage in range(1, self._stages):
                self._rows.add(self._in(group, stage), low=0.0)
        for before, after in self._dag.edges:
            for stage in range(self._stages - 1):
                if self._low[self._y(before, stage)] < 1 and self._high[self._y(after, stage)] > 0:
                    self._rows.add([(self._y(before, stage), 1.0), (self._y(after, stage), -1.0)], low=0.0)

    def _add_load_rows(self) -> None:
        for stage, device in enumerate(self._order):
            overhead = self._machine.overhead_s[device] / self._cutoff_s
            spans = self._machine.spans[device]
            terms = self._seconds_of_groups(stage) if spans is None else self._seconds_of_spans(stage, spans)
            terms += [(self._used[stage], overhead), (self._bottleneck, -1.0)]
            self._rows.add(terms, high=0.0)
            if overhead or self._limited(stage):
                for group in range(len(self._dag)):
                    self._rows.add([(self._used[stage], 1.0), *_negated(self._in(group, stage))], low=0.0)

    def _seconds_of_groups(self, stage: int) -> list[Term]:
        return [
            (column, sign * float(self._dag.seconds[group, self._order[stage]]) / self._cutoff_s)
            for group in range(len(self._dag))
            for column, sign in self._in(group, stage)
        ]

    def _seconds_of_spans(self, stage: int, spans: Sequence[Span]) -> list[Term]:
        """The time of the span that the stage is; since x is 0 or 1, all z that are not 0 stand for the same groups."""
        columns = [self._column() for _ in spans]
        holding: list[list[Term]] = [[] for _ in range(len(self._dag))]
        for column, span in zip(columns, spans, strict=True):
            for group in span.groups:
                holding[group].append((column, -1.0))
        for group, terms in enumerate(holding):
            self._rows.add([*self._in(group, stage), *terms], low=0.0, high=0.0)
        self._rows.add([(column, 1.0) for column in columns], high=1.0)
        return [(column, span.seconds / self._cutoff_s) for column, span in zip(columns, spans, strict=True)]

    def _limited(self, stage: int) -> bool:
        return self._machine.memory_bytes[self._order[stage]] is not None

    def _add_flow_rows(self) -> None:
        """Links and memory, which share the columns that say which message goes where."""
        links: dict[tuple[int, int], list[Term]] = {}
        buffers: list[list[Term]] = [[] for _ in self._order]
        for message in self._dag.messages:
            for source, target, terms in self._moves(message.source, message.readers, message.returned):
                ends = self._place(source), self._place(target)
                per_byte = self._machine.per_byte_s.get(ends, 0.0)
                counted = [stage for stage in (source, target) if stage != CALLER and self._limited(stage)]
                if not message.nbytes or (not per_byte and not counted):
                    continue
                column = self._column()
                for needed, slack in terms:
                    self._rows.add([(column, 1.0), *_negated(needed)], low=-slack)
                links.setdefault(ends, []).append((column, message.nbytes * per_byte / self._cutoff_s))
                for stage in counted:
                    buffers[stage].append((column, float(message.nbytes)))
        for link in links.values():
            self._rows.add([*link, (self._bottleneck, -1.0)], high=0.0)
        for stage, device in enumerate(self._order):
            limit = self._machine.memory_bytes[device]
            if limit is not None:
                self._add_memory_row(stage, limit, buffers[stage])

    def _place(self, stage: int) -> int:
        """The device of a stage; the caller may sit on one."""
        if stage == CALLER:
            return CALLER if self._machine.source is None else self._machine.source
        return self._order[stage]

    def _moves(
        self, source: int, readers: tuple[int, ...], returned: bool
    ) -> list[tuple[int, int, list[tuple[list[Term], float]]]]:
        """(from stage, to stage, [(terms, slack)]): the message moves if some terms exceed their slack."""
        stages = range(self._stages)
        if source == CALLER:
            return [(CALLER, t, [(self._in(reader, t), 0.0) for reader in readers]) for t in stages]
        found = [
            (s, t, [([*self._in(source, s), *self._in(reader, t)], 1.0) for reader in readers])
            for s in stages
            for t in range(s + 1, self._stages)
            if readers and self._high[self._y(source, s)] > 0
        ]
        return found + ([(s, CALLER, [(self._in(source, s), 0.0)]) for s in stages] if returned else [])

    def _add_memory_row(self, stage: int, limit: int, buffers: list[Term]) -> None:
        device = self._order[stage]
        scale = 1.0 / max(limit, 1)
        peak = self._column()
        terms = [(self._used[stage], self._machine.runtime_bytes[device] * scale), (peak, 1.0)]
        terms += [(column, BUFFERED_ITEMS * nbytes * scale) for column, nbytes in buffers]
        for nbytes, readers in self._machine.parameters:
            held = self._column()
            terms.append((held, nbytes * scale))
            for reader in readers:
                self._rows.add([(held, 1.0), *_negated(self._in(reader, stage))], low=0.0)
        for group, nbytes in enumerate(self._machine.working_bytes):
            if nbytes:
                self._rows.add([(peak, 1.0), *((c, -v * nbytes * scale) for c, v in self._in(group, stage))], low=0.0)
        self._rows.add(terms, high=limit * scale)

    def _placement(self, values: Floats) -> Placement:
        y = values[: len(self._dag) * self._stages].reshape(len(self._dag), self._stages) > 0.5
        return tuple(self._order[int(np.argmax(row))] for row in y)


def _negated(terms: Iterable[Term]) -> list[Term]:
    return [(column, -value) for column, value in terms]
