"""Discrete events in simulated time, and servers that work one job at a time at a speed that may change."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count


class EventLoop:
    """Calls that are due at times, in the order of time, then of when they were made."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def at(self, at_s: float, call: Callable[[], None]) -> None:
        heappush(self._due, (max(at_s, self.now_s), next(self._number), call))

    def run(self, until: Callable[[], bool]) -> None:
        """Runs until there is nothing left to do or `until` says that all is done."""
        while self._due and not until():
            self.now_s, _, call = heappop(self._due)
            call()


@dataclass(order=True)
class Job:
    """`work` units for a server; lower (item, stage) first. `wanted` says whether it is still to be done when its turn
    comes; `finished` is called with its start and stop."""

    item: int
    stage: int
    work: float = field(compare=False)
    wanted: Callable[[], bool] = field(compare=False)
    finished: Callable[[float, float], None] = field(compare=False)


class Server:
    """One device (work in seconds, speed is a factor) or one direction of a link (work in bytes, speed in bytes/s)."""

    def __init__(self, loop: EventLoop, speed: float) -> None:
        self._loop = loop
        self._speed = speed
        self._queue: list[Job] = []
        self._job: Job | None = None
        self._left = 0.0
        self._began_s = 0.0
        self._since_s = 0.0
        self._version = 0

    def push(self, job: Job) -> None:
        heappush(self._queue, job)
        if self._job is None:
            self._next()

    def set_speed(self, speed: float) -> None:
        """Continues the current job at another speed; at 0 it stops."""
        if speed == self._speed:
            return
        if self._job is not None and math.isfinite(self._speed):
            self._left = max(0.0, self._left - (self._loop.now_s - self._since_s) * self._speed)
        self._speed = speed
        self._schedule()
        if self._job is None:
            self._next()

    def lose(self) -> None:
        """Loses the progress of the current job, which starts again."""
        if self._job is not None:
            self._left, self._began_s = self._job.work, self._loop.now_s
            self._schedule()

    def _next(self) -> None:
        while self._queue and self._speed > 0:
            job = heappop(self._queue)
            if job.wanted():
                self._job, self._left, self._began_s = job, job.work, self._loop.now_s
                self._schedule()
                return

    def _schedule(self) -> None:
        self._version += 1
        self._since_s = self._loop.now_s
        if self._job is not None and self._speed > 0:
            version = self._version
            self._loop.at(self._loop.now_s + self._left / self._speed, lambda: self._finish(version))

    def _finish(self, version: int) -> None:
        if version == self._version and self._job is not None:
            job, self._job = self._job, None
            job.finished(self._began_s, self._loop.now_s)
            if self._job is None:
                self._next()
