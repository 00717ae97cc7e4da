"""The figures of a run as JSON data, which `multiedge run` prints and writes beside the raw events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from multiedge.measurements import Fault, HostLoad
from multiedge.metrics import MetricValue
from multiedge.report.encode import plain_data
from multiedge.report.results import RunResult, validity_to_json

LATENCIES = ("p50", "p90", "p99", "mean", "max")
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
        "latency_s": latencies(figures),
        "recoveries": [_recovery(fault) for fault in measurements.faults],
        "errors": [{"item": item.item, "error": item.error} for item in measurements.items if item.error][:MOST_ERRORS],
        "error_counts": dict(Counter(item.error for item in measurements.items if item.error).most_common()),
        "free_batch": list(result.plan.free_batch) if result.plan else [],
        "measured_sizes": list(result.plan.measured_sizes) if result.plan else [],
        "batch": result.plan.batch if result.plan else 1,
        "wall_s": measurements.wall_s,
        "warmup_items": measurements.warmup_items,
        "validity": str(result.validity),
        "verdict": validity_to_json(result.validity),
        "host": asdict(measurements.host) if measurements.host else None,
        "metrics": figures_json(figures),
        "repeats": result.repeats,
        "memory": [vars(memory) for memory in measurements.memory],
        "runtimes": [asdict(ran) for ran in measurements.runtimes],
        "settings": measurements.settings,
    }
    return dict(plain_data(data))


def figures_json(figures: Mapping[str, MetricValue]) -> dict[str, dict[str, Any]]:
    return {
        name: {"value": figure.value, "unit": figure.unit, "direction": figure.direction, "note": figure.note}
        | ({"interval": list(figure.interval)} if figure.interval else {})
        for name, figure in figures.items()
    }


def latencies(figures: Mapping[str, MetricValue]) -> dict[str, float | None]:
    """Percentiles, mean and maximum of the latency, seconds; None where too few items back one."""
    return {name: figures[f"latency_{name}_s"].value for name in LATENCIES}


def _recovery(fault: Fault) -> dict[str, Any]:
    return {
        "kind": fault.kind,
        "device": fault.device,
        "detected_s": fault.detected_s,
        "recovery_s": None if fault.recovered_s is None else fault.recovered_s - fault.detected_s,
        "detail": fault.detail,
    }


def host_line(host: HostLoad) -> str:
    """The load of this machine during the run, in one line."""
    workers = sum(host.workers_s.values())
    shares = [("workers", workers), ("caller", host.caller_s), ("other work", host.other_s)]
    if host.capacity_s <= 0:
        return f"host: {host.cores} processors, no time measured"
    parts = [f"{what} {seconds / host.capacity_s:.0%}" for what, seconds in shares]
    steal_share = host.steal_s / host.capacity_s
    stolen = f" (other virtual machines {steal_share:.0%})" if steal_share >= 0.005 else ""
    return f"host: {host.cores} processors: {', '.join(parts)}{stolen}, idle {host.idle_share:.0%}"
