"""A trace in real time: which of its events have happened by now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from multiedge.errors import ConfigError
from multiedge.fleet import Fleet, Link
from multiedge.plan import require
from multiedge.trace import DeviceEvent, FleetState, LinkEvent, Trace


class TracePlayer:
    """Plays `trace` from `begin` on. `absent` are the devices that have left and not returned."""

    def __init__(self, trace: Trace | None, fleet: Fleet) -> None:
        self._trace = trace or Trace()
        self._fleet = fleet
        require(self._trace.violations(fleet), f"trace '{self._trace.name}'")
        self._begin_s: float | None = None
        self._next = 0
        self._links: list[tuple[tuple[str, str], Link]] = []
        self.absent: set[str] = set()

    def begin(self, now_s: float) -> None:
        """The trace's time 0; only the first call counts."""
        if self._begin_s is None:
            self._begin_s = now_s

    def due(self, now_s: float) -> list[tuple[str, str, float | None]]:
        """Device events that have happened since the last call, as (event, device, value)."""
        found: list[tuple[str, str, float | None]] = []
        events = self._trace.events
        while self._begin_s is not None and self._next < len(events) and events[self._next].at_s <= now_s - self._begin_s:
            event = events[self._next]
            self._next += 1
            if isinstance(event, LinkEvent):
                state = self._trace.state_at(event.at_s, self._fleet)
                self._links += [(pair, state.links[pair]) for pair in (event.link, event.link[::-1])]
            else:
                found.append(self._device_event(event))
        return found

    def _device_event(self, event: DeviceEvent) -> tuple[str, str, float | None]:
        empty = event.event == "battery" and event.value == 0
        kind = "leave" if empty else event.event
        if kind == "leave":
            self.absent.add(event.device)
        elif kind == "return":
            self.absent.discard(event.device)
        return kind, event.device, event.value

    def changed_links(self) -> list[tuple[tuple[str, str], Link]]:
        """Links that have changed since the last call, by (from, to)."""
        found, self._links = self._links, []
        return found

    def fleet_now(self, now_s: float, lost: Collection[str]) -> Fleet:
        """The fleet as the trace has left it, without `lost` devices. ConfigError if none is left."""
        state = self._trace.state_at(now_s - self._begin_s, self._fleet) if self._begin_s is not None else FleetState()
        present = state.fleet(self._fleet)
        gone = set(lost) & set(present.names)
        if len(gone) == len(present.names):
            raise ConfigError(f"{self._fleet.name}: every device has left")
        return replace(present.without(*gone), source=None if present.source in gone else present.source)

    def may_return(self, now_s: float) -> bool:
        """Whether the trace will still bring a device back."""
        return any(isinstance(event, DeviceEvent) and event.event == "return" for event in self._trace.events[self._next :])
