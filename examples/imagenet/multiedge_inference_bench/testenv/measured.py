"""Metrics of the run, each one of `multiedge.metrics` with its own name and unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sedna.common.class_factory import ClassFactory, ClassType

from multiedge.metrics import METRICS, MetricValue, compute

OTHER_UNITS = {"peak_memory": ("peak_memory_bytes", 1e-6), "peak_power": ("peak_power_w", 1.0)}
"""Ianvs's names for two of them, the first in MB."""


def value_of(name: str, y_pred: dict[str, Any]) -> MetricValue:
    """The metric of this name, computed with the plan of the run."""
    return compute(y_pred["measurements"], [name], plan=y_pred["plan"])[name]


def register(alias: str, name: str, scale: float) -> Callable[[Any, dict[str, Any]], float | None]:
    """Registers the metric `name`, times `scale`, as `alias`; not measured is None."""

    def metric(y_true: Any, y_pred: dict[str, Any]) -> float | None:
        value = value_of(name, y_pred).value
        return None if value is None else float(f"{value * scale:.4g}")

    ClassFactory.register(ClassType.GENERAL, alias=alias)(metric)
    return metric


for _alias, (_name, _scale) in {**{name: (name, 1.0) for name in METRICS.names()}, **OTHER_UNITS}.items():
    register(_alias, _name, _scale)


@ClassFactory.register(ClassType.GENERAL, alias="power_method")
def power_method(y_true: Any, y_pred: dict[str, Any]) -> str:
    """The method of peak_power: measured, modelled from devices.yaml, or none."""
    return value_of("peak_power_w", y_pred).method
