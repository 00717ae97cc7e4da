"""Issues items as fast as they are taken, makes faults happen on time, and judges every answer."""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from multiedge.executors.flow.contract import Result
from tests.chaos.report import Report
from tests.chaos.schedule import LASTING, FaultEvent, Kind, Schedule
from tests.chaos.target import Running, Target

POLL_S = 0.02
DRAIN_S = 90.0
"""How long items may take once no fault happens any more; then they count as lost."""
GONE_S = 10.0
"""How long what must be gone may take."""
MOST_AT_ONCE = 64
"""Items that are issued between two polls: an executor that refuses items has room for any number of them."""
MOST_FAILED = 50
"""After so many refused items, or failures that should not be, nothing more is learned from this pipeline."""
REASONS = ("has changed", "no answer from", "no device is left", "has ended")
"""What errors of items may contain after a part has changed."""


def run(target: Target, schedule: Schedule, clock: Callable[[], float] = time.monotonic) -> Report:
    """One pipeline under the faults of the schedule."""
    before = target.left()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        with target.open(Path(folder), schedule) as running:
            life = _Life(running, schedule, clock)
            life.run()
            report = life.report(target.name)
        left = _left(target, before, clock)
    return Report(**{**vars(report), "left": left})


def _left(target: Target, before: frozenset[str], clock: Callable[[], float]) -> tuple[str, ...]:
    until = clock() + GONE_S
    while (left := target.left() - before) and clock() < until:
        time.sleep(0.1)
    return tuple(sorted(left))


@dataclass
class _Life:
    """The items and faults of one pipeline."""

    running: Running
    schedule: Schedule
    clock: Callable[[], float]
    poison: dict[int, Kind] = field(default_factory=dict)
    answers: Counter[int] = field(default_factory=Counter)
    done_s: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    injected: list[tuple[str, float]] = field(default_factory=list)
    issued: int = 0
    changed_s: float | None = None

    def __post_init__(self) -> None:
        self._due = sorted(self.schedule.events, key=lambda event: event.at_s, reverse=True)
        self._lasting: list[FaultEvent] = []
        self._next_poison: list[Kind] = []
        self._begin_s = self._stop_s = 0.0

    def run(self) -> None:
        executor = self.running.executor
        executor.mark()
        self._begin_s = self.clock()
        while self._goes_on():
            self._follow(self.clock() - self._begin_s)
            for _ in range(MOST_AT_ONCE):
                if executor.has_room and self._goes_on():
                    self._issue()
            self._take(executor.poll(POLL_S))
        self._stop_s = self.clock()
        for event in self._lasting:
            self.running.restore(event)
        while executor.unanswered and self.clock() - self._begin_s < self.schedule.seconds + DRAIN_S:
            self._take(executor.poll(POLL_S))

    def _goes_on(self) -> bool:
        is_over = max(self.counts["refused"], self.counts["unexpected"]) >= MOST_FAILED
        return not is_over and self.clock() - self._begin_s < self.schedule.seconds

    def _follow(self, now_s: float) -> None:
        """Ends what is over, then begins what is due."""
        for event in [each for each in self._lasting if each.at_s + each.lasts_s <= now_s]:
            self._lasting.remove(event)
            self.running.restore(event)
        while self._due and self._due[-1].at_s <= now_s:
            self._begin(self._due.pop())

    def _begin(self, event: FaultEvent) -> None:
        if event.kind.is_poison:
            self._next_poison.append(event.kind)
        else:
            if event.kind is Kind.CHANGED_PART:
                self.changed_s = self.clock()
            if not self.running.inject(event):
                return
            if event.kind in LASTING:
                self._lasting.append(event)
        self.injected.append((event.kind.value, self.clock()))

    def _issue(self) -> None:
        number, self.issued = self.issued, self.issued + 1
        if self._next_poison:
            self.poison[number] = self._next_poison.pop(0)
        self.running.executor.submit(number, self.running.work.item(number, self.poison.get(number)))

    def _take(self, results: list[Result]) -> None:
        for result in results:
            self.answers[result.item] += 1
            self.done_s.append(result.done_s)
            if self.answers[result.item] == 1:
                self.counts[self._verdict(result)] += 1

    def _verdict(self, result: Result) -> str:
        if result.tensors is not None:
            is_right = result.item not in self.poison and self.running.work.is_right(result.item, result.tensors)
            return "right" if is_right else "wrong"
        if result.item in self.poison:
            return "own_errors"
        if self.changed_s is not None and result.done_s >= self.changed_s and any(each in result.error for each in REASONS):
            return "refused"
        self.unexpected.append(f"item {result.item}, {result.done_s - self._begin_s:.2f} s: {result.error}")
        return "unexpected"

    def report(self, name: str) -> Report:
        record = self.running.executor.record()
        failures = [fault for fault in record.faults if not fault.is_return]
        recoveries: dict[str, tuple[float, ...]] = {}
        for fault in failures:
            if fault.recovered_s is not None:
                recoveries[fault.kind] = (*recoveries.get(fault.kind, ()), fault.recovered_s - fault.detected_s)
        end_s = math.inf if self.changed_s is None else self.changed_s
        moments = [self._begin_s, *sorted(done_s for done_s in self.done_s if done_s < end_s)]
        return Report(
            name,
            self._stop_s - self._begin_s,
            self.issued,
            self.counts["right"],
            self.counts["own_errors"],
            self.counts["refused"],
            lost=self.issued - len(self.answers),
            duplicated=sum(count > 1 for count in self.answers.values()),
            wrong=self.counts["wrong"],
            unexpected=tuple(self.unexpected),
            silence_s=max((later - earlier for earlier, later in pairwise(moments)), default=0.0),
            injected=Counter(kind for kind, _ in self.injected),
            pauses_s=pauses(self.injected, [each for each in moments if each < end_s]),
            faults=Counter(fault.kind for fault in failures),
            recoveries_s=recoveries,
        )


def pauses(injected: Sequence[tuple[str, float]], answered_s: Sequence[float]) -> dict[str, tuple[float, ...]]:
    """By kind of fault, the longest time without an answer between each fault and the next one. A pause that goes on after the
    next fault counts for both, each with its own part."""
    longest: dict[str, tuple[float, ...]] = {}
    for (kind, at_s), (_, next_s) in pairwise([*injected, ("", math.inf)]):
        gaps = [
            min(later, next_s) - max(earlier, at_s)
            for earlier, later in pairwise(answered_s)
            if later > at_s and earlier < next_s
        ]
        if gaps:
            longest[kind] = (*longest.get(kind, ()), max(gaps))
    return longest
