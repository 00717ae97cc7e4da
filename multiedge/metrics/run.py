"""The statistics of a run, one function each: (measurements, context) -> Found.

`context["plan"]` is a Plan or None; without one the figures that need it are None.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from multiedge.measurements import Energy, Item, Measurements
from multiedge.metrics.percentiles import early_stopping_estimate, percentile, samples_needed
from multiedge.metrics.value import Found, weakest
from multiedge.plan import Plan

Context = Mapping[str, Any]

CALLER_NAMES = ("", "caller")
"""Names that an event may give to the one who feeds items; what is exchanged with it is not the network's load."""


def completed(measurements: Measurements) -> list[Item]:
    """Items that were answered well, each once."""
    answered = {item.item: item for item in reversed(measurements.items) if not item.error and math.isfinite(item.done_s)}
    return [answered[number] for number in sorted(answered)]


def latencies_s(measurements: Measurements) -> list[float]:
    """Latency of each item that was answered well, from the moment it was due."""
    return [item.latency_s for item in completed(measurements)]


def plan_of(context: Context) -> Plan | None:
    plan: Plan | None = context.get("plan")
    return plan


def fps(measurements: Measurements, context: Context) -> Found:
    if measurements.wall_s <= 0:
        return Found(None, "the timed window is empty")
    return Found(len(completed(measurements)) / measurements.wall_s)


def fps_bound(measurements: Measurements, context: Context) -> Found:
    busy = {device: measurements.busy_s(device) for device in measurements.devices}
    device = max(busy, key=lambda name: busy[name], default="")
    if not device or busy[device] <= 0:
        return Found(None, "no device computed within the timed window")
    return Found(len(completed(measurements)) / busy[device], f"busiest device: {device}")


def fps_predicted(measurements: Measurements, context: Context) -> Found:
    plan = plan_of(context)
    bottleneck_s = plan.estimate.bottleneck_s if plan else 0.0
    return Found(1.0 / bottleneck_s, method="modelled") if bottleneck_s else Found(None, "no plan with an estimate")


def latency_mean(measurements: Measurements, context: Context) -> Found:
    values = latencies_s(measurements)
    return Found(math.fsum(values) / len(values)) if values else Found(None, "no item was answered")


def latency_max(measurements: Measurements, context: Context) -> Found:
    values = latencies_s(measurements)
    return Found(max(values)) if values else Found(None, "no item was answered")


def latency_percentile(p: float) -> Callable[[Measurements, Context], Found]:
    """The metric function of one percentile; None with 'n<662' where too few samples back it."""

    def latency(measurements: Measurements, context: Context) -> Found:
        values, needed = latencies_s(measurements), samples_needed(p)
        if len(values) < needed:
            return Found(None, f"n<{needed}: {len(values)} samples do not back a p{p * 100:g}")
        return Found(percentile(values, p), f"at most {early_stopping_estimate(values, p):.6g} s at 99 % confidence")

    return latency


def peak_memory(measurements: Measurements, context: Context) -> Found:
    peaks = {entry.device: entry.peak_bytes for entry in measurements.memory}
    return _largest(peaks, "; ".join(sorted({entry.method for entry in measurements.memory})))


def peak_gpu_memory(measurements: Measurements, context: Context) -> Found:
    peaks = {entry.device: entry.gpu_peak_bytes for entry in measurements.memory if entry.gpu_peak_bytes is not None}
    return _largest(peaks, "the process's own GPU memory") if peaks else Found(None, "no process with GPU memory")


def peak_power(measurements: Measurements, context: Context) -> Found:
    windows = sorted({entry.window_s for entry in measurements.energy if entry.window_s is not None})
    note = f"averaged over {', '.join(f'{window:g}' for window in windows)} s" if windows else ""
    return _largest({entry.device: entry.peak_w for entry in measurements.energy}, note, _method(measurements.energy))


def energy_per_item(measurements: Measurements, context: Context) -> Found:
    each = {entry.device: entry.joules for entry in measurements.energy}
    missing = [device for device, joules in each.items() if joules is None]
    count = len(completed(measurements))
    if not each or missing or not count:
        return Found(None, _missing(missing) if missing else "no energy was measured" if not each else "no item was answered")
    by_device = {device: joules / count for device, joules in each.items() if joules is not None}
    sources = ", ".join(sorted({entry.source for entry in measurements.energy if entry.source}))
    return Found(math.fsum(by_device.values()), sources, _method(measurements.energy), by_device)


def network_bytes(measurements: Measurements, context: Context) -> Found:
    sent: Counter[str] = Counter()
    for event in measurements.events:
        ends = (event.device, event.peer)
        if event.kind == "transfer" and event.device != event.peer and not set(ends) & set(CALLER_NAMES):
            sent[event.device] += event.nbytes
    count = len(completed(measurements))
    if not count:
        return Found(None, "no item was answered")
    return Found(sum(sent.values()) / count, by_device={device: nbytes / count for device, nbytes in sent.items()})


def utilisation(measurements: Measurements, context: Context) -> Found:
    if measurements.wall_s <= 0 or not measurements.devices:
        return Found(None, "no device computed within the timed window")
    each = {device: measurements.busy_s(device) / measurements.wall_s for device in measurements.devices}
    return Found(sum(each.values()) / len(each), by_device=each)


def partition_time(measurements: Measurements, context: Context) -> Found:
    plan = plan_of(context)
    seconds = context.get("partition_s", plan.solve_s if plan else None)
    return Found(float(seconds)) if seconds is not None else Found(None, "no plan was made")


def plan_gap(measurements: Measurements, context: Context) -> Found:
    plan = plan_of(context)
    if plan is None or plan.gap is None:
        return Found(None, "the plan proves no bound" if plan else "no plan was made")
    return Found(plan.gap, f"over {plan.bound_scope}" if plan.bound_scope else "", "modelled")


def items(measurements: Measurements, context: Context) -> Found:
    return Found(float(len({item.item for item in measurements.items})))


def completed_items(measurements: Measurements, context: Context) -> Found:
    return Found(float(len(completed(measurements))))


def failed(measurements: Measurements, context: Context) -> Found:
    wrong = [item for item in measurements.items if item.error]
    return Found(float(len(wrong)), wrong[0].error if wrong else "")


def lost(measurements: Measurements, context: Context) -> Found:
    """Items that were issued and of which nothing came back, neither a result nor an error."""
    seen = {item.item for item in measurements.items}
    unanswered = {item.item for item in measurements.items if not item.error and not math.isfinite(item.done_s)}
    issued = measurements.settings.get("issued")
    return Found(float(len(unanswered) + (max(0, int(issued) - len(seen)) if issued is not None else 0)))


def duplicated(measurements: Measurements, context: Context) -> Found:
    return Found(float(len(measurements.items) - len({item.item for item in measurements.items})))


def recovery(measurements: Measurements, context: Context) -> Found:
    down = [fault for fault in measurements.faults if fault.recovered_s is None]
    if not measurements.faults or down:
        return Found(None, f"never recovered: {down[0].kind} of {down[0].device}" if down else "no fault")
    return Found(max(float(fault.recovered_s or 0.0) - fault.detected_s for fault in measurements.faults))


def _largest(each: Mapping[str, float | None], note: str, method: str = "measured") -> Found:
    missing = [device for device, value in each.items() if value is None]
    if not each or missing:
        return Found(None, _missing(missing) if missing else "not measured", by_device=each)
    device, value = max(((name, float(value or 0.0)) for name, value in each.items()), key=lambda pair: pair[1])
    return Found(value, f"{device}; {note}" if note else device, method, each)


def _missing(devices: Sequence[str]) -> str:
    return f"not measured on {', '.join(devices)}"


def _method(energy: Sequence[Energy]) -> str:
    return weakest([entry.method for entry in energy])
