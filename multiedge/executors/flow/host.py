"""The load of this machine while a run is timed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from multiedge.measurements import HostLoad
from multiedge.meters.cpu import HostTime, process_cpu_s, read_host_time


@dataclass(frozen=True)
class HostReading:
    """What the processors have done by a moment; None where the system does not show it."""

    at_s: float
    host: HostTime | None
    caller_s: float | None

    @classmethod
    def now(cls) -> HostReading:
        return cls(time.monotonic(), read_host_time(), process_cpu_s())

    def load_since(self, before: HostReading, workers_s: Mapping[str, float]) -> HostLoad | None:
        """The load between two readings; `workers_s` is the processor time of the workers in between, by device."""
        if self.host is None or before.host is None or self.caller_s is None or before.caller_s is None:
            return None
        spent = self.host - before.host
        caller_s = self.caller_s - before.caller_s
        return HostLoad(os.cpu_count() or 1, self.at_s - before.at_s, spent.busy_s, spent.steal_s, caller_s, dict(workers_s))
