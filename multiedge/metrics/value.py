"""What one figure of a run is, and what a metric is that gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from multiedge.measurements import Measurements

HIGHER, LOWER = "higher", "lower"

METHODS = ("measured", "modelled", "none")
"""From the strongest to the weakest: a total takes the weakest of its members."""


@dataclass(frozen=True)
class MetricValue:
    """One figure. `value` is None where it was not measured, and `note` says why; `direction` is the better one.
    `by_device` holds the figure for each device where there is one."""

    value: float | None
    unit: str
    direction: str
    description: str
    note: str = ""
    method: str = "measured"
    by_device: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What a metric's function found: the part of a MetricValue that differs from run to run."""

    value: float | None
    note: str = ""
    method: str = "measured"
    by_device: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """A named statistic: `function(measurements, context)` gives what was found; context holds 'plan' if there is one."""

    name: str
    unit: str
    direction: str
    description: str
    function: Callable[[Measurements, Mapping[str, Any]], Found]

    def of(self, measurements: Measurements, context: Mapping[str, Any]) -> MetricValue:
        found = self.function(measurements, context)
        method = found.method if found.value is not None else "none"
        return MetricValue(found.value, self.unit, self.direction, self.description, found.note, method, found.by_device)


def weakest(methods: list[str]) -> str:
    """The method that a total of figures may claim.

    >>> weakest(["measured", "modelled"])
    'modelled'
    """
    return max(methods, key=lambda method: METHODS.index(method) if method in METHODS else len(METHODS), default="none")
