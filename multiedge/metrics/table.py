"""Every metric by name, in the order in which tables show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from multiedge.errors import ConfigError, did_you_mean
from multiedge.measurements import Measurements
from multiedge.metrics import run
from multiedge.metrics.value import HIGHER, LOWER, Metric, MetricValue

_ALL = (
    Metric("fps", "items/s", HIGHER, "items completed per second of the timed window, seen end to end", run.fps),
    Metric("fps_bound", "items/s", HIGHER, "items completed per busy second of the busiest device: a bound", run.fps_bound),
    Metric("fps_predicted", "items/s", HIGHER, "throughput that the plan expects", run.fps_predicted),
    Metric("latency_mean_s", "s", LOWER, "mean time from when an item was due to its result", run.latency_mean),
    Metric("latency_p50_s", "s", LOWER, "latency that half of the items stay below", run.latency_percentile(0.50)),
    Metric("latency_p90_s", "s", LOWER, "latency that 90 % of the items stay below", run.latency_percentile(0.90)),
    Metric("latency_p99_s", "s", LOWER, "latency that 99 % of the items stay below", run.latency_percentile(0.99)),
    Metric("latency_max_s", "s", LOWER, "largest latency of any item", run.latency_max),
    Metric("peak_memory_bytes", "B", LOWER, "largest resident set of any device's worker process", run.peak_memory),
    Metric("peak_gpu_memory_bytes", "B", LOWER, "largest GPU memory of any device's worker process", run.peak_gpu_memory),
    Metric("peak_power_w", "W", LOWER, "largest windowed average power of any device", run.peak_power),
    Metric("energy_per_item_j", "J/item", LOWER, "energy per completed item, all devices, idle included", run.energy_per_item),
    Metric("network_bytes", "B/item", LOWER, "bytes sent between devices per completed item", run.network_bytes),
    Metric("utilisation", "1", HIGHER, "share of the timed window that devices compute, their mean", run.utilisation),
    Metric("partition_time_s", "s", LOWER, "time to find the plan", run.partition_time),
    Metric("plan_gap", "1", LOWER, "how far the plan may be from the best one: 0 is proven optimal", run.plan_gap),
    Metric("items", "items", HIGHER, "items issued in the timed window", run.items),
    Metric("completed", "items", HIGHER, "items answered well", run.completed_items),
    Metric("failed", "items", LOWER, "items answered with an error", run.failed),
    Metric("lost", "items", LOWER, "items of which nothing came back", run.lost),
    Metric("duplicated", "items", LOWER, "answers beyond the first to the same item", run.duplicated),
    Metric("recovery_s", "s", LOWER, "longest time from a fault's detection until items flowed again", run.recovery),
)

_FROM_ANSWERS = {
    "accuracy": ("1", HIGHER, "share of items whose largest score is their label's"),
    "accuracy_top1": ("1", HIGHER, "share of items whose largest score is their label's"),
    "accuracy_top5": ("1", HIGHER, "share of items whose label is among the five largest scores"),
    "fidelity": ("1", HIGHER, "share of items on which the cut model and the whole model agree"),
    "max_absolute_error": ("", LOWER, "largest difference between an output and the whole model's"),
    "max_relative_error": ("1", LOWER, "largest difference over the largest magnitude of that output"),
}
"""Figures that need the answers themselves (`multiedge.metrics.accuracy`), so that tables know their units too."""

_UNIT_SUFFIXES = {"_s": "s", "_bytes": "B", "_w": "W", "_j": "J", "_ms": "ms", "_mb": "MB"}

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}


def compute(measurements: Measurements, names: Iterable[str] | None = None, **context: Any) -> dict[str, MetricValue]:
    """The named figures of a run (all of them by default), in the order asked for.

    `context` may hold `plan` (a Plan) and `partition_s`. Raises ConfigError for a name
    that no metric has.
    """
    wanted = list(METRICS) if names is None else list(names)
    for name in wanted:
        if name not in METRICS:
            raise ConfigError(f"unknown metric '{name}'{did_you_mean(name, METRICS)}")
    return {name: METRICS[name].of(measurements, context) for name in wanted}


def describe(name: str) -> tuple[str, str, str]:
    """(unit, direction, description) of a figure by name.

    A user's metric may carry one of our names in a unit of its own, `latency_mean_ms` or `peak_memory`: it is
    described as ours is, and its unit is the one that its suffix says. Of other names nothing more is known.
    """
    if name in METRICS:
        metric = METRICS[name]
        return metric.unit, metric.direction, metric.description
    if name in _FROM_ANSWERS:
        return _FROM_ANSWERS[name]
    unit = next((unit for suffix, unit in _UNIT_SUFFIXES.items() if name.endswith(suffix)), "")
    ours = next((metric for metric in _ALL if _stem(metric.name) == _stem(name)), None)
    return (unit, ours.direction, ours.description) if ours else (unit, "", "")


def _stem(name: str) -> str:
    """The name without its unit: `peak_memory` of `peak_memory_bytes`."""
    return next((name.removesuffix(suffix) for suffix in _UNIT_SUFFIXES if name.endswith(suffix)), name)
