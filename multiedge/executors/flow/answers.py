"""What an executor tells of each answered item to those who observe a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from multiedge.measurements import Event


@dataclass(frozen=True)
class Answer:
    """An item that was answered. Times are on CLOCK_MONOTONIC.

    Attributes:
        item: Its number; a warm-up item has a negative one.
        issued_s: When it was submitted.
        done_s: When its answer was complete.
        error: Why it failed; '' if it did not.
        attempts: How often it was sent.
        events: What stages and links did for its last attempt; empty if it failed before an answer came.
    """

    item: int
    issued_s: float
    done_s: float
    error: str = ""
    attempts: int = 1
    events: tuple[Event, ...] = ()

    @property
    def latency_s(self) -> float:
        """Seconds from its submission to its answer."""
        return self.done_s - self.issued_s


class Observer(Protocol):
    """Who is told of each answer; it must be fast, since the run waits for it."""

    def answered(self, answer: Answer) -> None: ...
