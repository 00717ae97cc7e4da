"""How certain a figure of repeated runs is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def interval_95(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95 % interval of the mean of independent runs; None for fewer than two.

    >>> low, high = interval_95([9.0, 10.0, 11.0])
    >>> round(low, 2), round(high, 2)
    (7.52, 12.48)
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # imported late: a single run needs no scipy

    mean = statistics.fmean(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half
