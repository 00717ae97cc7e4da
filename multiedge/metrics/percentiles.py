"""Percentiles, and how many samples it takes to claim one.

The rule is the early stopping of MLPerf Inference. Of n independent latencies, the number above the true p-quantile
is binomial with n trials and chance 1 - p. Seeing at most t of n above some value supports, at confidence c, that the
quantile lies below it once

    P[ Binomial(n, 1 - p) <= t ] <= 1 - c,        c = 0.99

With t = 1 that first holds at n = 64 for p90 and n = 662 for p99. With n samples at hand, the estimate that carries
the confidence is the t-th largest latency for the largest t that n still allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, islice, takewhile

CONFIDENCE = 0.99


def percentile(values: Sequence[float], p: float) -> float:
    """The sample at rank floor(n * p) of the ascending values (LoadGen's rule; a value that was seen, not a blend).

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5)
    3.0
    """
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * p), len(ordered) - 1)]


@lru_cache(maxsize=4096)
def samples_needed(p: float, over: int = 1, confidence: float = CONFIDENCE) -> int:
    """The smallest n for which `over` samples above a bound still back the claim that the p-quantile is within it.

    >>> samples_needed(0.90), samples_needed(0.99)
    (64, 662)
    """
    low, high = over, 2 * over + 2
    while not _backed(high, over, p, confidence):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _backed(middle, over, p, confidence) else (middle, high)
    return high


def _backed(count: int, over: int, p: float, confidence: float) -> bool:
    return math.fsum(islice(_chances(count, 1.0 - p), over + 1)) <= 1.0 - confidence


def _chances(trials: int, chance: float) -> Iterator[float]:
    """P[Binomial(trials, chance) = hits] for hits 0, 1, ...; by logarithms, since the first ones are too small for floats."""
    odds, none, ways = math.log(chance) - math.log1p(-chance), trials * math.log1p(-chance), math.lgamma(trials + 1)
    for hits in range(trials + 1):
        yield math.exp(none + hits * odds + ways - math.lgamma(hits + 1) - math.lgamma(trials - hits + 1))


def early_stopping_estimate(values: Sequence[float], p: float, confidence: float = CONFIDENCE) -> float | None:
    """A value that the p-quantile stays below with the given confidence; None with too few samples."""
    sums = accumulate(_chances(len(values), 1.0 - p))
    over = sum(1 for _ in takewhile(lambda chance: chance <= 1.0 - confidence, sums)) - 1
    return sorted(values)[len(values) - over] if over >= 1 else None


def within_bound(values: Sequence[float], bound: float, p: float, confidence: float = CONFIDENCE) -> bool:
    """True if the samples back the claim that the p-quantile is at most `bound`."""
    over = max(1, sum(value > bound for value in values))
    return _backed(len(values), over, p, confidence)
