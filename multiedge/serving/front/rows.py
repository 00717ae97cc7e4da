"""The rows of a deployment while they serve: an engine for each, its breaker, and what was seen of it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager

from multiedge.executors.flow.contract import Tensors
from multiedge.executors.flow.pipeline import Pipeline
from multiedge.executors.flow.stage_clock import ENOUGH, SAMPLES, percentile_99
from multiedge.network.records import PlanRow
from multiedge.serving.front.attempts import RowView
from multiedge.serving.front.breaker import Breaker, BreakerRules, Phase
from multiedge.serving.front.choose import RowState
from multiedge.serving.front.engine import Answer, Engine

MEDIAN_OF = 15
"""The latest latencies whose median is the one that a row is expected to have now."""
STALE_S = 30.0
"""What was seen longer ago says nothing about now: a row that was slow is expected to be as planned again."""


class ServingRow:
    """A row of the plan table with its engine. Safe between threads.

    Args:
        row: The row.
        open_pipeline: Starts its pipeline.
        rules: Of its breaker.
        is_local: Whether nothing of it leaves this device.
    """

    def __init__(
        self,
        row: PlanRow,
        open_pipeline: Callable[[], AbstractContextManager[Pipeline]],
        rules: BreakerRules,
        *,
        is_local: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.row, self.is_local = row, is_local
        self._rules, self._now = rules, clock
        self._lock = threading.Lock()
        self._breaker = Breaker()
        self._seen: deque[float] = deque(maxlen=SAMPLES)
        self._alone: deque[tuple[float, float]] = deque(maxlen=MEDIAN_OF)
        self.failure = ""
        """Why it could not start or has ended, the last time; '' once it answers."""
        self.engine = Engine(row.name, open_pipeline, self._on_failed, clock)

    @property
    def name(self) -> str:
        """Unique in the deployment."""
        return self.row.name

    @property
    def phase(self) -> Phase:
        """That of its breaker."""
        return self._breaker.phase

    @property
    def p99_s(self) -> float | None:
        """What was seen, once that is enough, otherwise what the plan expects; None is not known."""
        with self._lock:
            return percentile_99(self._seen) if len(self._seen) >= ENOUGH else self.row.expected.latency_s

    def view(self) -> RowView:
        """For the next step of a request."""
        return RowView(self.name, self.p99_s, self.engine.is_running and self._breaker.permits(self._now()))

    def state(self) -> RowState:
        """For the choice of a row. What cannot be used now is waited for, so it counts as usable here."""
        with self._lock:
            latest = sorted(seconds for at_s, seconds in self._alone if self._now() - at_s < STALE_S)
        return RowState(waiting=self.engine.waiting, seen_latency_s=latest[len(latest) // 2] if latest else None)

    def open(self) -> None:
        """Opens its pipeline, unless it is open, or failed a short while ago."""
        if not self.engine.is_running and self._breaker.permits(self._now()):
            self.engine.start()

    def begin(self, tensors: Tensors) -> Future[Answer]:
        """The answer of an attempt that begins now."""
        with self._lock:
            self._breaker = self._breaker.begun(self._rules, self._now())
        return self.engine.submit(tensors)

    def answered(self, seconds: float, *, in_time: bool, was_alone: bool) -> None:
        """An attempt took so long; `was_alone` if no other request waited for the row when it began."""
        with self._lock:
            self._seen.append(seconds)
            if in_time and was_alone:
                self._alone.append((self._now(), seconds))
            if in_time:
                self._breaker = self._breaker.answered()
                self.failure = ""

    def late(self) -> None:
        """An attempt takes too long."""
        with self._lock:
            self._breaker = self._breaker.failed(self._rules, self._now())

    def _on_failed(self, reason: str) -> None:
        with self._lock:
            self.failure = reason
            self._breaker = self._breaker.tripped(self._rules, self._now())
