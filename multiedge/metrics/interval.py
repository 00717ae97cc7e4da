"""How certain a figure of repeated runs is.

A host that is busy slows a run by a factor, so the interval of positive figures is taken on their logarithms. What varies from
run to run averages out over runs; a host that becomes slower or faster over several runs does not. The two are distinguished by
the differences between successive runs, in which a slow change is not seen (J. von Neumann: Distribution of the ratio of the
mean square successive difference to the variance, Annals of Mathematical Statistics 12(4), 1941). What varies more slowly than
all of the runs, such as another day, no interval can hold.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise

Interval = tuple[float, float]


def interval_95(values: Sequence[float]) -> Interval | None:
    """The 95 % interval of repeated runs, in the order in which they ran: of their geometric mean if all are positive,
    otherwise of their mean. None for fewer than two.

    It is Student's, with the variance of the mean `fast / n + slow`: `fast` is the variance by successive differences, at most
    that of all values, and `slow` is the rest of it.

    >>> [round(end, 2) for end in interval_95([10.0, 12.0, 10.0, 12.0]) or ()]
    [9.27, 12.95]
    >>> [round(end, 2) for end in interval_95([10.0, 10.0, 12.0, 12.0]) or ()]
    [8.41, 14.28]
    """
    return _in_logarithms(values, _mean_of_runs)


def sample_interval_95(values: Sequence[float]) -> Interval | None:
    """The same for values whose order means nothing, such as those of seeds or models: Student's interval.

    >>> [round(end, 2) for end in sample_interval_95([8.0, 10.0, 12.5]) or ()]
    [5.74, 17.41]
    """
    return _in_logarithms(values, _mean_of_sample)


def _in_logarithms(values: Sequence[float], interval: Callable[[Sequence[float]], Interval]) -> Interval | None:
    if len(values) < 2:
        return None
    if min(values) == max(values):  # exactly equal, also after a logarithm and back
        return values[0], values[0]
    if min(values) <= 0.0:
        return interval(values)
    low, high = interval([math.log(value) for value in values])
    return math.exp(low), math.exp(high)


def _mean_of_runs(values: Sequence[float]) -> Interval:
    variance = statistics.variance(values)
    successive = statistics.fmean((after - before) ** 2 for before, after in pairwise(values)) / 2
    fast = min(variance, successive)
    return _student(values, fast / len(values) + variance - fast)


def _mean_of_sample(values: Sequence[float]) -> Interval:
    return _student(values, statistics.variance(values) / len(values))


def _student(values: Sequence[float], variance_of_mean: float) -> Interval:
    from scipy.special import stdtrit  # imported late: a single run needs no scipy

    mean, half = statistics.fmean(values), float(stdtrit(len(values) - 1, 0.975)) * math.sqrt(variance_of_mean)
    return mean - half, mean + half
