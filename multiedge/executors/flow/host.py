"""The load of the processors that a run may use, while it is timed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from multiedge.measurements import HostLoad
from multiedge.meters.cpu import HostTime, own_processors, process_cpu_s, read_host_time


@dataclass(frozen=True)
class HostReading:
    """What the processors have done by a moment; None where the system does not show it."""

    at_s: float
    host: HostTime | None
    caller_s: float | None
    cores: int = 1

    @classmethod
    def now(cls) -> HostReading:
        processors = own_processors()
        return cls(time.monotonic(), read_host_time(processors), process_cpu_s(), len(processors))

    def load_since(self, before: HostReading, workers_s: Mapping[str, float]) -> HostLoad | None:
        """The load between two readings; `workers_s` is the processor time of the workers in between, by device."""
        if self.host is None or before.host is None or self.caller_s is None or before.caller_s is None:
            return None
        spent = self.host - before.host
        caller_s = self.caller_s - before.caller_s
        return HostLoad(self.cores, self.at_s - before.at_s, spent.busy_s, spent.steal_s, caller_s, dict(workers_s))
