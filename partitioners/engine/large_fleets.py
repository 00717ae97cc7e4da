"""Plans of least latency, or under a limit on it, on fleets that are too large to search."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from partitioners.engine.chain import Chain, Placed
from partitioners.engine.fastest import expected, latency_prices
from partitioners.engine.priced import PricedSearch, Stages
from partitioners.engine.search import SLACK, Found
from partitioners.engine.suffixes import Best

NARROWEST = 1.001
"""A bisection ends when its ends are nearer than this ratio."""


def least_latency(chain: Chain, most_s: float, deadline_s: float) -> Best:
    """A plan with a bottleneck of at most `most_s`, and a bound on the latency of all of them, inf if there is none."""
    return PricedSearch(Stages(chain), latency_prices(chain), most_s).run(deadline_s)


def is_fast_enough(chain: Chain, path: Sequence[Placed], most_latency_s: float) -> bool:
    """Whether there is a path and its latency is at most that."""
    return bool(path) and expected(chain, path).latency_s <= most_latency_s * SLACK


def smallest_within(chain: Chain, most_latency_s: float, found: Found, deadline_s: float) -> Found:
    """From a path whose latency is at most `most_latency_s` to one with a smaller bottleneck, and to a larger bound.

    By bisection, first of plans, then of bottlenecks at which the relaxed problem has no plan that is fast enough.
    """
    search = _Within(chain, most_latency_s, found)
    search.improve((perf_counter() + deadline_s) / 2)
    search.raise_bound(deadline_s)
    return Found(search.path, search.seconds, min(search.low, search.seconds))


class _Within:
    def __init__(self, chain: Chain, most_latency_s: float, found: Found) -> None:
        self.chain, self.most_latency_s = chain, most_latency_s
        self.path, self.seconds, self.low = found.path, found.seconds, found.lower_bound_s
        self.stages, self.prices = Stages(chain), latency_prices(chain)

    def improve(self, deadline_s: float) -> None:
        """Plans for ever smaller bottlenecks."""
        low = self.low
        while self.seconds > low * NARROWEST and perf_counter() < deadline_s:
            middle = (low + self.seconds) / 2
            best = self._search(middle).run(deadline_s, self.most_latency_s * SLACK)
            if best.bound > self.most_latency_s * SLACK:
                self.low = max(self.low, middle)
            path = list(best.path)
            if is_fast_enough(self.chain, path, self.most_latency_s):
                self.path, self.seconds = path, self.chain.bottleneck_s(path)
            else:
                low = middle

    def raise_bound(self, deadline_s: float) -> None:
        """The largest bottleneck at which no plan is fast enough."""
        high = self.seconds
        while high > self.low * NARROWEST and perf_counter() < deadline_s:
            middle = (self.low + high) / 2
            if self._search(middle).bound(deadline_s, self.most_latency_s * SLACK) > self.most_latency_s * SLACK:
                self.low = middle
            else:
                high = middle

    def _search(self, seconds: float) -> PricedSearch:
        return PricedSearch(self.stages, self.prices, seconds)
