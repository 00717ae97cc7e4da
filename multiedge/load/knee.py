"""The highest rate that a server answers within a bound: rates double until one is too high, then the gap is halved."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from multiedge.report.results import RunResult

GROWTH = 2.0
CLOSE = 1.05
"""Two rates are close enough if the higher is at most so many times the lower."""
LEAST_REQUESTS = 1000
"""Of a step: fewer requests may not back a p99."""


@dataclass(frozen=True)
class Step:
    """A load test at one rate; whether its run was valid."""

    rate_per_s: float
    is_kept: bool
    result: RunResult


@dataclass(frozen=True)
class Knee:
    """What a ramp has found.

    Attributes:
        steps: Its load tests, in their order.
        kept_per_s: The highest rate whose run was valid; None if none was.
        broken_per_s: The lowest rate whose run was not valid; None if all were.
    """

    steps: tuple[Step, ...]

    @property
    def kept_per_s(self) -> float | None:
        return max((step.rate_per_s for step in self.steps if step.is_kept), default=None)

    @property
    def broken_per_s(self) -> float | None:
        return min((step.rate_per_s for step in self.steps if not step.is_kept), default=None)

    def __str__(self) -> str:
        if not self.steps:
            return "no rate was measured to its end"
        if self.kept_per_s is None:
            return f"no rate was kept; the lowest one was {self.broken_per_s:g}/s"
        if self.broken_per_s is None:
            return f"all rates were kept, up to {self.kept_per_s:g}/s"
        return f"the knee is between {self.kept_per_s:g} and {self.broken_per_s:g} requests/s"


def find_knee(measure: Callable[[float], RunResult], first_per_s: float, most_per_s: float) -> Knee:
    """Measures at rates from `first_per_s` to at most `most_per_s` until the knee is known to within CLOSE."""
    steps: list[Step] = []
    rate: float | None = first_per_s
    while rate is not None:
        result = measure(rate)
        if result.measurements and result.measurements.settings.get("is_whole") is False:
            break  # Ctrl-C
        steps.append(Step(rate, result.validity.valid, result))
        rate = next_rate({step.rate_per_s: step.is_kept for step in steps}, most_per_s)
    return Knee(tuple(steps))


def next_rate(kept: Mapping[float, bool], most_per_s: float) -> float | None:
    """The rate to measure next, by which rates were kept so far; None if the knee is known.

    >>> next_rate({100.0: True}, 1000.0), next_rate({100.0: True, 200.0: False}, 1000.0), next_rate({100.0: False}, 1000.0)
    (200.0, 141.0, None)
    """
    broken = min((rate for rate, is_kept in kept.items() if not is_kept), default=None)
    low = max((rate for rate, is_kept in kept.items() if is_kept and (broken is None or rate < broken)), default=None)
    if low is None or low >= most_per_s:
        return None
    if broken is None:
        return min(low * GROWTH, most_per_s)
    middle = float(f"{math.sqrt(low * broken):.3g}")
    return middle if low * CLOSE < broken and low < middle < broken else None
