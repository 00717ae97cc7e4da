"""A trace in real time: which of its events have happened by now."""

from __future__ import annotations

from multiedge.fleet import Fleet
from multiedge.plan import require
from multiedge.trace import DeviceEvent, Trace, TraceEvent


class TracePlayer:
    """Plays `trace` from `begin` on. Raises PlanError for one that names what `fleet` does not have."""

    def __init__(self, trace: Trace | None, fleet: Fleet) -> None:
        trace = trace or Trace()
        require(trace.violations(fleet), f"trace '{trace.name}'")
        self._left = list(trace.events)
        self._begin_s: float | None = None

    def begin(self, now_s: float) -> None:
        """The trace's time 0; only the first call counts."""
        if self._begin_s is None:
            self._begin_s = now_s

    def due(self, now_s: float) -> tuple[TraceEvent, ...]:
        """Events that have happened since the last call."""
        due: list[TraceEvent] = []
        while self._begin_s is not None and self._left and self._left[0].at_s <= now_s - self._begin_s:
            due.append(self._left.pop(0))
        return tuple(due)

    @property
    def may_return(self) -> bool:
        """Whether a device will still return."""
        return any(isinstance(event, DeviceEvent) and event.event == "return" for event in self._left)
