"""Which requests are due when, fixed before the first is sent; and how random a row of times is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

import numpy as np
import numpy.typing as npt

from multiedge.errors import ConfigError
from multiedge.load.patterns import Distribution, Pattern

MOST_REQUESTS = 10_000_000
WINDOW_S = 0.01
"""The width of the windows in which arrivals are counted for `dispersion`."""

MOST_INTERVALS = 500
"""How many of the times between requests are tested: more would show the microseconds that sending takes, and nothing else."""

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """All requests of a run.

    Attributes:
        due_s: Seconds from the start at which each is due, ascending.
        samples: Which of the target's requests each one sends.
    """

    due_s: Times
    samples: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.due_s)

    @property
    def rate_per_s(self) -> float | None:
        """The mean rate; None for requests that are all due at the same time."""
        width_s = float(self.due_s[-1] - self.due_s[0])
        return (len(self) - 1) / width_s if width_s > 0 else None


def make_schedule(
    pattern: Pattern, seed: int, samples: int, *, requests: int | None = None, seconds: float | None = None
) -> Schedule:
    """The first `requests` of a pattern, those due in the first `seconds`, or, with both, what ends earlier.

    Each request sends one of `samples` at random, as in the performance mode of MLPerf's LoadGen. Raises ConfigError if none is
    due in that time, or more than MOST_REQUESTS are.
    """
    times = pattern.times_s(seed)
    if seconds is not None:
        times = takewhile(lambda due_s: due_s < seconds, times)
    most = MOST_REQUESTS + 1 if requests is None else min(requests, MOST_REQUESTS + 1)
    due_s = np.fromiter(islice(times, most), np.float64)
    if not len(due_s):
        raise ConfigError("no request is due in this time; give more seconds or a higher rate")
    if len(due_s) > MOST_REQUESTS:
        raise ConfigError(f"expected at most {MOST_REQUESTS:,} requests, got more; give fewer seconds or requests")
    return Schedule(due_s, np.random.default_rng(seed).integers(0, samples, len(due_s)))


def each_once(schedule: Schedule, samples: int) -> Schedule:
    """The first `samples` of a schedule, each of which sends another sample: LoadGen's accuracy mode."""
    return Schedule(schedule.due_s[:samples], np.arange(min(samples, len(schedule))))


def dispersion(times_s: Sequence[float] | Times, window_s: float = WINDOW_S) -> float | None:
    """Variance over mean of the number of arrivals in windows from time 0: 1 for Poisson, 0 for evenly spaced ones, more for
    bursts. None for times that do not fill two windows."""
    given = np.asarray(times_s, np.float64)
    windows = int(given.max() / window_s) if len(given) else 0
    if windows < 2:
        return None
    counts = np.bincount((given / window_s).astype(np.int64), minlength=windows)[:windows]  # what follows fills no window
    return float(counts.var(ddof=1) / counts.mean()) if counts.any() else None


def fit_probability(times_s: Sequence[float] | Times, intervals: Distribution) -> float | None:
    """p of the Kolmogorov-Smirnov test that the times between arrivals are from `intervals`; None for fewer than two arrivals.

    Of more than MOST_INTERVALS times, so many are tested, taken evenly.

    By the limit for many arrivals, with the correction of Stephens (1970) for few.
    """
    from scipy.special import kolmogorov

    all_s = np.diff(np.sort(np.asarray(times_s, np.float64)))
    between_s = np.sort(all_s[:: math.ceil(len(all_s) / MOST_INTERVALS) or 1])
    count = len(between_s)
    if not count:
        return None
    expected = intervals(between_s)
    above = (np.arange(1, count + 1) / count - expected).max()
    below = (expected - np.arange(count) / count).max()
    root = math.sqrt(count)
    return float(kolmogorov((root + 0.12 + 0.11 / root) * max(above, below)))
