"""Reports of runs, as callers send them."""

from __future__ import annotations

from typing import Any

from multiedge.network.runs import DeviceWork, LatencyCounts, LinkWork, RunFault, RunReport, StageDevices


def counted(*latencies_s: float) -> LatencyCounts:
    counts = LatencyCounts()
    for latency_s in latencies_s:
        counts = counts.with_one(latency_s)
    return counts


def report(elapsed_s: float = 1.0, answered: int = 0, **other: Any) -> RunReport:
    """A run 'r1' of two stages on 'a' and 'b', each of which computes for half of the time and gets 1 KB of each item."""
    given: dict[str, Any] = {
        "plan": "p" * 64,
        "model": "m",
        "caller": "client:anna",
        "latency": counted(*[0.02] * answered),
        "p50_s": 0.02,
        "p99_s": 0.03,
        "stages": (StageDevices(0, ("a",)), StageDevices(1, ("b",))),
        "devices": (DeviceWork("a", answered, elapsed_s / 2), DeviceWork("b", answered, elapsed_s / 4)),
        "links": tuple(LinkWork(*pair, answered, 1000 * answered) for pair in (("caller", "a"), ("a", "b"), ("b", "caller"))),
    }
    return RunReport("r1", elapsed_s=elapsed_s, answered=answered, **(given | other))


def fault(kind: str = "ended", device: str = "b", at_s: float = 5000.0, after_s: float | None = None) -> RunFault:
    return RunFault(kind, device, at_s, after_s, f"worker of '{device}' ended")
