"""Tasks of simulated servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Request:
    """An item."""

    item: int = 0
    wanted: bool = True


@dataclass
class Task:
    """A task that calls with the start and stop of what it did, and of what was lost."""

    work: float
    done: Callable[[float, float], object]
    dropped: Callable[[float, float], object] = lambda start_s, stop_s: None
    stage: int = 0

    def finished(self, request: Request, start_s: float, stop_s: float) -> None:
        self.done(start_s, stop_s)

    def lost(self, request: Request, start_s: float, stop_s: float) -> None:
        self.dropped(start_s, stop_s)
