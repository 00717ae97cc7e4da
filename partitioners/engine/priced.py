"""Contiguous plans of least total price on fleets that are too large to search: a bound by rents of devices, and a beam.

A total is a sum over stages and hand-overs (`partitioners.engine.cheapest.Prices`): latency, or joules at a given rate. If any
number of devices of each kind may be used, the cheapest way from boundary p on, with the next stage on kind k, is

    G[k, p] = min over q of rent_k + price(k, [p, q)) + min over j of ( hand_over(k, j, q) + G[j, q] )

where the rent of a device is paid for each use. No plan pays more rent than all devices once, so that

    min over k of enter_k + G[k, 0] - sum over k of rent_k * devices of kind k

is below the price of every plan (Lagrangian relaxation). A subgradient method raises it. The beam search keeps the partial
plans for which price, rent and G of what is left sum up to the least.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from multiedge.profile import Bools, Floats, Ints
from partitioners.engine.chain import Chain, Placed
from partitioners.engine.cheapest import Prices
from partitioners.engine.search import SLACK
from partitioners.engine.suffixes import Best
from partitioners.engine.windows import fits_memory

WIDTH = 96
"""Partial plans that are kept after each stage."""
MOST_ENTRIES = 40_000_000
"""Kinds x boundaries x boundaries up to which the tables of stages are made."""
ROUNDS = 60
"""Steps of the subgradient method."""
_ROUNDING = 1e-9


def is_priceable(chain: Chain) -> bool:
    """Whether the tables of all stages are small enough."""
    return len(chain.groups) * (len(chain) + 1) ** 2 <= MOST_ENTRIES


class Stages:
    """All stages of a chain without replicas, by kind, start and end, (kinds, n + 1, n + 1)."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.sizes = np.array([len(group) for group in chain.groups])
        room = [chain.fleet.device(group[0]).available_bytes for group in chain.groups]
        allowed = np.zeros((len(room), len(chain) + 1, len(chain) + 1), dtype=np.bool_)
        allowed[:, :-1] = fits_memory(chain.profile, room)
        allowed &= chain.profile.open_boundaries
        seconds = np.array([times.matrix() for times in chain.times]) + chain.overhead_s[:, None, None]
        self.seconds: Floats = np.where(allowed, seconds, np.inf)
        made = chain.results[None, :] - chain.results[:, None]
        self.returned_s: Floats = chain.leave_per_byte_s[:, None, None] * np.maximum(made, 0.0)

    def within(self, most_s: float) -> Bools:
        """Whether each stage takes its device and the link to where results go at most `most_s`."""
        most = min(most_s * SLACK, np.finfo(np.float64).max)
        return np.asarray((self.seconds <= most) & (self.returned_s <= most))


class PricedSearch:
    """Plans of least price whose bottleneck is at most `most_s`."""

    def __init__(self, stages: Stages, prices: Prices, most_s: float) -> None:
        self.chain, self.sizes, self.most_s = stages.chain, stages.sizes, most_s
        chain, count = stages.chain, len(stages.chain)
        most = min(most_s * SLACK, np.finfo(np.float64).max)
        allowed = stages.within(most_s)
        starts = np.arange(count + 1)
        self.stage = np.full(allowed.shape, np.inf)
        self.last = np.full(allowed.shape[:2], np.inf)
        for kind in range(len(self.sizes)):
            late = np.where(starts > 0, prices.late_source if kind == chain.source else 0.0, 0.0) + prices.stage[kind]
            price = np.array([prices.of_nodes(kind, starts, end) for end in range(count + 1)]).T + late[:, None]
            self.stage[kind] = np.where(allowed[kind], price, np.inf)
            last = prices.of_nodes(kind, starts, count, last=True) + late + prices.last_stage[kind]
            self.last[kind] = np.where(allowed[kind, :, count], last, np.inf)
        self.enter = np.where(chain.enter_per_byte_s * chain.cut[0] <= most, prices.enter, np.inf)
        self.hand_over = np.where(chain.hand_over_s <= most, prices.hand_over, np.inf)
        self.rent = np.zeros(len(self.sizes))
        self.best = Best(np.inf)

    def run(self, deadline_s: float, wanted: float = np.inf) -> Best:
        """The best plan found and a bound for all; both searches end early once the bound is above `wanted`."""
        bound = self.bound(deadline_s, wanted)
        if np.isfinite(bound) and bound <= wanted:
            self._search(_Relaxed(self, self.rent))
        return Best(min(bound, self.best.bound), self.best.path)

    def bound(self, deadline_s: float, wanted: float = np.inf) -> float:
        """The largest bound that the subgradient method finds, inf if there is no plan; its rents are kept."""
        rent, bound, step, stalled = self.rent, -np.inf, 1.0, 0
        for _ in range(ROUNDS):
            relaxed = _Relaxed(self, rent)
            path = relaxed.path()
            if not path:
                return np.inf
            used = np.bincount([placed.way for placed in path], minlength=len(self.sizes))
            if (used <= self.sizes).all():
                self._offer(path)
            value = relaxed.value - float(rent @ self.sizes)
            stalled = 0 if value > bound else stalled + 1
            if value > bound:
                bound, self.rent = value, rent
            if stalled >= 4:
                step, stalled = step / 2, 0
            excess = np.where((rent > 0) | (used > self.sizes), used - self.sizes, 0).astype(np.float64)
            if not excess.any() or bound > wanted or perf_counter() > deadline_s:
                break
            aim = min(self.best.bound, max(bound * 1.05, bound + abs(bound) * 0.05))
            rent = np.maximum(rent + step * max(aim - value, 0.0) / float(excess @ excess) * excess, 0.0)
        return bound - abs(bound) * _ROUNDING

    def _offer(self, path: list[Placed]) -> None:
        price = self.price(path)
        if price < self.best.bound and self.chain.bottleneck_s(path) <= self.most_s * SLACK:
            self.best = Best(price, tuple(path))

    def price(self, path: list[Placed]) -> float:
        """The price of a plan."""
        total, before = 0.0, -1
        for number, placed in enumerate(path):
            total += float(self.enter[placed.way] if before < 0 else self.hand_over[before, placed.way, placed.start])
            is_last = number + 1 == len(path)
            total += float(
                self.last[placed.way, placed.start] if is_last else self.stage[placed.way, placed.start, placed.stop]
            )
            before = placed.way
        return total

    def _search(self, relaxed: _Relaxed) -> None:
        """Offers the best completion of the partial plans after each stage."""
        partial, steps = _Partial.none(len(self.sizes)), []
        for _ in range(int(self.sizes.sum())):
            steps.append(partial)
            free = partial.used < self.sizes
            begun = np.where(free, partial.price[:, None] + self._into(partial), np.inf)
            done = begun + self.last[:, partial.position].T
            row, kind = np.unravel_index(int(np.argmin(done)), done.shape)
            if np.isfinite(done[row, kind]):
                end = Placed(int(kind), int(partial.position[row]), len(self.chain))
                self._offer([*_traced(steps, int(row)), end])
            partial = self._extended(partial, begun, relaxed)
            if not len(partial.position):
                return

    def _into(self, partial: _Partial) -> Floats:
        """The price of handing the boundary of each partial plan to each kind, (plans, kinds)."""
        if partial.last[0] < 0:
            return self.enter[None, :]
        return np.asarray(self.hand_over[partial.last, :, partial.position])

    def _extended(self, partial: _Partial, begun: Floats, relaxed: _Relaxed) -> _Partial:
        """Those with one more stage that promise most, one for each set of devices, last kind and boundary."""
        priced = begun[:, :, None] + self.stage[:, partial.position].transpose(1, 0, 2)
        paid = (partial.used * relaxed.rent).sum(axis=1)[:, None, None] + relaxed.rent[None, :, None]
        promise = priced + paid + relaxed.after[None]
        flat = promise.ravel()
        most = self.best.bound + float(relaxed.rent @ self.sizes)
        kept = np.argpartition(flat, min(8 * WIDTH, len(flat) - 1))[: 8 * WIDTH]
        kept = kept[np.isfinite(flat[kept]) & (flat[kept] < most)]
        kept = kept[np.argsort(flat[kept], kind="stable")]
        row, kind, end = np.unravel_index(kept, promise.shape)
        used = partial.used[row]
        used[np.arange(len(row)), kind] += 1
        same: dict[bytes, int] = {}
        for index, key in enumerate(np.column_stack([used, kind, end])):
            same.setdefault(key.tobytes(), index)
        first = np.fromiter(same.values(), dtype=np.int64)[:WIDTH]
        return _Partial(end[first], kind[first], used[first], priced.ravel()[kept[first]], row[first])


class _Relaxed:
    """The cheapest ways if any number of devices of each kind may be used, at given rents.

    `after[k, q]`: from boundary q on, after a stage on kind k; inf at the end, where the price of a last stage differs.
    """

    def __init__(self, search: PricedSearch, rent: Floats) -> None:
        kinds, count = len(search.sizes), len(search.chain)
        self._enter, self.rent = search.enter, rent
        self._rest = np.full((kinds, count + 1), np.inf)
        self._end = np.full((kinds, count + 1), count)
        self._following = np.zeros((kinds, count + 1), dtype=np.int64)
        self.after = np.full((kinds, count + 1), np.inf)
        for start in range(count - 1, -1, -1):
            longer = search.stage[:, start, start + 1 :] + self.after[:, start + 1 :]
            end = longer.argmin(axis=1)
            least = np.minimum(longer[np.arange(kinds), end], search.last[:, start])
            self._end[:, start] = np.where(least < search.last[:, start], end + start + 1, count)
            self._rest[:, start] = least + rent
            handed = search.hand_over[:, :, start] + self._rest[:, start]
            self._following[:, start] = handed.argmin(axis=1)
            self.after[:, start] = handed.min(axis=1)
        self.value = float((self._enter + self._rest[:, 0]).min())

    def path(self) -> list[Placed]:
        """The cheapest way; [] if there is none."""
        if not np.isfinite(self.value):
            return []
        kind, start, count = int((self._enter + self._rest[:, 0]).argmin()), 0, self._rest.shape[-1] - 1
        path = []
        while start < count:
            end = int(self._end[kind, start])
            path.append(Placed(kind, start, end))
            kind, start = int(self._following[kind, end]), end
        return path


@dataclass(frozen=True, eq=False)
class _Partial:
    """Partial plans: boundary reached, kind of the last stage (-1 for none), devices in use by kind, price, predecessor."""

    position: Ints
    last: Ints
    used: Ints
    price: Floats
    parent: Ints

    @classmethod
    def none(cls, kinds: int) -> _Partial:
        zero = np.zeros(1, dtype=np.int64)
        return cls(zero, zero - 1, np.zeros((1, kinds), dtype=np.int64), np.zeros(1), zero)


def _traced(steps: list[_Partial], row: int) -> list[Placed]:
    """The stages of a partial plan of the last step."""
    path: list[Placed] = []
    for number in range(len(steps) - 1, 0, -1):
        before = int(steps[number].parent[row])
        start = int(steps[number - 1].position[before])
        path.append(Placed(int(steps[number].last[row]), start, int(steps[number].position[row])))
        row = before
    return path[::-1]
