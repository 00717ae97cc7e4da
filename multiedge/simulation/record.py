"""What a simulated run records: totals of each device as they come, and events up to a limit.

An hour of traffic on 1,000 stages has millions of events; a chart needs the first ones.
"""

from __future__ import annotations

from multiedge.fleet import Device
from multiedge.measurements import DeviceTotal, Energy, Event

MOST_EVENTS = 50_000
"""Events of computing and transfers that are kept. The first one of each stage on each device and of each message is kept in
any case, and so are loads and new plans."""


class Meter:
    """Computing and sending of one device in the timed window, without the warm-up items."""

    __slots__ = ("_begin_s", "_closed_s", "_end_s", "sent_bytes")

    def __init__(self) -> None:
        self.sent_bytes = 0
        self._closed_s = 0.0
        self._begin_s = self._end_s = 0.0

    def compute(self, start_s: float, stop_s: float, window_s: float) -> None:
        """Adds a span, which begins when the last one ended or later. `window_s` is the begin of the timed window."""
        if start_s > self._end_s:
            begin_s = self._begin_s if self._begin_s > window_s else window_s
            if self._end_s > begin_s:
                self._closed_s += self._end_s - begin_s
            self._begin_s = start_s
        self._end_s = stop_s

    def busy_s(self, window_s: float) -> float:
        """Seconds of computing in the timed window, which begins at `window_s`."""
        return self._closed_s + max(0.0, self._end_s - max(self._begin_s, window_s))

    def begin_window(self) -> None:
        """Drops what was before the timed window, which begins now."""
        self._closed_s = 0.0


class Record:
    """Events and totals of a run. Warm-up items, which have numbers below 0, are in neither."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_full = False
        self.left_out = 0
        self.start_s = 0.0
        self._meters: dict[str, Meter] = {}

    def meter(self, device: str) -> Meter:
        """The meter of a device, which takes part in the run from now on."""
        return self._meters.setdefault(device, Meter())

    def begin_window(self, now_s: float) -> None:
        """The timed window begins."""
        self.start_s = now_s
        for meter in self._meters.values():
            meter.begin_window()

    def keep(self, event: Event) -> None:
        """Adds an event to those that are kept. Once it `is_full`, callers count others as `left_out`."""
        self.events.append(event)
        self.is_full = len(self.events) >= MOST_EVENTS

    def totals(self) -> tuple[DeviceTotal, ...]:
        """The totals of each device that took part, by name."""
        return tuple(
            DeviceTotal(device, meter.busy_s(self.start_s), meter.sent_bytes) for device, meter in sorted(self._meters.items())
        )


def modelled_energy(device: Device, total: DeviceTotal, wall_s: float, absent_s: float) -> Energy:
    """The energy of a device by its declared watts, in a window of `wall_s` of which it was away for `absent_s`; None where
    it declares none. While it is away it draws nothing."""
    power = device.power
    if power is None or wall_s <= 0:
        return Energy(device.name, None, None, None)
    sent_j = device.joules_per_byte * total.sent_bytes
    joules = power.idle_w * (wall_s - absent_s) + (power.busy_w - power.idle_w) * total.busy_s + sent_j
    return Energy(device.name, joules, power.busy_w, joules / wall_s, "modelled", f"power of devices.yaml ({power.source})")
