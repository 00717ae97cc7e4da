"""Metrics of how the run went, each a figure of `multiedge.metrics` under the name and in the unit of the leaderboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sedna.common.class_factory import ClassFactory, ClassType

from multiedge.metrics import MetricValue, compute

MB, MS, PERCENT = 1e-6, 1e3, 100.0
SCALED = {
    "fps": ("fps", 1.0),
    "fps_bound": ("fps_bound", 1.0),
    "fps_predicted": ("fps_predicted", 1.0),
    "latency_mean_ms": ("latency_mean_s", MS),
    "peak_memory": ("peak_memory_bytes", MB),
    "peak_power": ("peak_power_w", 1.0),
    "energy_per_item": ("energy_per_item_j", 1.0),
    "network_mb": ("network_bytes", MB),
    "utilisation": ("utilisation", PERCENT),
    "partition_time_ms": ("partition_time_s", MS),
    "plan_gap": ("plan_gap", PERCENT),
    "items_lost": ("lost", 1.0),
    "recovery_s": ("recovery_s", 1.0),
}


def value_of(name: str, y_pred: dict[str, Any]) -> MetricValue:
    """The figure of that name, with the run's plan beside it."""
    return compute(y_pred["measurements"], [name], plan=y_pred["plan"])[name]


def register(alias: str, name: str, scale: float) -> Callable[[Any, dict[str, Any]], float | None]:
    """Registers the figure `name`, times `scale`, as the metric `alias`; not measured is None."""

    def metric(y_true: Any, y_pred: dict[str, Any]) -> float | None:
        value = value_of(name, y_pred).value
        return None if value is None else float(f"{value * scale:.4g}")

    ClassFactory.register(ClassType.GENERAL, alias=alias)(metric)
    return metric


for _alias, (_name, _scale) in SCALED.items():
    register(_alias, _name, _scale)


@ClassFactory.register(ClassType.GENERAL, alias="power_method")
def power_method(y_true: Any, y_pred: dict[str, Any]) -> str:
    """How peak_power was come by: measured, modelled from devices.yaml, or none."""
    return value_of("peak_power_w", y_pred).method
