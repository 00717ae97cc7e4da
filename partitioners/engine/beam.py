"""Contiguous plans on fleets that are too large to search: a bound by prices of devices, and a beam search that follows them.

Give each device of kind k a price, so that the prices of all devices sum to 1. For a time per item T, the cheapest way to do
all nodes from boundary p on, if any number of devices of each kind may be used, is

    h(p) = min over k of price_k + h( farthest end of a stage on kind k that starts at p and takes at most T )

A plan that takes T uses each device once at most, so it costs at most 1: if h(0) > 1, no plan takes T or less, and T is a lower
bound. The best prices are those of the linear program of plans as paths through the boundaries (Dantzig and Wolfe, 1960);
cutting planes (Kelley, 1960), one for each path, find them. This bound is at least that of the load.

The search for a plan at T ranks partial plans by what they cost, the price of the devices in use + h(boundary), and drops those
that cost more than 1: no completion of them exists. `width` of them are kept after each stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from multiedge.profile import Bools, Floats, Ints
from partitioners.engine.chain import Chain, Placed
from partitioners.engine.load_bound import speed_weights
from partitioners.engine.memory import ample_bytes, memory_rows
from partitioners.engine.search import SLACK, Found

WIDTH = 96
"""Partial plans that are kept after each stage."""
NARROWEST = 1.001
"""A bisection of T ends when its ends are nearer than this ratio."""
MOST_CUTS = 400
_ROUNDING = 1e-9


def search(chain: Chain, deadline_s: float, width: int = WIDTH) -> Found:
    """A plan, empty if none was found, and a bound for all contiguous plans without replicas, inf if there is none; both get
    better until the deadline (of perf_counter)."""
    return _Search(chain, width).run(deadline_s)


class _Search:
    def __init__(self, chain: Chain, width: int) -> None:
        self.chain, self.width = chain, width
        self.sizes = np.array([len(group) for group in chain.groups])
        self.times = np.diff(chain.seconds, axis=1)
        self.limit, self.longest = _memory_reach(chain)
        is_open = chain.profile.open_boundaries
        self.open_before = np.maximum.accumulate(np.where(is_open, np.arange(len(is_open)), 0))
        self.keys = np.random.default_rng(0).integers(1, 1 << 62, size=len(self.sizes))
        weights = speed_weights(self.times.sum(axis=1))
        self.prices = weights / (weights * self.sizes).sum()
        self.cuts: list[tuple[float, Ints]] = []
        self.best: tuple[list[Placed], float] | None = None

    def run(self, deadline_s: float) -> Found:
        start = perf_counter()
        low = max(self._load_bound(), float(self.times.min(axis=0).max(initial=0.0)) * (1 - _ROUNDING))
        self._improve(low, start + (deadline_s - start) * 0.2)
        if self.best is None and self._is_excluded(np.inf, deadline_s):
            return Found([], np.inf, np.inf)
        low = self._raise_bound(low, start + (deadline_s - start) * 0.6)
        self._improve(low, deadline_s)
        path, seconds = self.best or ([], np.inf)
        return Found(path, seconds, min(low, seconds))

    def _load_bound(self) -> float:
        """The bound of the load at the first prices: each node where its time costs least."""
        return float((self.prices[:, None] * self.times).min(axis=0).sum()) * (1 - _ROUNDING)

    def _improve(self, low: float, deadline_s: float) -> None:
        """Plans for ever smaller T, by bisection between the bound, or a T at which none was found, and the best one."""
        ratio = 1.0 / 32
        while perf_counter() < deadline_s and (self.best is None or self.best[1] > low * NARROWEST) and ratio < 1e9:
            middle = (low + self.best[1]) / 2 if self.best else max(low, 1e-300) * (1 + ratio)
            path = self._path_within(middle)
            if path is None:
                low, ratio = middle if self.best else low, ratio * 2
            elif self.best is None or self.chain.bottleneck_s(path) < self.best[1]:
                self.best = path, self.chain.bottleneck_s(path)
            else:
                return

    def _raise_bound(self, low: float, deadline_s: float) -> float:
        """The largest T that prices exclude, by bisection from the best plan down."""
        high = self.best[1] if self.best else 64 * low
        while high > low * NARROWEST and perf_counter() < deadline_s:
            middle = (low + high) / 2
            if self._is_excluded(middle, deadline_s):
                low = middle
            else:
                high = middle
        return low

    def _is_excluded(self, seconds: float, deadline_s: float) -> bool:
        """Whether prices are found at which every plan of `seconds` costs more than all devices; the best prices are kept."""
        ends = self._farthest(seconds)
        cuts = [used for limit, used in self.cuts if limit <= seconds]
        prices = self.prices
        for _ in range(MOST_CUTS):
            costs, kinds = self._costs(ends, prices)
            if costs[0] > 1 + _ROUNDING:
                self.prices = prices
                return True
            used = self._used(ends, kinds)
            cuts.append(used)
            self.cuts.append((seconds, used))
            best = self._best_prices(cuts)
            if best is None or best[1] <= 1 + _ROUNDING or perf_counter() > deadline_s:
                return False
            prices = best[0]
        return False

    def _best_prices(self, cuts: list[Ints]) -> tuple[Floats, float] | None:
        """The prices at which the cheapest of some paths costs most, and that cost."""
        from scipy.optimize import linprog

        count = len(self.sizes)
        solved = linprog(
            np.concatenate([np.zeros(count), [-1.0]]),
            A_ub=np.hstack([-np.array(cuts), np.ones((len(cuts), 1))]),
            b_ub=np.zeros(len(cuts)),
            A_eq=np.concatenate([self.sizes, [0.0]])[None, :],
            b_eq=[1.0],
        )
        if solved.status != 0:
            return None
        prices = np.maximum(np.asarray(solved.x[:count], dtype=np.float64), 0.0)
        return prices / (prices * self.sizes).sum(), -float(solved.fun)

    def _farthest(self, seconds: float) -> Ints:
        """For each kind and start an end that no stage of `seconds` passes, never less for a later start, (kinds, n + 1)."""
        by_memory = np.maximum.accumulate(np.maximum(self.limit, self.longest), axis=1)
        by_time = np.maximum.accumulate(self._by_time(seconds), axis=1)
        return np.asarray(self.open_before[np.minimum(by_time, by_memory)])

    def _by_time(self, seconds: float) -> Ints:
        """The farthest end in time for each kind and start, (kinds, n + 1); one before the start if not even nothing fits."""
        chain, most = self.chain, seconds * SLACK
        ends = [times.farthest(most - own) for times, own in zip(chain.times, chain.overhead_s, strict=True)]
        return np.asarray(np.maximum(np.array(ends), 0), dtype=np.int64)

    def _costs(self, ends: Ints, prices: Floats) -> tuple[Floats, Ints]:
        """h at each boundary, (n + 1,), and the kind of the first stage."""
        count = len(self.chain)
        costs, kinds = np.zeros(count + 1), np.zeros(count + 1, dtype=np.int64)
        for start in range(count - 1, -1, -1):
            reached = ends[:, start]
            each = np.where(reached > start, prices + costs[reached], np.inf)
            kinds[start] = kind = each.argmin()
            costs[start] = each[kind]
        return costs, kinds

    def _used(self, ends: Ints, kinds: Ints) -> Ints:
        """How many devices of each kind the cheapest path uses, (kinds,)."""
        used, position = np.zeros(len(self.sizes), dtype=np.int64), 0
        while position < len(self.chain):
            kind = kinds[position]
            used[kind] += 1
            position = int(ends[kind, position])
        return used

    def _path_within(self, seconds: float) -> list[Placed] | None:
        """A plan whose devices and links take at most `seconds` per item; None if the beam finds none."""
        by_time = self._by_time(seconds)
        starts = np.arange(len(self.chain) + 1)
        near = np.maximum(self.open_before[np.minimum(by_time, self.limit)], starts)
        ends = [near, far] if ((far := np.where(self.longest <= by_time, self.longest, starts)) > near).any() else [near]
        costs = self._costs(self._farthest(seconds), self.prices)[0]
        if costs[0] > 1 + _ROUNDING:
            return None
        states = _States.start(len(self.sizes))
        steps: list[_States] = []
        for _ in range(int(self.sizes.sum())):
            states = self._extended(states, ends, costs, seconds * SLACK)
            if not len(states.position):
                return None
            steps.append(states)
            done = np.nonzero(states.position == len(self.chain))[0]
            if len(done):
                return _traced(steps, int(done[0]))
        return None

    def _extended(self, states: _States, ends: list[Ints], costs: Floats, most: float) -> _States:
        """One more stage after each state, in each kind: the least costly, one for each set of devices and last kind."""
        chain = self.chain
        free = (states.used < self.sizes) & self._links(states, most)
        options = []
        for reached in ends:
            row, kind = np.nonzero(free & (states.position[:, None] < reached[:, states.position].T))
            start, end = states.position[row], reached[kind, states.position[row]]
            cost = states.spent[row] + self.prices[kind] + costs[end]
            sent = chain.leave_per_byte_s[kind] * (chain.results[end] - chain.results[start])
            keep = (cost <= 1 + _ROUNDING) & (sent <= most)
            options.append((row[keep], kind[keep], end[keep], cost[keep]))
        row, kind, end, cost = (np.concatenate(column) for column in zip(*options, strict=True))
        key = states.key[row] + self.keys[kind]
        order = np.lexsort((cost, end != len(chain)))
        first = np.unique((key ^ (kind + 1))[order], return_index=True)[1]
        kept = order[np.sort(first)][: self.width]
        used = states.used[row[kept]]
        used[np.arange(len(kept)), kind[kept]] += 1
        spent = states.spent[row[kept]] + self.prices[kind[kept]]
        return _States(end[kept], kind[kept], used, spent, key[kept], row[kept])

    def _links(self, states: _States, most: float) -> Bools:
        """Whether what crosses each state's boundary reaches each kind in time, (states, kinds)."""
        chain = self.chain
        if states.last[0] < 0:
            return np.asarray(chain.enter_per_byte_s * chain.cut[0] <= most)[None, :]
        per_byte_s = chain.per_byte_s[states.last]
        linked = np.isfinite(per_byte_s)
        return np.asarray(linked & (np.where(linked, per_byte_s, 0.0) * chain.cut[states.position][:, None] <= most))


@dataclass(frozen=True, eq=False)
class _States:
    """Partial plans: the boundary that each has reached, the kind of its last stage (-1 for none), devices in use by kind, the
    sum of their prices, a key of them, and the row of its predecessor."""

    position: Ints
    last: Ints
    used: Ints
    spent: Floats
    key: Ints
    parent: Ints

    @classmethod
    def start(cls, kinds: int) -> _States:
        zero = np.zeros(1, dtype=np.int64)
        return cls(zero, zero - 1, np.zeros((1, kinds), dtype=np.int64), np.zeros(1), zero, zero)


def _traced(steps: list[_States], row: int) -> list[Placed]:
    ends = []
    for states in reversed(steps):
        ends.append((int(states.last[row]), int(states.position[row])))
        row = int(states.parent[row])
    ends.reverse()
    starts = [0, *(end for _, end in ends)]
    return [Placed(kind, start, end) for (kind, end), start in zip(ends, starts, strict=False)]


def _memory_reach(chain: Chain) -> tuple[Ints, Ints]:
    """Ends that memory allows from each start, (kinds, n + 1) each: up to the first, every stage fits; the second is the
    farthest that does. Both are the start where nothing fits."""
    count, kinds = len(chain), len(chain.groups)
    room = np.array([float(chain.fleet.device(group[0]).available_bytes) for group in chain.groups])
    limit = np.full((kinds, count + 1), count, dtype=np.int64)
    room[[times.table is not None for times in chain.times]] = np.inf  # their tables have only stages that fit
    if (room >= ample_bytes(chain.profile)).all():
        return limit, limit
    longest = limit.copy()
    is_open = chain.profile.open_boundaries
    for start, memory in enumerate(memory_rows(chain.profile)):
        limit[:, start] = start + np.searchsorted(np.maximum.accumulate(memory), room, side="right")
        at_ends = np.where(is_open[start + 1 :], memory, np.inf)
        least_from = np.minimum.accumulate(at_ends[::-1])[::-1]
        longest[:, start] = start + np.searchsorted(least_from, room, side="right")
    return limit, longest
