"""What a caller tells the hub of a pipeline that it runs, as values.

Totals count from the start of the run, so that a report which is lost loses nothing: the next one has it. None is: not known.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

REPORT_S = 1.0
"""How often a caller reports, at most."""
MOST_FAULTS = 32
"""How many of its latest faults a report has."""
LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends, inclusive, of the intervals in which latencies are counted; one more interval is without an end."""


@dataclass(frozen=True)
class LatencyCounts:
    """How many items took how long: `counts` has an entry for each interval of LATENCY_BOUNDS_S."""

    counts: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_S) + 1)
    sum_s: float = 0.0

    def with_one(self, latency_s: float) -> LatencyCounts:
        """The counts after one more item."""
        at = bisect_left(LATENCY_BOUNDS_S, latency_s)
        counts = (*self.counts[:at], self.counts[at] + 1, *self.counts[at + 1 :])
        return LatencyCounts(counts, self.sum_s + latency_s)


@dataclass(frozen=True)
class StageDevices:
    """Where a stage runs now; several devices take its items in turn."""

    stage: int
    devices: tuple[str, ...]


@dataclass(frozen=True)
class DeviceWork:
    """What a device computed: stages of items, and the seconds that they took."""

    device: str
    items: int
    busy_s: float


@dataclass(frozen=True)
class LinkWork:
    """What one device sent to another for the items; the caller is one of them."""

    source: str
    target: str
    messages: int
    sent_bytes: int


@dataclass(frozen=True)
class RunFault:
    """A device or link that failed, or a device that returned.

    Attributes:
        kind: What happened, as in `multiedge.measurements.Fault`.
        device: Where.
        at_s: When it was detected, UNIX time of the caller.
        recovered_after_s: How long it took until items were answered again; None if they were not yet.
        detail: The cause, in words.
    """

    kind: str
    device: str
    at_s: float
    recovered_after_s: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class RunReport:
    """A running pipeline as its caller sees it.

    Attributes:
        run: Unique name of the run.
        plan: Digest of the PlanRecord with which it began.
        model: Name of the model.
        elapsed_s: Since its start.
        answered: Items that were answered without an error.
        failed: Items that were answered with one.
        unanswered: Items under way.
        latency: Of the items that were answered without an error.
        p50_s: Median latency of the items since the report before; None without items.
        p99_s: The 99th percentile of the same.
        stages: Where each stage runs.
        devices: What devices computed.
        links: What was sent; empty if the run does not record it.
        faults: The latest ones, in the order of detection.
        fault_counts: How many there were of each kind.
        has_ended: Whether this is the last report.
        caller: Who runs it; the hub takes it from the certificate.
    """

    run: str
    plan: str = ""
    model: str = ""
    elapsed_s: float = 0.0
    answered: int = 0
    failed: int = 0
    unanswered: int = 0
    latency: LatencyCounts = field(default_factory=LatencyCounts)
    p50_s: float | None = None
    p99_s: float | None = None
    stages: tuple[StageDevices, ...] = ()
    devices: tuple[DeviceWork, ...] = ()
    links: tuple[LinkWork, ...] = ()
    faults: tuple[RunFault, ...] = ()
    fault_counts: Mapping[str, int] = field(default_factory=dict)
    has_ended: bool = False
    caller: str = ""

    def of(self, caller: str) -> RunReport:
        """The report as that of `caller`."""
        return replace(self, caller=caller)
