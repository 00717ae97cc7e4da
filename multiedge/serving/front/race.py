"""A request on the rows of a deployment until one of them answers: carries out `attempts.next_step`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue

from multiedge.errors import one_line
from multiedge.executors.flow.contract import Tensors
from multiedge.serving.front.attempts import Attempt, AttemptRules, Begin, GaveUp, GiveUp, Outcome, next_step
from multiedge.serving.front.engine import Answer, ItemFailed
from multiedge.serving.front.rows import ServingRow
from multiedge.serving.inference.contract import Abandoned, Array, DeadlineExceeded, RequestError, Unavailable

MOST_OPENING = 2
"""Rows that are opened for a request if none is open."""
LOOK_S = 0.1
"""How often a request that waits looks whether its client still does."""


@dataclass(frozen=True)
class Answered:
    """The outputs by name, the row that made them, and how many attempts were begun until then."""

    tensors: dict[str, Array]
    row: str
    attempts: int
    seconds: float


class Race:
    """One request.

    Args:
        rows: Where it may be tried, in order of preference.
        rules: How long attempts may take.
        tensors: The model's inputs.
        give_up_s: When its time is over.
        is_own_deadline: Whether the client has set that time.
        is_active: Whether the client still waits.
        clock: That of `give_up_s`.
    """

    def __init__(
        self,
        rows: Sequence[ServingRow],
        rules: AttemptRules,
        tensors: Tensors,
        give_up_s: float,
        *,
        is_own_deadline: bool,
        is_active: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows = {row.name: row for row in rows}
        self._rules, self._tensors, self._give_up_s = rules, tensors, give_up_s
        self._is_own_deadline, self._is_active, self._now = is_own_deadline, is_active, clock
        self._attempts: list[Attempt] = []
        self._futures: list[Future[Answer]] = []
        self._blamed: set[int] = set()
        self._errors: dict[str, str] = {}
        self._news: SimpleQueue[int] = SimpleQueue()

    def run(self) -> Answered:
        """The first answer. Raises RequestError if there is none."""
        begin_s = self._now()
        try:
            while True:
                now_s = self._now()
                self._blame_late(now_s)
                views = [row.view() for row in self._rows.values()]
                if not any(view.is_usable for view in views):
                    self._open_rows()
                step = next_step(self._rules, views, self._attempts, now_s, self._give_up_s)
                if isinstance(step, Begin):
                    self._begin(step.attempt)
                elif isinstance(step, GiveUp):
                    raise self._error(step.reason)
                elif answered := self._wait(step.until_s - now_s, begin_s):
                    return answered
        finally:
            for future in self._futures:
                future.cancel()

    def _begin(self, attempt: Attempt) -> None:
        row, number = self._rows[attempt.row], len(self._attempts)
        was_alone = not row.engine.waiting
        self._attempts.append(attempt)
        future = row.begin(self._tensors)
        self._futures.append(future)
        future.add_done_callback(partial(_note, row, attempt, was_alone))
        future.add_done_callback(lambda _: self._news.put(number))

    def _wait(self, seconds: float, begin_s: float) -> Answered | None:
        """The answer, if one comes in this time; failures are noted."""
        with contextlib.suppress(Empty):
            number = self._news.get(timeout=min(max(seconds, 0.0), LOOK_S))
            future, attempt = self._futures[number], self._attempts[number]
            error = future.exception()
            if error is None:
                answer = future.result()
                return Answered(answer.tensors, attempt.row, len(self._attempts), answer.done_s - begin_s)
            outcome = Outcome.ITEM_FAILED if isinstance(error, ItemFailed) else Outcome.ROW_FAILED
            self._attempts[number] = replace(attempt, outcome=outcome, failed_s=self._now())
            self._errors[attempt.row] = one_line(error)
            return None
        if not self._is_active():
            raise Abandoned("the caller has gone")
        return None

    def _blame_late(self, now_s: float) -> None:
        """Tells rows of attempts that take too long, each once."""
        for number, attempt in enumerate(self._attempts):
            if attempt.is_late(now_s) and number not in self._blamed:
                self._blamed.add(number)
                self._rows[attempt.row].late()

    def _open_rows(self) -> None:
        """Opens the first rows that may be opened, not all: each takes memory on its devices."""
        opening = 0
        for row in self._rows.values():
            if opening < MOST_OPENING:
                row.open()
                opening += row.engine.is_open

    def _error(self, reason: GaveUp) -> RequestError:
        details = dict.fromkeys(self._errors.values()) or {
            f"row '{row.name}': {row.failure or row.engine.state.value}": None for row in self._rows.values()
        }
        text = "; ".join(details)
        if reason is GaveUp.FAILED_EVERYWHERE:
            return RequestError(text)
        if self._is_own_deadline:
            return DeadlineExceeded(f"the time of the request is over: {text}")
        return Unavailable(f"no row has answered within {self._rules.patience_s:g} s: {text}")


def _note(row: ServingRow, attempt: Attempt, was_alone: bool, future: Future[Answer]) -> None:
    """Tells the row how long an attempt took, also one that is not waited for any more."""
    if not future.cancelled() and future.exception() is None:
        seconds = future.result().done_s - attempt.begun_s
        row.answered(seconds, in_time=seconds < attempt.limit_s, was_alone=was_alone)
