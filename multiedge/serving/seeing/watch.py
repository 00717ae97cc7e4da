"""What a hub has seen of its nodes and of the runs on them, as a value; each function makes the next one of it.

Times named `now_s` are of one clock that does not go back; those named `unix_s` are what people are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from multiedge.errors import NetworkError
from multiedge.measurements import RETURN
from multiedge.network.encoding import require_name
from multiedge.network.records import HEARTBEAT_S, NodeState
from multiedge.network.runs import REPORT_S, LatencyCounts, RunFault, RunReport

_Key = TypeVar("_Key")
_Number = TypeVar("_Number", int, float)
Status = Literal["alive", "late", "lost"]

LATE_AFTER_S = 2.2 * HEARTBEAT_S
"""A node is late after so long without a heartbeat, before it counts as lost."""
SILENT_AFTER_S = 4 * REPORT_S
"""A run of which nothing came for so long is silent: its caller was ended, or cannot reach the hub."""
FORGET_AFTER_S = 600.0
"""How long a run that has ended or is silent is kept."""
MOST_RUNS, MOST_SAMPLES, MOST_EVENTS = 64, 300, 64
LOST = "lost"
"""The kind of a fault of a node that sends no heartbeats; one that is back has the kind of a return."""


@dataclass(frozen=True)
class SeenNode:
    """A node that was heard of; `lost_unix_s` is when it was lost, None while it is alive."""

    state: NodeState
    status: Status = "alive"
    lost_unix_s: float | None = None


@dataclass(frozen=True)
class Sample:
    """What a run did between two reports, rounded to what a person can see; None is not known."""

    run: str
    unix_s: float
    items_per_s: float
    p50_s: float | None
    p99_s: float | None

    @property
    def key(self) -> str:
        """Unique among all samples."""
        return f"{self.run} {self.unix_s:.3f}"


@dataclass(frozen=True)
class SeenRun:
    """A run by its last report.

    Attributes:
        report: The last one.
        heard_s: When it came.
        samples: What it did between reports by their keys, the latest last.
        busy: The share of the time for which each device computed for it, between the last two reports.
        bytes_per_s: What each link carried for it, by source and target.
    """

    report: RunReport
    heard_s: float
    samples: dict[str, Sample] = field(default_factory=dict)
    busy: Mapping[str, float] = field(default_factory=dict)
    bytes_per_s: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def last(self) -> Sample | None:
        """The latest sample."""
        return self.samples[next(reversed(self.samples))] if self.samples else None

    def is_running(self, now_s: float) -> bool:
        """Whether it goes on, as far as is known."""
        return not self.report.has_ended and now_s - self.heard_s <= SILENT_AFTER_S


@dataclass(frozen=True)
class Totals:
    """What all runs did since the hub began; none of it decreases.

    Attributes:
        answered: Items answered without an error, by model.
        failed: Items answered with one, by model.
        latency: Of the items answered without an error, by model.
        busy_s: By device.
        sent_bytes: By source and target.
        faults: By kind.
    """

    answered: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    latency: Mapping[str, LatencyCounts] = field(default_factory=dict)
    busy_s: Mapping[str, float] = field(default_factory=dict)
    sent_bytes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Watch:
    """All that was seen; nodes and runs by name. `events` are losses and returns of nodes, the latest last."""

    nodes: Mapping[str, SeenNode] = field(default_factory=dict)
    runs: Mapping[str, SeenRun] = field(default_factory=dict)
    events: tuple[RunFault, ...] = ()
    totals: Totals = field(default_factory=Totals)


def looked(watch: Watch, ages_s: Mapping[str, float], alive: Iterable[NodeState], now_s: float, unix_s: float) -> Watch:
    """The watch after a look at the nodes that are alive.

    Args:
        watch: The one before.
        ages_s: How long ago the last state of each node came.
        alive: The nodes that are not lost.
        now_s: Now.
        unix_s: The same in UNIX time.
    """
    here = {state.name: state for state in alive}
    nodes: dict[str, SeenNode] = {}
    events, losses = list(watch.events), 0
    for name, state in here.items():
        before = watch.nodes.get(name)
        if before is not None and before.lost_unix_s is not None:
            away_s = unix_s - before.lost_unix_s
            events = [replace(each, recovered_after_s=away_s) if _is_open_loss(each, name) else each for each in events]
            events.append(RunFault(RETURN, name, unix_s, detail=f"'{name}' reports again"))
        nodes[name] = SeenNode(state, "late" if ages_s.get(name, 0.0) > LATE_AFTER_S else "alive")
    for name, before in watch.nodes.items():
        if name not in here:
            if before.lost_unix_s is None:
                events.append(RunFault(LOST, name, unix_s, detail=f"'{name}' sends no heartbeats"))
                losses += 1
            nodes[name] = replace(before, status="lost", lost_unix_s=before.lost_unix_s or unix_s)
    runs = {name: run for name, run in watch.runs.items() if now_s - run.heard_s <= FORGET_AFTER_S}
    totals = replace(watch.totals, faults=_added(watch.totals.faults, {LOST: losses})) if losses else watch.totals
    return Watch(nodes, runs, tuple(events[-MOST_EVENTS:]), totals)


def _is_open_loss(event: RunFault, name: str) -> bool:
    return (event.kind, event.device, event.recovered_after_s) == (LOST, name, None)


def heard_run(watch: Watch, report: RunReport, now_s: float, unix_s: float) -> Watch:
    """The watch after a report has come. NetworkError for one that is none, as it comes over the network."""
    _require_report(report)
    before = watch.runs.get(report.run)
    runs = {name: run for name, run in watch.runs.items() if name != report.run}
    runs[report.run] = _run_after(before, report, now_s, unix_s)
    while len(runs) > MOST_RUNS:
        del runs[min(runs, key=lambda name: runs[name].heard_s)]
    return replace(watch, runs=runs, totals=_totals_after(watch.totals, before.report if before else RunReport(""), report))


def _require_report(report: RunReport) -> None:
    require_name("run", report.run)
    wanted = len(LatencyCounts().counts)
    if len(report.latency.counts) != wanted:
        raise NetworkError(f"run: latency: expected {wanted} counts, got {len(report.latency.counts)}", status=400)


def _run_after(before: SeenRun | None, report: RunReport, now_s: float, unix_s: float) -> SeenRun:
    if before is None:
        return SeenRun(report, now_s)
    last, span_s = before.report, report.elapsed_s - before.report.elapsed_s
    if span_s < REPORT_S / 2:  # the last report of a run comes early: a rate over so short a time says nothing
        return replace(before, report=report, heard_s=now_s)
    items_per_s = max(0, report.answered - last.answered) / span_s
    sample = Sample(report.run, round(unix_s, 3), round(items_per_s, 2), rounded(report.p50_s), rounded(report.p99_s))
    busy_s = {each.device: each.busy_s for each in last.devices}
    sent = {(each.source, each.target): each.sent_bytes for each in last.links}
    return SeenRun(
        report,
        now_s,
        dict([*before.samples.items(), (sample.key, sample)][-MOST_SAMPLES:]),
        {each.device: max(0.0, each.busy_s - busy_s.get(each.device, 0.0)) / span_s for each in report.devices},
        {
            (each.source, each.target): max(0, each.sent_bytes - sent.get((each.source, each.target), 0)) / span_s
            for each in report.links
        },
    )


def _totals_after(totals: Totals, last: RunReport, report: RunReport) -> Totals:
    model = report.model or "unknown"
    busy_s = {each.device: each.busy_s for each in last.devices}
    sent = {(each.source, each.target): each.sent_bytes for each in last.links}
    grown = LatencyCounts(
        tuple(max(0, new - old) for new, old in zip(report.latency.counts, last.latency.counts, strict=True)),
        max(0.0, report.latency.sum_s - last.latency.sum_s),
    )
    known = totals.latency.get(model, LatencyCounts())
    latency = LatencyCounts(tuple(a + b for a, b in zip(known.counts, grown.counts, strict=True)), known.sum_s + grown.sum_s)
    return Totals(
        _added(totals.answered, {model: report.answered - last.answered}),
        _added(totals.failed, {model: report.failed - last.failed}),
        {**totals.latency, model: latency},
        _added(totals.busy_s, {each.device: each.busy_s - busy_s.get(each.device, 0.0) for each in report.devices}),
        _added(
            totals.sent_bytes,
            {(each.source, each.target): each.sent_bytes - sent.get((each.source, each.target), 0) for each in report.links},
        ),
        _added(totals.faults, {kind: n - last.fault_counts.get(kind, 0) for kind, n in report.fault_counts.items()}),
    )


def rounded(value: float | None) -> float | None:
    """The value with three significant digits."""
    return None if value is None else float(f"{value:.3g}")


def _added(known: Mapping[_Key, _Number], grown: Mapping[_Key, _Number]) -> dict[_Key, _Number]:
    """Both together; what a report takes back does not count, since totals do not decrease."""
    added = dict(known)
    for key, amount in grown.items():
        more = max(amount, type(amount)(0))
        added[key] = added[key] + more if key in added else more
    return added
