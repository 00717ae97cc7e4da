"""Users' metrics: `f(y_true, y_pred)`, registered under an alias."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from core.common.config import existing_file
from core.common.user_module import UserModule
from core.common.utils import one_line
from multiedge.errors import describe
from multiedge.formats.fields import Field
from multiedge.measurements import Measurements
from multiedge.metrics import METRICS, compute
from multiedge.metrics.validity import validity

_IANVS_NAMES = {"peak_memory": ("peak_memory_bytes", 1e-6), "peak_power": ("peak_power_w", 1.0)}
"""Ianvs's names of two metrics of the library, the first in MB."""

VERDICT = "verdict"
"""The name under which a test environment lists the verdict of each run."""


@dataclass(frozen=True)
class Metric:
    """A metric's name, which is its alias and the heading of its column, and the file that registers it."""

    name: str
    source: UserModule

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        """The metric's value; NaN for None, a plain number for a numpy scalar."""
        function = self.source.registered()
        with self.source.active():
            try:
                value = function(y_true, y_pred)
            except (Exception, SystemExit) as error:
                raise RuntimeError(f"metric '{self.name}' ({self.source.url}): {one_line(error)}") from error
        if value is None:
            return math.nan
        return value.item() if getattr(value, "size", 0) == 1 and hasattr(value, "item") else value


@dataclass(frozen=True)
class LibraryMetric:
    """A metric of the library by its own name or Ianvs's: of the measurements and the plan in the base model's result."""

    name: str

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        """The metric's value; NaN if it was not measured."""
        name, scale = _IANVS_NAMES.get(self.name, (self.name, 1.0))
        value = compute(_measurements(self.name, y_pred), [name], plan=y_pred.get("plan"))[name].value
        return math.nan if value is None else float(f"{value * scale:.4g}")


@dataclass(frozen=True)
class VerdictMetric:
    """VALID, DEGRADED or INVALID, by the measurements and the plan in the base model's result."""

    name: str = VERDICT

    def compute(self, y_true: Any, y_pred: Any) -> str:
        """The verdict, without its reasons."""
        return validity(_measurements(self.name, y_pred), y_pred.get("plan")).verdict


AnyMetric = Metric | LibraryMetric | VerdictMetric


def _measurements(metric: str, y_pred: Any) -> Measurements:
    measurements = y_pred.get("measurements") if isinstance(y_pred, Mapping) else None
    if not isinstance(measurements, Measurements):
        raise RuntimeError(
            f"metric '{metric}': expected predict to return a mapping with 'measurements' (and 'plan'), as"
            f" RunResult has them, got {describe(y_pred)}; or give the metric a url"
        )
    return measurements


def _library_metric(name: str, field: Field) -> LibraryMetric | VerdictMetric:
    known = [*METRICS.names(), *_IANVS_NAMES]
    if name == VERDICT:
        return VerdictMetric()
    if name not in known:
        near = get_close_matches(name, [*known, VERDICT], n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise field.error(f"expected the file of metric '{name}', since the library has none of that name{hint}")
    return LibraryMetric(name)


def parse_metrics(field: Field) -> tuple[AnyMetric, ...]:
    """The metrics of a test environment, in the order of the file."""
    metrics: dict[str, AnyMetric] = {}
    for entry in field.items(least=1):
        content = entry.record(("name", "url"))
        name, url = content["name"].name(), content["url"]
        if name in metrics:
            raise entry.error(f"metric '{name}' is listed twice")
        metrics[name] = Metric(name, UserModule(existing_file(url), name)) if url.given else _library_metric(name, url)
    return tuple(metrics.values())
