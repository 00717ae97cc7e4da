"""The figures of a run as JSON data, which `multiedge run` prints and writes beside the raw events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multiedge.measurements import Fault, Measurements
from multiedge.metrics import MetricValue
from multiedge.metrics.percentiles import percentile
from multiedge.report.encode import plain_data
from multiedge.report.results import RunResult

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
COUNTS = ("items", "completed", "failed", "lost", "duplicated")
MOST_ERRORS = 20


def summary(result: RunResult) -> dict[str, Any]:
    """The figures of a run that was measured; what was not measured is null. Of many errors the first MOST_ERRORS."""
    figures, measurements = result.results, result.measurements
    if measurements is None:
        raise ValueError("expected the result of a run, got one without measurements")
    data = {
        **{name: int(figures[name].value or 0) for name in COUNTS},
        "fps": figures["fps"].value,
        "latency_s": latencies(measurements),
        "recoveries": [_recovery(fault) for fault in measurements.faults],
        "errors": [{"item": item.item, "error": item.error} for item in measurements.items if item.error][:MOST_ERRORS],
        "wall_s": measurements.wall_s,
        "warmup_items": measurements.warmup_items,
        "validity": str(result.validity),
        "metrics": figures_json(figures),
        "memory": [vars(memory) for memory in measurements.memory],
        "settings": measurements.settings,
    }
    return dict(plain_data(data))


def figures_json(figures: Mapping[str, MetricValue]) -> dict[str, dict[str, Any]]:
    return {
        name: {"value": figure.value, "unit": figure.unit, "direction": figure.direction, "note": figure.note}
        for name, figure in figures.items()
    }


def latencies(measurements: Measurements) -> dict[str, float | None]:
    """Percentiles, mean and maximum of the latency of items that were answered, seconds; None if there are none."""
    seconds = sorted(item.latency_s for item in measurements.items if not item.error)
    if not seconds:
        return dict.fromkeys((*PERCENTILES, "mean", "max"))
    shares = {name: percentile(seconds, share) for name, share in PERCENTILES.items()}
    return {**shares, "mean": sum(seconds) / len(seconds), "max": seconds[-1]}


def _recovery(fault: Fault) -> dict[str, Any]:
    return {
        "kind": fault.kind,
        "device": fault.device,
        "detected_s": fault.detected_s,
        "recovery_s": None if fault.recovered_s is None else fault.recovered_s - fault.detected_s,
        "detail": fault.detail,
    }
