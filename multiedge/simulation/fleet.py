"""Devices and links as servers in simulated time, which a trace slows down, stops and brings back."""

from __future__ import annotations

from typing import Generic

from multiedge.fleet import Fleet, Link
from multiedge.simulation.event_loop import EventLoop, R, Server
from multiedge.simulation.joining import JoiningServer
from multiedge.simulation.links import LinkServer
from multiedge.trace import DeviceEvent, FleetState, TraceEvent


class SimulatedFleet(Generic[R]):
    """One server per device (work in seconds at its declared speed) and per direction of a link (work in bytes). `joins` says
    whether items differ or are joined; devices that need not look at that are several times as fast to simulate."""

    def __init__(self, fleet: Fleet, loop: EventLoop, *, joins: bool = False) -> None:
        self.declared = fleet
        self._joins = joins
        self.state = FleetState()
        self._loop = loop
        self._devices: dict[str, Server[R] | JoiningServer[R]] = {}
        self._links: dict[tuple[str, str], LinkServer[R]] = {}
        self._left_s: dict[str, float] = {}
        self._absences: dict[str, list[tuple[float, float]]] = {}

    def now(self) -> Fleet:
        """The fleet as it is at this moment. ConfigError if every device is absent."""
        return self.state.fleet(self.declared)

    def device(self, name: str) -> Server[R] | JoiningServer[R]:
        """The server of a device."""
        if name not in self._devices:
            speed = self._device_speed(name)
            self._devices[name] = JoiningServer(self._loop, speed) if self._joins else Server(self._loop, speed)
        return self._devices[name]

    def link(self, source: str, target: str) -> LinkServer[R]:
        """The server of one direction of a link."""
        if (source, target) not in self._links:
            delay_s = self._link_now(source, target).latency_s
            self._links[source, target] = LinkServer(self._loop, self._link_speed(source, target), delay_s)
        return self._links[source, target]

    def absent_s(self, device: str, start_s: float, stop_s: float) -> float:
        """For how long a device was away between two moments, the later of which is not in the future."""
        spans = [*self._absences.get(device, ()), (self._left_s.get(device, stop_s), stop_s)]
        return sum((max(0.0, min(end, stop_s) - max(begin, start_s)) for begin, end in spans), 0.0)

    def happen(self, event: TraceEvent) -> tuple[frozenset[str], frozenset[str]]:
        """Lets an event take effect; the devices that left and those that returned by it."""
        before = self.state.absent
        self.state = self.state.after(event, self.declared)
        left, returned = self.state.absent - before, before - self.state.absent
        for device in returned:
            self._absences.setdefault(device, []).append((self._left_s.pop(device), self._loop.now_s))
        touched = {event.device} if isinstance(event, DeviceEvent) else set(event.link)
        for device in touched & set(self._devices):
            self._devices[device].set_speed(self._device_speed(device))
        for device in left:
            self._left_s[device] = self._loop.now_s
            if device in self._devices:
                self._devices[device].lose()
        for (source, target), server in self._links.items():
            if touched & {source, target}:
                server.change(self._link_speed(source, target), self._link_now(source, target).latency_s)
        return left, returned

    def _device_speed(self, device: str) -> float:
        return 0.0 if device in self.state.absent else self.state.speed_factor.get(device, 1.0)

    def _link_now(self, source: str, target: str) -> Link:
        return self.state.links.get((source, target)) or self.declared.link(source, target)

    def _link_speed(self, source: str, target: str) -> float:
        """Bytes per second that arrive."""
        if {source, target} & self.state.absent or self.state.is_down(source, target):
            return 0.0
        return self._link_now(source, target).tensor_bytes_per_s
