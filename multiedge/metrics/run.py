"""The statistics of a run, one metric each. Without a plan in the context those that need one are None."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from multiedge.fleet import CALLER_NAME
from multiedge.measurements import Energy, Item, Measurements
from multiedge.metrics.percentiles import early_stopping_estimate, percentile, samples_needed
from multiedge.metrics.value import HIGHER, LOWER, Context, Figure, Metric, metric, weakest
from multiedge.quantity import seconds_text

CALLER_NAMES = ("", CALLER_NAME)
"""Names of the caller in events; messages from and to it are not traffic between devices."""


def completed(measurements: Measurements) -> list[Item]:
    """Items that were answered without an error, each once."""
    answered = {item.item: item for item in reversed(measurements.items) if not item.error and math.isfinite(item.done_s)}
    return [answered[number] for number in sorted(answered)]


def latencies_s(measurements: Measurements) -> list[float]:
    """Latency of each completed item, from the moment it was due."""
    return [item.latency_s for item in completed(measurements)]


@metric("items/s", HIGHER, "items completed per second of the timed window, measured end to end")
def fps(measurements: Measurements, context: Context) -> Figure:
    if measurements.wall_s <= 0:
        return Figure(None, "the timed window is empty")
    return Figure(len(completed(measurements)) / measurements.wall_s)


@metric("items/s", HIGHER, "items completed per busy second of the busiest device: a bound")
def fps_bound(measurements: Measurements, context: Context) -> Figure:
    busy = {device: measurements.busy_s(device) for device in measurements.devices}
    device = max(busy, key=lambda name: busy[name], default="")
    if not device or busy[device] <= 0:
        return Figure(None, "no device computed within the timed window")
    return Figure(len(completed(measurements)) / busy[device], f"busiest device: {device}")


@metric("s", LOWER, "mean time from when an item was due to its result")
def latency_mean(measurements: Measurements, context: Context) -> Figure:
    values = latencies_s(measurements)
    return Figure(math.fsum(values) / len(values)) if values else Figure(None, "no item was answered")


@metric("s", LOWER, "largest latency of any item")
def latency_max(measurements: Measurements, context: Context) -> Figure:
    values = latencies_s(measurements)
    return Figure(max(values)) if values else Figure(None, "no item was answered")


def latency_percentile(p: float) -> Metric:
    """The metric of one percentile: None where too few samples back it."""

    def latency(measurements: Measurements, context: Context) -> Figure:
        values, needed = latencies_s(measurements), samples_needed(p)
        if len(values) < needed:
            note = f"n<{needed}: {len(values)} samples do not back a p{p * 100:g}"
            return Figure(None, note, samples_needed=needed)
        most_s = early_stopping_estimate(values, p)
        note = "" if most_s is None else f"at most {seconds_text(most_s)} at 99 % confidence"
        return Figure(percentile(values, p), note)

    return Metric("s", LOWER, f"latency that {'half' if p == 0.5 else f'{p * 100:g} %'} of the items stay below", latency)


latency_p50, latency_p90, latency_p99 = map(latency_percentile, (0.50, 0.90, 0.99))


@metric("B", LOWER, "largest resident set of any device's worker process")
def peak_memory(measurements: Measurements, context: Context) -> Figure:
    peaks = {entry.device: entry.peak_bytes for entry in measurements.memory}
    return _largest(peaks, "; ".join(sorted({entry.method for entry in measurements.memory})))


@metric("B", LOWER, "largest GPU memory of any device's worker process")
def peak_gpu_memory(measurements: Measurements, context: Context) -> Figure:
    peaks = {entry.device: entry.gpu_peak_bytes for entry in measurements.memory if entry.gpu_method}
    methods = "; ".join(sorted({entry.gpu_method for entry in measurements.memory if entry.gpu_method}))
    return _largest(peaks, methods) if peaks else Figure(None, "no device with a GPU")


@metric("W", LOWER, "largest windowed average power of any device")
def peak_power(measurements: Measurements, context: Context) -> Figure:
    windows = sorted({entry.window_s for entry in measurements.energy if entry.window_s is not None})
    note = f"averaged over {', '.join(map(seconds_text, windows))}" if windows else ""
    return _largest({entry.device: entry.peak_w for entry in measurements.energy}, note, _method(measurements.energy))


@metric("J/item", LOWER, "energy per completed item, all devices, idle included")
def energy_per_item(measurements: Measurements, context: Context) -> Figure:
    each = {entry.device: entry.joules for entry in measurements.energy}
    missing = [device for device, joules in each.items() if joules is None]
    count = len(completed(measurements))
    if not each or missing or not count:
        return Figure(None, _missing(missing) if missing else "no energy was measured" if not each else "no item was answered")
    by_device = {device: joules / count for device, joules in each.items() if joules is not None}
    sources = ", ".join(sorted({entry.source for entry in measurements.energy if entry.source}))
    return Figure(math.fsum(by_device.values()), sources, _method(measurements.energy), by_device)


@metric("B/item", LOWER, "bytes sent between devices per completed item")
def network_bytes(measurements: Measurements, context: Context) -> Figure:
    sent: Counter[str] = Counter({total.device: total.sent_bytes for total in measurements.totals if total.sent_bytes})
    for event in () if measurements.totals else measurements.events:
        ends = (event.device, event.peer)
        if event.kind == "transfer" and event.device != event.peer and not set(ends) & set(CALLER_NAMES):
            sent[event.device] += event.nbytes
    count = len(completed(measurements))
    if not count:
        return Figure(None, "no item was answered")
    if len(measurements.devices) != 1 and not any(event.kind == "transfer" for event in measurements.events):
        return Figure(None, "no transfer was recorded")
    return Figure(sum(sent.values()) / count, by_device={device: nbytes / count for device, nbytes in sent.items()})


@metric("1", HIGHER, "share of the timed window that devices compute, their mean")
def utilisation(measurements: Measurements, context: Context) -> Figure:
    if measurements.wall_s <= 0 or not measurements.devices:
        return Figure(None, "no device computed within the timed window")
    each = {device: measurements.busy_s(device) / measurements.wall_s for device in measurements.devices}
    return Figure(sum(each.values()) / len(each), by_device=each)


@metric("s", LOWER, "time to find the plan")
def partition_time(measurements: Measurements, context: Context) -> Figure:
    plan = context.plan
    if plan is None or plan.solve_s == 0:
        return Figure(None, "the plan has no time" if plan else "no plan was made")
    return Figure(plan.solve_s)


@metric("1", LOWER, "how far the plan may be from the best one: 0 is proven optimal")
def plan_gap(measurements: Measurements, context: Context) -> Figure:
    plan = context.plan
    if plan is None or plan.gap is None:
        return Figure(None, "the plan proves no bound" if plan else "no plan was made")
    return Figure(plan.gap, f"over {plan.bound_scope}" if plan.bound_scope else "", "modelled")


@metric("items", HIGHER, "items issued in the timed window")
def items(measurements: Measurements, context: Context) -> Figure:
    return Figure(len({item.item for item in measurements.items}))


@metric("items", HIGHER, "items answered without an error")
def completed_items(measurements: Measurements, context: Context) -> Figure:
    return Figure(len(completed(measurements)))


@metric("items", LOWER, "items answered with an error")
def failed(measurements: Measurements, context: Context) -> Figure:
    wrong = [item for item in measurements.items if item.error]
    return Figure(len(wrong), wrong[0].error if wrong else "")


@metric("items", LOWER, "items that got neither an answer nor an error")
def lost(measurements: Measurements, context: Context) -> Figure:
    unanswered = {item.item for item in measurements.items if not item.error and not math.isfinite(item.done_s)}
    return Figure(len(unanswered))


@metric("items", LOWER, "answers beyond the first to the same item")
def duplicated(measurements: Measurements, context: Context) -> Figure:
    return Figure(len(measurements.items) - len({item.item for item in measurements.items}))


@metric("s", LOWER, "longest time from a fault's detection until items flowed again")
def recovery(measurements: Measurements, context: Context) -> Figure:
    faults = measurements.failures
    down = [fault for fault in faults if fault.recovered_s is None]
    if not faults or down:
        return Figure(None, f"never recovered: {down[0].kind} of {down[0].device}" if down else "no fault")
    return Figure(max(float(fault.recovered_s or 0.0) - fault.detected_s for fault in faults))


def _largest(each: Mapping[str, float | None], note: str, method: str = "measured") -> Figure:
    missing = [device for device, value in each.items() if value is None]
    if not each or missing:
        return Figure(None, _missing(missing) if missing else "not measured", by_device=each)
    device, value = max(((name, float(value or 0.0)) for name, value in each.items()), key=lambda pair: pair[1])
    return Figure(value, f"{device}; {note}" if note else device, method, each)


def _missing(devices: Sequence[str]) -> str:
    return f"no figure for {', '.join(devices)}"


def _method(energy: Sequence[Energy]) -> str:
    return weakest([entry.method for entry in energy])
