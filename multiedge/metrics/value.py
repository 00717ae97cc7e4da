"""What one figure of a run is, and what a metric is that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real

from multiedge.errors import ConfigError, MultiedgeError, describe, one_line
from multiedge.measurements import Measurements
from multiedge.plan import Plan

HIGHER, LOWER = "higher", "lower"

METHODS = ("measured", "modelled", "none")
"""From the strongest to the weakest: a total takes the weakest of its members."""


@dataclass(frozen=True)
class MetricValue:
    """One figure with its unit and the better direction, 'higher' or 'lower'.

    `value` is None where it was not measured, and `note` states why; `samples_needed` is how many samples the figure needs
    where there are too few. `by_device` holds the figure for each device where there is one. Of repeated runs, `value` is the
    median and `interval` their 95 % interval (`multiedge.metrics.interval`); None for a single run.
    """

    value: float | None
    unit: str
    direction: str
    description: str
    note: str = ""
    method: str = "measured"
    by_device: Mapping[str, float | None] = field(default_factory=dict)
    samples_needed: int | None = None
    interval: tuple[float, float] | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The values between which the figure is: its interval, otherwise itself; None if it was not measured."""
        return self.interval or (None if self.value is None else (self.value, self.value))


@dataclass(frozen=True)
class Figure:
    """What a metric returns: the part of a MetricValue that differs from run to run."""

    value: float | None
    note: str = ""
    method: str = "measured"
    by_device: Mapping[str, float | None] = field(default_factory=dict)
    samples_needed: int | None = None


@dataclass(frozen=True)
class Context:
    """What is known besides the measurements: the plan that ran, if there is one."""

    plan: Plan | None = None


Compute = Callable[[Measurements, Context], Figure | float | None]


@dataclass(frozen=True)
class Metric:
    """A statistic of a run. `compute(measurements, context)` returns a number, None if it was not measured, or a Figure."""

    unit: str
    direction: str
    description: str
    compute: Compute

    def __post_init__(self) -> None:
        if self.direction not in (HIGHER, LOWER):
            raise ConfigError(f"{self.place}: expected the direction '{HIGHER}' or '{LOWER}', got {describe(self.direction)}")

    @property
    def place(self) -> str:
        """The function that computes it, for errors."""
        return f"metric {self.compute.__module__}.{self.compute.__qualname__}"

    def __call__(self, measurements: Measurements, context: Context | None = None) -> Figure:
        """The figure of a run; ConfigError if the function returns no figure."""
        result = self.compute(measurements, context or Context())
        figure = result if isinstance(result, Figure) else Figure(result)
        if figure.value is None:
            return figure
        if not isinstance(figure.value, Real) or isinstance(figure.value, bool):
            raise ConfigError(f"{self.place}: expected a number, None or a Figure, got {describe(figure.value)}")
        return figure

    def of(self, measurements: Measurements, context: Context | None = None) -> MetricValue:
        """The figure of a run with its unit, direction and description.

        An exception of a function from outside does not cost the run: the figure is None and the note holds the error.
        """
        try:
            figure = self(measurements, context)
        except MultiedgeError:
            raise
        except Exception as error:
            figure = Figure(None, f"failed: {type(error).__name__}: {one_line(error)}")
        return MetricValue(
            value=None if figure.value is None else float(figure.value),
            unit=self.unit,
            direction=self.direction,
            description=self.description,
            note=figure.note,
            method="none" if figure.value is None else figure.method,
            by_device=figure.by_device,
            samples_needed=figure.samples_needed,
        )


def metric(unit: str, direction: str, description: str) -> Callable[[Compute], Metric]:
    """A decorator that makes a Metric of a function `(measurements, context)`.

    >>> @metric("items", HIGHER, "items issued in the timed window")
    ... def issued(measurements, context):
    ...     return len(measurements.items)
    >>> issued(Measurements((), (), 0.0, 1.0)).value
    0
    """
    return lambda compute: Metric(unit, direction, description, compute)


def weakest(methods: list[str]) -> str:
    """The method that a total of figures may claim.

    >>> weakest(["measured", "modelled"])
    'modelled'
    """
    return max(methods, key=lambda method: METHODS.index(method) if method in METHODS else len(METHODS), default="none")
