"""The best plan under a limit on latency, exactly, with the latency of results that stages before the last return.

A* over suffixes of plans, from the end of the model to its start. A state is the devices used before the suffix, the way and
first boundary of its first stage. The tables of `partitioners.engine.cheapest` have the least price and the least latency
of what comes before each state, so a suffix is followed only if

    latency before + its latency                                              <= limit
    max( price before + its price,
         (price + rate * latency) before + its (price + rate * latency) - rate * limit )   is below the best plan

and no suffix of the same state has both a lower price and a lower latency. `rate` is a Lagrange multiplier, so the search
starts from the dual bound and only closes its gap, as Beasley and Christofides (Networks, 1989) do for the shortest path with
limited resources. The suffix of the least bound is taken first; the first plan that is taken is the best one.

The latency of a suffix is the time from the start of its first stage to the last of its results:

    L(stage + suffix) = compute + max( return of the results of this stage, hand-over + L(suffix) )
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from time import perf_counter

import numpy as np

from multiedge.profile import Floats, Ints
from partitioners.engine.chain import Chain, Placed
from partitioners.engine.cheapest import Prices, Table
from partitioners.engine.search import SLACK, States

_CHECK_EVERY = 256
"""Suffixes between two looks at the clock."""


@dataclass(frozen=True)
class Best:
    """The best plan that keeps the limit; `path` is empty if there is none or the time was over.

    `bound`: no plan that keeps the limit has a lower price; inf if there is none.
    """

    bound: float
    path: tuple[Placed, ...] = ()


@dataclass(frozen=True)
class _Suffix:
    """Stages that end the model: `state` and `way` of the first one, its start, their price and latency."""

    way: int
    state: int
    start: int
    price: float
    latency_s: float
    path: tuple[Placed, ...]


@dataclass(frozen=True)
class Question:
    """What is searched for: the least price (None is the latency itself) of plans whose bottleneck is at most `most_s` and
    whose latency is at most `most_latency_s`. `rate` is any multiplier from 0, price per second; it only affects the time."""

    latency: Prices
    price: Prices | None = None
    most_s: float = np.inf
    most_latency_s: float = np.inf
    rate: float = 0.0


def best_within(chain: Chain, states: States, question: Question, deadline_s: float = np.inf) -> Best:
    """The answer to a question; after `deadline_s` (of perf_counter) only the bound that is proven until then."""
    return _Search(chain, states, question).run(deadline_s)


class _Search:
    def __init__(self, chain: Chain, states: States, question: Question) -> None:
        self.chain, self.states, self.question = chain, states, question
        self.most_latency_s = question.most_latency_s * SLACK
        self.by_latency = Table(chain, states, question.latency, question.most_s)
        self.by_price = self.by_latency
        self.by_sum: Table | None = None
        if question.price is not None:
            self.by_price = Table(chain, states, question.price, question.most_s)
            if question.rate > 0:
                self.by_sum = Table(chain, states, question.price.plus(question.latency, question.rate), question.most_s)
        self.kept: defaultdict[tuple[int, int, int], list[tuple[float, float]]] = defaultdict(list)

    def run(self, deadline_s: float) -> Best:
        order = count()
        heap = [(bound, next(order), suffix) for bound, suffix in self._last_stages()]
        heapq.heapify(heap)
        taken = 0
        while heap:
            bound, _, suffix = heapq.heappop(heap)
            if suffix.start == 0:
                return Best(bound, suffix.path)
            taken += 1
            if taken % _CHECK_EVERY == 0 and perf_counter() > deadline_s:
                return Best(bound)
            if not self._is_dominated(suffix):
                for each in self._longer(suffix):
                    heapq.heappush(heap, (each[0], next(order), each[1]))
        return Best(np.inf)

    def _is_dominated(self, suffix: _Suffix) -> bool:
        """Whether an earlier suffix of the same state is as good in both; it is kept for later ones otherwise."""
        kept = self.kept[suffix.way, suffix.state, suffix.start]
        if any(price <= suffix.price and latency_s <= suffix.latency_s for price, latency_s in kept):
            return True
        kept.append((suffix.price, suffix.latency_s))
        return False

    def _last_stages(self) -> Iterator[tuple[float, _Suffix]]:
        end = len(self.chain)
        for level in self.states.levels:
            for way in range(len(self.chain.ways)):
                for state in level[self.states.room[way, level]]:
                    starts = self.by_latency.starts(way, end, None)
                    seconds = self.by_latency.stage_prices(way, int(state), starts, end, None)
                    prices = seconds
                    if self.question.price is not None:
                        prices = self.by_price.stage_prices(way, int(state), starts, end, None)
                    yield from self._suffixes(way, int(state), starts, end, prices, seconds, ())

    def _longer(self, suffix: _Suffix) -> Iterator[tuple[float, _Suffix]]:
        """The suffix with one more stage before it, in each way."""
        end, following = suffix.start, suffix.way
        for way, kind in enumerate(self.chain.ways):
            if self.states.counts[suffix.state, kind.group] < kind.replicas:
                continue
            state = suffix.state - kind.replicas * int(self.states.strides[kind.group])
            starts = self.by_latency.starts(way, end, following)
            latency = self.question.latency
            sent_s = float(self.by_latency.hand_over[way, following, end]) + suffix.latency_s
            computed_s = latency.of_nodes(way, starts, end) + latency.stage[way]
            seconds = computed_s + np.maximum(sent_s, self._returned_s(way, starts, end))
            prices = seconds
            if self.question.price is not None:
                own = self.by_price.stage_prices(way, state, starts, end, following)
                prices = own + float(self.by_price.hand_over[way, following, end]) + suffix.price
            yield from self._suffixes(way, state, starts, end, prices, seconds, suffix.path)

    def _returned_s(self, way: int, starts: Ints, end: int) -> Floats:
        """How long the results of stages [start, end) take to return; 0 where there is none."""
        chain = self.chain
        kind = chain.ways[way]
        results = chain.results[end] - chain.results[starts]
        sent_s = chain.leave_latency_s[way] + chain.leave_per_byte_s[way] * kind.replicas * results
        return np.where(chain.outputs[end] > chain.outputs[starts], sent_s, 0.0)

    def _suffixes(
        self,
        way: int,
        state: int,
        starts: Ints,
        end: int,
        prices: Floats,
        seconds: Floats,
        path: tuple[Placed, ...],
    ) -> Iterator[tuple[float, _Suffix]]:
        """Those suffixes whose bounds keep the limit, with their bound."""
        cell = (way, state, starts)
        bounds = self.by_price.table[cell] + prices
        if self.by_sum is not None:
            rate = self.question.rate
            dual = self.by_sum.table[cell] + prices + rate * seconds - rate * self.question.most_latency_s
            bounds = np.maximum(bounds, dual)
        allowed = np.isfinite(bounds) & (self.by_latency.table[cell] + seconds <= self.most_latency_s)
        for at in np.nonzero(allowed)[0]:
            start = int(starts[at])
            placed = (Placed(way, start, end), *path)
            yield float(bounds[at]), _Suffix(way, state, start, float(prices[at]), float(seconds[at]), placed)
