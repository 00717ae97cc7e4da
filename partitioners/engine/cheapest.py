"""The contiguous plan of least total price: f[c, w][q] = min over p of f[c - v, v][p] + price of stage [p, q) in way v.

A total is a sum over stages and hand-overs (latency, or joules at a given rate), so one pass over the states of
`partitioners.engine.search` finds its minimum, under any limit on the bottleneck. The price of nodes [p, q) is a difference of
prefix sums, which turns the inner minimum into a range minimum: O(n log n) for each state and way, not O(n^2). Where times do
not add up, a table has what a stage costs beyond that difference, and the inner minimum tries every start.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from multiedge.profile import Floats, Ints
from partitioners.engine.chain import Chain, Placed
from partitioners.engine.search import Limit, States
from partitioners.engine.windows import Windows


@dataclass(frozen=True, eq=False)
class Prices:
    """What a total sums up, by way w (v before w) and boundary p.

    `nodes[w, p]`: the first p nodes in way w, so that stage [p, q) costs nodes[w, q] - nodes[w, p] + stage[w], and
    excess[w][p, q] in addition where that is not None;
    `last_nodes` and `last_stage` (on top of `stage`): the same for the stage that ends the model. `enter[w]`: the
    caller's items to the first stage.
    `hand_over[v, w, q]`: boundary q from v to w, inf where there is no link. `late_source`: extra where the place at which
    items arise runs a stage other than the first.
    """

    nodes: Floats
    last_nodes: Floats
    stage: Floats
    enter: Floats
    hand_over: Floats
    last_stage: Floats
    excess: tuple[Floats | None, ...]
    late_source: float = 0.0

    def of_nodes(self, way: int, starts: Ints | int, end: int, *, last: bool = False) -> Floats:
        """The price of the nodes of each stage [start, end) in a way, without that of the stage itself."""
        nodes, excess = (self.last_nodes if last else self.nodes)[way], self.excess[way]
        price = nodes[end] - nodes[starts]
        return np.asarray(price if excess is None else price + excess[starts, end])

    def plus(self, other: Prices, rate: float) -> Prices:
        """self + rate * other."""
        return Prices(
            nodes=self.nodes + rate * other.nodes,
            last_nodes=self.last_nodes + rate * other.last_nodes,
            stage=self.stage + rate * other.stage,
            enter=self.enter + rate * other.enter,
            hand_over=self.hand_over + rate * other.hand_over,
            last_stage=self.last_stage + rate * other.last_stage,
            excess=tuple(
                None if own is None or added is None else own + rate * added
                for own, added in zip(self.excess, other.excess, strict=True)
            ),
            late_source=self.late_source + rate * other.late_source,
        )


@dataclass(frozen=True)
class Cheapest:
    """A path and its total price; `path` is empty and the price inf if nothing fits."""

    price: float
    path: list[Placed] = field(default_factory=list)


def cheapest(chain: Chain, states: States, prices: Prices, most_s: float = np.inf) -> Cheapest:
    """The least total price of a contiguous plan whose bottleneck is at most `most_s`."""
    return Table(chain, states, prices, most_s).cheapest()


class Table:
    """One pass: table[w, c, p] is the least price with boundary p handed to way w, devices c in use."""

    def __init__(self, chain: Chain, states: States, prices: Prices, most_s: float) -> None:
        self.chain, self.states, self.prices = chain, states, prices
        self.limit = limit = Limit(chain, most_s)
        self.table = np.full((len(chain.ways), len(states.counts), len(chain) + 1), np.inf)
        first = limit.enters & states.room[:, 0]
        self.table[first, 0, 0] = prices.enter[first]
        self.hand_over = np.where(limit.hands_over, prices.hand_over, np.inf)
        self._least, self._end = self._fill()

    def cheapest(self) -> Cheapest:
        """The plan of least price."""
        return Cheapest(self._least, self._trace(*self._end)) if np.isfinite(self._least) else Cheapest(np.inf)

    def starts(self, way: int, end: int, following: int | None) -> Ints:
        """Where a stage in `way` that ends at `end` may start; `following` is the way of the next stage, None for the last."""
        windows = self._windows(way, following)
        spans = zip(windows.starts[:, end], windows.stops[:, end], strict=True)
        return np.concatenate([np.arange(a, b) for a, b in spans] or [np.zeros(0, dtype=np.int64)])

    def stage_prices(self, way: int, state: int, starts: Ints, end: int, following: int | None) -> Floats:
        """The price of each stage [start, end) in `way` with the devices of `state` used before it, hand-over not included."""
        last = following is None
        stage = self._stage_price(way, last=last) + self._late(way, state)
        return np.asarray(self.prices.of_nodes(way, starts, end, last=last) + stage)

    def _fill(self) -> tuple[float, tuple[int, int]]:
        """Fills the table; the least price of a plan, with way and state of its last stage."""
        best, end = np.inf, (0, 0)
        for level in self.states.levels:
            for way in range(len(self.chain.ways)):
                rows = level[self.states.room[way, level]]
                rows = rows[np.isfinite(self.table[way, rows]).any(axis=1)]
                if not len(rows):
                    continue
                last = self._finish(way, rows)
                if last.min() < best:
                    best, end = float(last.min()), (way, int(rows[last.argmin()]))
                self._extend(way, rows)
        return best, end

    def _windows(self, way: int, following: int | None) -> Windows:
        chain = self.chain
        shared = following is not None and chain.early_results and chain.ways[following].group == chain.source
        return self.limit.windows(way, to_source=shared)

    def _stage_price(self, way: int, *, last: bool) -> float:
        return float(self.prices.stage[way] + (self.prices.last_stage[way] if last else 0.0))

    def _late(self, way: int, state: int) -> float:
        return self.prices.late_source if state > 0 and self.chain.ways[way].group == self.chain.source else 0.0

    def _finish(self, way: int, rows: Ints) -> Floats:
        """For each state the least price of ending the model with a stage in `way`."""
        windows, nodes, end = self._windows(way, None), self.prices.last_nodes[way], len(self.chain)
        begins = self.table[way, rows] - nodes
        excess = self.prices.excess[way]
        if excess is not None:
            begins = begins + excess[:, end]
        least = np.full(len(rows), np.inf)
        for start, stop in zip(windows.starts[:, end], windows.stops[:, end], strict=True):
            if stop > start:
                least = np.minimum(least, begins[:, start:stop].min(axis=1))
        late = np.array([self._late(way, int(state)) for state in rows])
        return np.asarray(least + nodes[end] + self._stage_price(way, last=True) + late)

    def _extend(self, way: int, rows: Ints) -> None:
        """Enters every continuation of the states `rows` by a stage in `way`."""
        nodes = self.prices.nodes[way]
        late = np.array([self._late(way, int(state)) for state in rows])[:, None]
        begins = self.table[way, rows] - nodes
        ends: dict[bool, Floats] = {}
        after = self.states.after(rows, way)
        for following in range(len(self.chain.ways)):
            free = self.states.room[following, after]
            if free.any():
                shared = self.chain.early_results and self.chain.ways[following].group == self.chain.source
                if shared not in ends:
                    least = _least_begins(begins, self._windows(way, following), self.prices.excess[way])
                    ends[shared] = least + nodes + self._stage_price(way, last=False) + late
                known = self.table[following, after[free]]
                self.table[following, after[free]] = np.minimum(known, ends[shared][free] + self.hand_over[way, following])

    def _trace(self, way: int, state: int) -> list[Placed]:
        """The path of least price that ends with a stage in `way` from `state`."""
        end = len(self.chain)
        start = self._best_start(way, state, end, None)[1]
        path = [Placed(way, start, end)]
        while start > 0:
            following, end = way, start
            options = []
            for earlier_way, kind in enumerate(self.chain.ways):
                earlier = state - kind.replicas * int(self.states.strides[kind.group])
                if self.states.counts[state, kind.group] >= kind.replicas:
                    price, begin = self._best_start(earlier_way, earlier, end, following)
                    options.append((price + float(self.hand_over[earlier_way, following, end]), earlier_way, earlier, begin))
            _, way, state, start = min(options)
            path.append(Placed(way, start, end))
        return path[::-1]

    def _best_start(self, way: int, state: int, end: int, following: int | None) -> tuple[float, int]:
        """Least price of a stage in `way` that ends at `end`, and where it starts."""
        starts = self.starts(way, end, following)
        if not len(starts):
            return np.inf, -1
        totals = self.table[way, state, starts] + self.stage_prices(way, state, starts, end, following)
        at = int(totals.argmin())
        return float(totals[at]), int(starts[at])


def _least_begins(values: Floats, windows: Windows, excess: Floats | None) -> Floats:
    """For each row of (rows, n + 1) and each end the least of value + excess over the end's starts; inf where there is none."""
    if excess is None:
        return _range_minima(values, windows)
    least = np.full_like(values, np.inf)
    added = np.where(windows.mask, excess, np.inf)
    for start in np.nonzero(windows.mask.any(axis=1) & np.isfinite(values).any(axis=0))[0]:
        np.minimum(least, values[:, start, None] + added[start], out=least)
    return least


def _range_minima(values: Floats, windows: Windows) -> Floats:
    """For each row of (rows, n + 1) and each end the least value over the end's starts; inf where there is none."""
    count = values.shape[1]
    if len(windows.starts) == 1 and not windows.starts[0].any() and (windows.stops[0] == np.arange(count)).all():
        least = np.full_like(values, np.inf)
        np.minimum.accumulate(values[:, :-1], axis=1, out=least[:, 1:])
        return least
    doubling = [values]
    while 2 ** len(doubling) <= count:
        half, last = 2 ** (len(doubling) - 1), doubling[-1]
        wider = last.copy()
        wider[:, :-half] = np.minimum(last[:, :-half], last[:, half:])
        doubling.append(wider)
    least = np.full_like(values, np.inf)
    for start, stop in zip(windows.starts, windows.stops, strict=True):
        for power in np.unique(np.log2(np.maximum(stop - start, 1)).astype(np.int64)[stop > start]):
            ends = np.nonzero((stop - start >= 2**power) & (stop - start < 2 ** (power + 1)))[0]
            table = doubling[power]
            pair = np.minimum(table[:, start[ends]], table[:, stop[ends] - 2**power])
            least[:, ends] = np.minimum(least[:, ends], pair)
    return least
