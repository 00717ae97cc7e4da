"""How a fleet changes while it works: devices that leave and return, links whose bandwidth varies, stragglers.

A Trace is a list of events in time. The simulator plays it against a model of the fleet, `multiedge run` against
emulated devices; `multiedge.formats.trace` reads one from a file. Times count from the start of the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet, Link
from multiedge.quantity import human_bytes

DEVICE_EVENTS = ("leave", "return", "speed", "battery")
DOWN_BYTES_PER_S = 1e-6
"""Bandwidth of a link that is down: so slow that no plan uses it, yet costs over it stay finite and comparable."""


@dataclass(frozen=True)
class DeviceEvent:
    """Something happens to a device. `event` is 'leave', 'return', 'speed' (`value`: factor on its normal speed, 0.5
    takes twice the time, 1 is back to normal) or 'battery' (`value`: joules left)."""

    at_s: float
    device: str
    event: str
    value: float | None = None


@dataclass(frozen=True)
class LinkEvent:
    """The link between two devices changes: both ways, or `one_way`, from the first to the second. None keeps what it was, in
    each direction; a bandwidth of 0 is a link that is down."""

    at_s: float
    link: tuple[str, str]
    bandwidth_bytes_per_s: float | None = None
    latency_s: float | None = None
    one_way: bool = False

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The directions that change, as (from, to)."""
        return (self.link,) if self.one_way else (self.link, self.link[::-1])


TraceEvent = DeviceEvent | LinkEvent


@dataclass(frozen=True)
class FleetState:
    """What differs from the declared fleet at one moment: who is absent, speed factors, batteries and links."""

    absent: frozenset[str] = frozenset()
    speed_factor: Mapping[str, float] = field(default_factory=dict)
    battery_j: Mapping[str, float] = field(default_factory=dict)
    links: Mapping[tuple[str, str], Link] = field(default_factory=dict)

    def after(self, event: TraceEvent, fleet: Fleet) -> FleetState:
        """The state once `event` has happened to `fleet`. A device whose battery is empty has left."""
        if isinstance(event, LinkEvent):
            return replace(self, links={**self.links, **self._changed_links(event, fleet)})
        if event.event == "speed":
            return replace(self, speed_factor={**self.speed_factor, event.device: event.value or 1.0})
        if event.event == "battery":
            absent = self.absent | {event.device} if event.value == 0 else self.absent
            return replace(self, absent=absent, battery_j={**self.battery_j, event.device: event.value or 0.0})
        changed = {event.device}
        return replace(self, absent=self.absent | changed if event.event == "leave" else self.absent - changed)

    def _changed_links(self, event: LinkEvent, fleet: Fleet) -> dict[tuple[str, str], Link]:
        # Both directions are stated, since a fleet takes one that is stated for both.
        changed = {pair: self.links.get(pair, fleet.link(*pair)) for pair in (event.link, event.link[::-1])}
        for pair in event.pairs:
            old = changed[pair]
            bandwidth, latency = event.bandwidth_bytes_per_s, event.latency_s
            changed[pair] = replace(
                old,
                bandwidth_bytes_per_s=old.bandwidth_bytes_per_s if bandwidth is None else max(bandwidth, DOWN_BYTES_PER_S),
                latency_s=old.latency_s if latency is None else latency,
            )
        return changed

    def is_down(self, source: str, target: str) -> bool:
        """Whether the trace has taken this link down."""
        link = self.links.get((source, target))
        return link is not None and link.bandwidth_bytes_per_s <= DOWN_BYTES_PER_S

    def fleet(self, declared: Fleet) -> Fleet:
        """`declared` as it is in this state. ConfigError if every device is absent."""
        present = tuple(self._device(device) for device in declared.devices if device.name not in self.absent)
        if not present:
            raise ConfigError(f"{declared.name}: every device has left; no plan can be made")
        links = {pair: link for pair, link in {**declared.links, **self.links}.items() if not self.absent & set(pair)}
        source = None if declared.source in self.absent else declared.source
        return replace(declared, devices=present, links=links, source=source)

    def _device(self, device: Device) -> Device:
        if device.name not in self.battery_j and device.name not in self.speed_factor:
            return device
        factor = self.speed_factor.get(device.name, 1.0)
        return replace(
            device,
            battery_j=self.battery_j.get(device.name, device.battery_j),
            speed=None if device.speed is None else device.speed * factor,
            flops_per_s=None if device.flops_per_s is None else device.flops_per_s * factor,
            memory_bytes_per_s=None if device.memory_bytes_per_s is None else device.memory_bytes_per_s * factor,
        )


@dataclass(frozen=True)
class Trace:
    """Events in the order of time; `events` are sorted when the Trace is made."""

    events: tuple[TraceEvent, ...] = ()
    name: str = "trace"

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", tuple(sorted(self.events, key=lambda event: event.at_s)))

    @property
    def duration_s(self) -> float:
        """When the last event happens."""
        return self.events[-1].at_s if self.events else 0.0

    @cached_property
    def devices(self) -> frozenset[str]:
        """Every device that an event names."""
        return frozenset(name for event in self.events for name in _names(event))

    def state_at(self, at_s: float, fleet: Fleet) -> FleetState:
        """The state of `fleet` at `at_s`, events of that very moment included."""
        state = FleetState()
        for event in self.events:
            if event.at_s > at_s:
                break
            state = state.after(event, fleet)
        return state

    def story(self, end_s: float) -> list[str]:
        """A line for each event up to `end_s`, when a run has ended, and one for those that it did not reach."""
        reached = [event for event in self.events if event.at_s <= end_s]
        lines = [f"{event.at_s:8.3f} s  {self.name}: {_in_words(event)}" for event in reached]
        late = len(self.events) - len(reached)
        if late:
            lines.append(
                f"{end_s:8.3f} s  the end, before {late} of {len(self.events)} events of '{self.name}'; run more items"
            )
        return lines

    def violations(self, fleet: Fleet) -> list[str]:
        """Everything that keeps the trace from being played on `fleet`, in words."""
        return [
            f"{self.name}: events[{number}]: {wrong}"
            for number, event in enumerate(self.events)
            for wrong in event_violations(event, fleet)
        ]


def _names(event: TraceEvent) -> tuple[str, ...]:
    return event.link if isinstance(event, LinkEvent) else (event.device,)


def _in_words(event: TraceEvent) -> str:
    if isinstance(event, LinkEvent):
        words = f"link {event.link[0]} {'->' if event.one_way else '-'} {event.link[1]}"
        if event.bandwidth_bytes_per_s is not None:
            words += f", {human_bytes(event.bandwidth_bytes_per_s)}/s" if event.bandwidth_bytes_per_s > 0 else ", down"
        return words + (f", latency {event.latency_s * 1e3:g} ms" if event.latency_s is not None else "")
    value = "" if event.value is None else f" {event.value:g}"
    return f"{event.device}: {event.event}{value}"


def event_violations(event: TraceEvent, fleet: Fleet) -> list[str]:
    """Everything that keeps one event from happening to `fleet`, in words."""
    return [*_wrong_names(event, fleet), *_wrong_values(event)]


def _wrong_names(event: TraceEvent, fleet: Fleet) -> list[str]:
    wrong = [f"device '{name}' is not in {fleet.name}" for name in _names(event) if name not in fleet.by_name]
    if isinstance(event, LinkEvent) and event.link[0] == event.link[1]:
        wrong.append(f"a link needs two devices, got '{event.link[0]}' twice")
    return wrong


def _wrong_values(event: TraceEvent) -> list[str]:
    wrong = [] if 0 <= event.at_s < math.inf else [f"at_s: expected seconds from 0, got {event.at_s}"]
    if isinstance(event, LinkEvent):
        if event.bandwidth_bytes_per_s is not None and not event.bandwidth_bytes_per_s >= 0:
            wrong.append(f"bandwidth: expected 0 or more, got {event.bandwidth_bytes_per_s}")
        if event.latency_s is not None and not 0 <= event.latency_s < math.inf:
            wrong.append(f"latency: expected seconds from 0, got {event.latency_s}")
    elif event.event not in DEVICE_EVENTS:
        wrong.append(f"event: expected one of {', '.join(DEVICE_EVENTS)}, got '{event.event}'")
    elif event.event == "speed" and not (event.value is not None and 0 < event.value < math.inf):
        wrong.append(f"value: expected a speed factor above 0, got {event.value}")
    elif event.event == "battery" and not (event.value is not None and event.value >= 0):
        wrong.append(f"value: expected joules left, 0 or more, got {event.value}")
    elif event.event in ("leave", "return") and event.value is not None:
        wrong.append(f"value: expected none with '{event.event}', got {event.value}; leave it out")
    return wrong


def tunnel(fleet: Fleet, device: str, *, enter_s: float, leave_s: float, share: float = 0.0) -> Trace:
    """A device in a car drives through a tunnel: from `enter_s` to `leave_s` all its links have `share` of their
    bandwidth, 0 for none at all."""
    events: list[TraceEvent] = []
    for peer in fleet.names:
        if peer != device:
            normal = fleet.link(device, peer).bandwidth_bytes_per_s
            inside = share * normal if share else 0.0
            events.append(LinkEvent(enter_s, (device, peer), bandwidth_bytes_per_s=inside))
            events.append(LinkEvent(leave_s, (device, peer), bandwidth_bytes_per_s=normal))
    return Trace(tuple(events), f"tunnel of '{device}'")


def train(fleet: Fleet, *, period_s: float, stay_s: float, laps: int = 1, first: str | None = None) -> Trace:
    """A train passes devices at the trackside one after another: device i is out of reach except from i * period_s
    for `stay_s`, once per lap. `first` (default: the fleet's source, else its first device) travels along and stays."""
    aboard = first or fleet.source or fleet.names[0]
    trackside = [name for name in fleet.names if name != aboard]
    events: list[TraceEvent] = []
    for index, name in enumerate(trackside):
        if index:
            events.append(DeviceEvent(0.0, name, "leave"))
        for lap in range(laps):
            arrive = (lap * len(trackside) + index) * period_s
            if arrive:
                events.append(DeviceEvent(arrive, name, "return"))
            events.append(DeviceEvent(arrive + stay_s, name, "leave"))
    return Trace(tuple(events), f"train past {len(trackside)} devices")
