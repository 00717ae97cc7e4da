"""Dynamic programmes over contiguous plans: which boundaries can be reached, and at what least price.

A state is a vector c with c[g] devices of group g in use; `table[w][c, p]` stands for the devices of c having done
the first p nodes and handed boundary p to a stage that runs in way w. From there, a stage [p, q) in way w leads to
state c + replicas(w) at group(w), and its hand-over to way x at q is priced or forbidden by q, w and x alone.

It is not enough to keep the farthest p of each entry, as is often done: a nearer boundary may carry fewer bytes, so that
the next stage fits its memory, or ends where its link can carry what must cross. `table` therefore keeps every boundary;
nothing is lost, and each step is a few array operations for all states of equal size and all boundaries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from multiedge.profile import Bools, Ints
from partitioners.engine.chain import Chain, Placed
from partitioners.engine.windows import Windows, starts_within

SLACK = 1.0 + 1e-12
"""Limits are taken this much wider, so that a value computed as a sum and as a difference counts as the same."""


@dataclass(frozen=True)
class Found:
    """A path, its bottleneck and the largest value below which none can be."""

    path: list[Placed]
    seconds: float
    lower_bound_s: float


@dataclass(frozen=True, eq=False)
class States:
    """The vectors of devices in use, by index: mixed-radix numbers with one digit per group."""

    chain: Chain

    @cached_property
    def sizes(self) -> Ints:
        return np.array([len(group) for group in self.chain.groups])

    @cached_property
    def strides(self) -> Ints:
        return np.concatenate([[1], np.cumprod(self.sizes[:-1] + 1)]).astype(np.int64)

    @cached_property
    def counts(self) -> Ints:
        """Devices in use, (states, groups)."""
        number = int(np.prod(self.sizes + 1))
        return np.asarray((np.arange(number)[:, None] // self.strides) % (self.sizes + 1))

    @cached_property
    def levels(self) -> tuple[Ints, ...]:
        """Indices of the states with 0, 1, 2, ... devices in use."""
        total = self.counts.sum(axis=1)
        return tuple(np.nonzero(total == level)[0] for level in range(int(total.max()) + 1))

    @cached_property
    def room(self) -> Bools:
        """Whether enough devices are free to run one more stage, (ways, states)."""
        return np.array([self.counts[:, way.group] + way.replicas <= self.sizes[way.group] for way in self.chain.ways])

    def after(self, states: Ints, way: int) -> Ints:
        """The states once a stage runs in `way` as well."""
        return np.asarray(states + self.chain.ways[way].replicas * self.strides[self.chain.ways[way].group])


@dataclass(frozen=True, eq=False)
class Limit:
    """What a bottleneck of at most `seconds` forbids: starts too far from an end, and hand-overs too large for a link."""

    chain: Chain
    seconds: float
    _windows: dict[tuple[int, bool], Windows] = field(default_factory=dict, repr=False)

    @cached_property
    def enters(self) -> Bools:
        """Whether the caller's items reach each way in time, (ways,)."""
        return np.asarray(self.chain.enter_per_byte_s * self.chain.cut[0] <= self.seconds * SLACK)

    @cached_property
    def hands_over(self) -> Bools:
        """Whether boundary q can be sent in time, (ways, ways, n + 1)."""
        most = min(self.seconds * SLACK, np.finfo(np.float64).max)  # inf stands for no link
        return np.asarray(self.chain.hand_over_s <= most)

    def windows(self, way: int, *, to_source: bool = False) -> Windows:
        """Allowed starts of stages in `way`; `to_source` if they hand over to the place that results go to as well,
        since both then share one link."""
        if (way, to_source) not in self._windows:
            self._windows[way, to_source] = self._windows_of(way, to_source)
        return self._windows[way, to_source]

    def _windows_of(self, way: int, to_source: bool) -> Windows:
        chain, kind = self.chain, self.chain.ways[way]
        most = self.seconds * SLACK
        if not np.isfinite(most):
            return chain.windows[kind.group]
        own = most * kind.replicas - float(chain.overhead_s[kind.group])
        windows, earliest = starts_within(chain.times[kind.group], chain.windows[kind.group], own)
        if chain.leave_per_byte_s[way] > 0:
            sent = chain.results + chain.cut if to_source else chain.results
            by_link = np.searchsorted(chain.results, sent - most / chain.leave_per_byte_s[way], side="left")
            earliest = np.maximum(earliest, by_link)
        return windows.not_before(earliest)


def reachable(chain: Chain, states: States, seconds: float) -> list[Placed] | None:
    """A contiguous plan with a bottleneck of at most `seconds` on as few devices as possible; None if there is none."""
    limit = Limit(chain, seconds)
    if not _enough_time(limit, states):
        return None
    table = np.zeros((len(chain.ways), len(states.counts), len(chain) + 1), dtype=np.bool_)
    table[:, 0, 0] = limit.enters & states.room[:, 0]
    for level in states.levels:
        for way in range(len(chain.ways)):
            rows = level[states.room[way, level]]
            begins = table[way, rows]
            used = begins.any(axis=1)
            if not used.any():
                continue
            rows, begins = rows[used], begins[used]
            ends = _any_start(begins, limit.windows(way))
            if ends[:, -1].any():
                return _trace_reachable(chain, states, limit, table, int(rows[ends[:, -1].argmax()]), way)
            after = states.after(rows, way)
            for following in range(len(chain.ways)):
                free = states.room[following, after]
                if not free.any():
                    continue
                handed = ends
                if _shares_link(chain, following):
                    handed = _any_start(begins, limit.windows(way, to_source=True))
                table[following, after[free]] |= handed[free] & limit.hands_over[way, following]
    return None


def _enough_time(limit: Limit, states: States) -> bool:
    """Whether the devices could compute all nodes within the limit if memory and links had none: false refutes every plan.

    Then only the farthest boundary of each state matters, so that this costs a fraction of the full table.
    """
    chain, most = limit.chain, limit.seconds * SLACK
    if not np.isfinite(most):
        return True
    needed = [chain.seconds[way.group] + chain.overhead_s[way.group] - most * way.replicas for way in chain.ways]
    farthest = np.zeros(len(states.counts), dtype=np.int64)
    for level in states.levels:
        for way, kind in enumerate(chain.ways):
            rows = level[states.room[way, level]]
            begin = chain.seconds[kind.group][farthest[rows]]
            end = np.searchsorted(needed[way], begin, side="right") - 1
            after = states.after(rows, way)
            farthest[after] = np.maximum(farthest[after], end)
    return bool(farthest.max() == len(chain))


def _shares_link(chain: Chain, following: int) -> bool:
    """Whether a hand-over goes the way that early results of the same stage go."""
    return chain.early_results and chain.ways[following].group == chain.source


def _any_start(begins: Bools, windows: Windows) -> Bools:
    """For each row of boundaries that can begin a stage, (rows, n + 1), those that can end it."""
    kind = np.int16 if begins.shape[1] < 32_000 else np.int32
    if windows.earliest is not None:
        latest = np.where(begins, np.arange(begins.shape[1], dtype=kind), kind(-1))
        np.maximum.accumulate(latest, axis=1, out=latest)
        reached = np.zeros(begins.shape, dtype=np.bool_)
        np.greater_equal(latest[:, :-1], windows.earliest[1:].astype(kind), out=reached[:, 1:])
        return reached
    before = np.zeros((begins.shape[0], begins.shape[1] + 1), dtype=kind)
    np.cumsum(begins, axis=1, out=before[:, 1:])
    ends = np.zeros(begins.shape, dtype=np.bool_)
    for start, stop in zip(windows.starts, windows.stops, strict=True):
        held = np.nonzero(stop > start)[0]
        ends[:, held] |= before[:, stop[held]] > before[:, start[held]]
    return ends


def _starts_of(windows: Windows, end: int) -> Ints:
    """The starts allowed for one end, ascending."""
    return np.concatenate([np.arange(a, b) for a, b in zip(windows.starts[:, end], windows.stops[:, end], strict=True)])


def _trace_reachable(chain: Chain, states: States, limit: Limit, table: Bools, state: int, way: int) -> list[Placed]:
    """The path that ends with a stage in `way` from `state` to the last node."""
    path: list[Placed] = []
    end, following = len(chain), -1
    while True:
        windows = limit.windows(way, to_source=following >= 0 and _shares_link(chain, following))
        starts = _starts_of(windows, end)
        starts = starts[table[way, state, starts]]
        start = int(starts[-1])
        path.append(Placed(way, start, end))
        if start == 0:
            return path[::-1]
        end, following = start, way
        way, state = _before(chain, states, limit, table, state, following, end)


def _before(chain: Chain, states: States, limit: Limit, table: Bools, state: int, following: int, end: int) -> tuple[int, int]:
    """A way and the state before it from which a stage can hand boundary `end` to `following` in `state`."""
    for way in range(len(chain.ways)):
        kind = chain.ways[way]
        earlier = state - kind.replicas * int(states.strides[kind.group])
        if states.counts[state, kind.group] >= kind.replicas and limit.hands_over[way, following, end]:
            starts = _starts_of(limit.windows(way, to_source=_shares_link(chain, following)), end)
            if table[way, earlier, starts].any():
                return way, earlier
    raise AssertionError("a reached boundary has no way to it")
