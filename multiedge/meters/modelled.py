"""Modelled energy of a device, from its declared watts.

    E = P_idle * wall + (P_busy - P_idle) * busy + J_per_byte * bytes sent

Idle power is charged on every device for the whole timed window, so the bubbles of a pipeline cost energy. The
modelled peak is the largest average over a window: P_idle + u * (P_busy - P_idle), where u is the busy share of the
busiest window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from multiedge.fleet import Device, Fleet
from multiedge.measurements import Energy, Measurements
from multiedge.meters.windows import largest_average_w

WINDOW_S = 1.0


def modelled_energy(measurements: Measurements, device: Device, window_s: float = WINDOW_S) -> Energy:
    """Energy of `device` in the timed window by its declared watts; method 'none' and None where it declares none."""
    if device.power is None:
        return Energy(device.name, None, None, None, method="none", source="no watts declared for this device")
    idle_w, busy_w = device.power.idle_w, device.power.busy_w
    spans = measurements.busy_spans(device.name)
    wall_s, busy_s = measurements.wall_s, sum(stop - start for start, stop in spans)
    joules = idle_w * wall_s + (busy_w - idle_w) * busy_s + device.joules_per_byte * _sent_bytes(measurements, device.name)
    width = min(window_s, wall_s)
    peak_w = idle_w + busiest_share(spans, measurements.start_s, measurements.stop_s, width) * (busy_w - idle_w)
    mean_w = joules / wall_s if wall_s > 0 else None
    return Energy(device.name, joules, peak_w, mean_w, "modelled", device.power.source, "device", None, width)


def busiest_share(spans: Sequence[tuple[float, float]], start: float, stop: float, window_s: float) -> float:
    """The largest share of a window of `window_s` within [start, stop] that disjoint ascending `spans` cover."""
    at_s, covered_s, busy_s = [start], [0.0], 0.0
    for begin, end in spans:
        at_s += [begin, end]
        covered_s += [busy_s, busy_s + end - begin]
        busy_s += end - begin
    return largest_average_w([*at_s, stop], [*covered_s, busy_s], window_s) or 0.0


def _sent_bytes(measurements: Measurements, device: str) -> int:
    return sum(event.nbytes for event in measurements.events if (event.kind, event.device) == ("transfer", device))


def with_energy(measurements: Measurements, fleet: Fleet) -> Measurements:
    """`measurements` with an Energy for every device that took part: measured where it was, otherwise modelled."""
    measured = {entry.device: entry for entry in measurements.energy if entry.joules is not None}
    names = [name for name in fleet.names if name in measurements.devices or name in measured]
    energy = [measured.get(name) or modelled_energy(measurements, fleet.device(name)) for name in names]
    outside = [entry for name, entry in measured.items() if name not in fleet.by_name]
    return replace(measurements, energy=(*energy, *outside))
