"""Energy and peak power from samples: plain functions of lists."""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def integrate_watts(at_s: Sequence[float], watts: Sequence[float]) -> list[float]:
    """Joules since the first sample, at each sample, with power taken as linear between samples.

    >>> integrate_watts([0, 1, 3], [2, 4, 4])
    [0.0, 3.0, 11.0]
    """
    total, joules = 0.0, [0.0] if at_s else []
    for index in range(1, len(at_s)):
        total += (watts[index] + watts[index - 1]) / 2.0 * (at_s[index] - at_s[index - 1])
        joules.append(total)
    return joules


def largest_average_w(at_s: Sequence[float], joules: Sequence[float], window_s: float) -> float | None:
    """The largest average power over any window of `window_s` (of the whole run, if that is shorter).

    `joules` is the energy so far at each time, taken as linear between samples. The window with the largest average then
    begins or ends at a sample, so only those are compared. None with fewer than two samples.

    >>> largest_average_w([0, 1, 2, 3], [0, 1, 11, 12], window_s=1)
    10.0
    """
    if len(at_s) < 2 or at_s[-1] <= at_s[0]:
        return None
    width = min(window_s, at_s[-1] - at_s[0])
    begins = [t for t in at_s if t + width <= at_s[-1]] + [t - width for t in at_s if t - width >= at_s[0]]
    return max((_at(at_s, joules, begin + width) - _at(at_s, joules, begin)) / width for begin in begins)


def _at(at_s: Sequence[float], values: Sequence[float], when: float) -> float:
    right = min(max(bisect.bisect_left(at_s, when), 1), len(at_s) - 1)
    left = right - 1
    share = (when - at_s[left]) / (at_s[right] - at_s[left]) if at_s[right] > at_s[left] else 1.0
    return float(values[left] + (values[right] - values[left]) * min(max(share, 0.0), 1.0))
