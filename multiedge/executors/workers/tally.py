"""Totals of a run, from which its reports to the hub are made."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable

from multiedge.executors.flow.answers import Answer
from multiedge.executors.flow.routes import Routes
from multiedge.measurements import Fault
from multiedge.metrics.percentiles import percentile
from multiedge.network.runs import (
    MOST_FAULTS,
    DeviceWork,
    LatencyCounts,
    LinkWork,
    RunFault,
    RunReport,
    StageDevices,
)

MOST_LATENCIES = 10_000
"""Of so many items, the latest ones, a report has the percentiles."""


class RunTally:
    """Adds up answers; an observer of a run.

    Args:
        run: Unique name of the run.
        plan: Digest of its plan at the hub.
        model: Name of the model.
        began_s: When it began, CLOCK_MONOTONIC.
        began_unix_s: The same in UNIX time.
    """

    def __init__(self, run: str, plan: str, model: str, began_s: float, began_unix_s: float) -> None:
        self._run, self._plan, self._model = run, plan, model
        self._began_s, self._began_unix_s = began_s, began_unix_s
        self._answered = self._failed = 0
        self._latency = LatencyCounts()
        self._recent: deque[float] = deque(maxlen=MOST_LATENCIES)
        self._items: Counter[str] = Counter()
        self._busy_s: defaultdict[str, float] = defaultdict(float)
        self._messages: Counter[tuple[str, str]] = Counter()
        self._sent: Counter[tuple[str, str]] = Counter()
        self._faults: dict[tuple[str, str, float], Fault] = {}

    def answered(self, answer: Answer) -> None:
        if answer.error:
            self._failed += 1
        else:
            self._answered += 1
            self._latency = self._latency.with_one(answer.latency_s)
            self._recent.append(answer.latency_s)
        for event in answer.events:
            if event.kind == "compute":
                self._items[event.device] += 1
                self._busy_s[event.device] += event.seconds
            elif event.kind == "transfer":
                self._messages[event.device, event.peer] += 1
                self._sent[event.device, event.peer] += event.nbytes

    def report(
        self, now_s: float, routes: Routes, faults: Iterable[Fault], unanswered: int, *, has_ended: bool = False
    ) -> RunReport:
        """The report at `now_s`; `faults` are those that the run knows now, and latencies count anew for the next report."""
        self._faults |= {(fault.kind, fault.device, fault.detected_s): fault for fault in faults}
        recent = tuple(self._recent)
        self._recent.clear()
        return RunReport(
            run=self._run,
            plan=self._plan,
            model=self._model,
            elapsed_s=now_s - self._began_s,
            answered=self._answered,
            failed=self._failed,
            unanswered=unanswered,
            latency=self._latency,
            p50_s=percentile(recent, 0.5) if recent else None,
            p99_s=percentile(recent, 0.99) if recent else None,
            stages=tuple(StageDevices(number, part.devices) for number, part in enumerate(routes.parts)),
            devices=tuple(DeviceWork(name, items, self._busy_s[name]) for name, items in sorted(self._items.items())),
            links=tuple(LinkWork(*pair, count, self._sent[pair]) for pair, count in sorted(self._messages.items())),
            faults=tuple(self._as_sent(fault) for fault in list(self._faults.values())[-MOST_FAULTS:]),
            fault_counts=dict(Counter(fault.kind for fault in self._faults.values())),
            has_ended=has_ended,
        )

    def _as_sent(self, fault: Fault) -> RunFault:
        recovered_after_s = None if fault.recovered_s is None else fault.recovered_s - fault.detected_s
        at_s = self._began_unix_s + fault.detected_s - self._began_s
        return RunFault(fault.kind, fault.device, at_s, recovered_after_s, fault.detail)
