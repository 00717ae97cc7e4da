"""Discrete events in simulated time, and servers that work on one task at a time at a speed that may change.

An hour of traffic on a large fleet has ten million events: `Server` puts its own into the loop's heap without a call of `at`,
and begins a task where `push` or `_finish` finds the server idle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

A = TypeVar("A")


class EventLoop:
    """Calls that are due at times, in the order of time, then of when they were made."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.due: list[tuple[float, int, Callable[[Any], None], Any]] = []
        """A heap of (time, number, call, its argument)."""
        self.next_number = count().__next__
        self._stopped = False

    def at(self, at_s: float, call: Callable[[A], None], argument: A) -> None:
        """Has `call(argument)` made at a time, now if that is past."""
        heappush(self.due, (at_s if at_s > self.now_s else self.now_s, self.next_number(), call, argument))

    def stop(self) -> None:
        """Makes `run` return after the current call."""
        self._stopped = True

    def run(self) -> None:
        """Runs until there is nothing left to do, or until `stop`."""
        due, self._stopped = self.due, False
        while due and not self._stopped:
            self.now_s, _, call, argument = heappop(due)
            call(argument)


class Request(Protocol):
    """One item for which tasks are done. Tasks of a request that is not `wanted` any more are not begun."""

    @property
    def item(self) -> int: ...
    @property
    def wanted(self) -> bool: ...


R_contra = TypeVar("R_contra", bound=Request, contravariant=True)
R = TypeVar("R", bound=Request)


class Task(Protocol[R_contra]):
    """What a server does for each item: `work` units. Of tasks that wait, lower (item, stage) go first, then earlier ones."""

    @property
    def stage(self) -> int: ...
    @property
    def work(self) -> float: ...

    def finished(self, request: R_contra, start_s: float, stop_s: float, /) -> None:
        """The task is done."""

    def lost(self, request: R_contra, start_s: float, stop_s: float, /) -> None:
        """The server stopped in the middle; the task begins again later."""


class Server(Generic[R]):
    """One device: work in seconds, speed is a factor."""

    __slots__ = (
        "_began_s",
        "_call_finish",
        "_due",
        "_left",
        "_loop",
        "_next_number",
        "_number",
        "_queue",
        "_request",
        "_since_s",
        "_speed",
        "_task",
        "_version",
    )

    def __init__(self, loop: EventLoop, speed: float) -> None:
        self._loop, self._due, self._next_number = loop, loop.due, loop.next_number
        self._speed = speed
        self._queue: list[tuple[int, int, int, Task[R], R]] = []
        self._number = count()
        self._task: Task[R] | None = None
        self._request: R
        self._left = 0.0
        self._began_s = 0.0
        self._since_s = 0.0
        self._version = 0
        # Methods are bound once: millions of short-lived objects would keep the garbage collector busy.
        self._call_finish = self._finish

    def push(self, task: Task[R], request: R) -> None:
        """Does the task for the item once it is its turn."""
        speed = self._speed
        if self._task is not None or self._queue or speed <= 0:
            heappush(self._queue, (request.item, task.stage, next(self._number), task, request))
            return
        self._task, self._request = task, request
        self._left = work = task.work
        self._began_s = self._since_s = now_s = self._loop.now_s
        self._version = version = self._version + 1
        heappush(self._due, (now_s + work / speed, self._next_number(), self._call_finish, version))

    def set_speed(self, speed: float) -> None:
        """Continues the current task at another speed; at 0 it stops."""
        if speed == self._speed:
            return
        if self._task is not None and math.isfinite(self._speed):
            self._left = max(0.0, self._left - (self._loop.now_s - self._since_s) * self._speed)
        self._speed = speed
        if self._task is None:
            self._next()
        else:
            self._reschedule()

    def lose(self) -> None:
        """Loses the progress of the current task, which waits for its turn again."""
        if self._task is None:
            return
        task, request = self._task, self._request
        self._task = None
        self._version += 1
        heappush(self._queue, (request.item, task.stage, next(self._number), task, request))
        task.lost(request, self._began_s, self._loop.now_s)
        self._next()

    def _next(self) -> None:
        """Begins the task whose turn it is."""
        while self._queue and self._speed > 0:
            *_, task, request = heappop(self._queue)
            if request.wanted:
                self._task, self._request, self._left = task, request, task.work
                self._began_s = self._loop.now_s
                self._reschedule()
                return

    def _reschedule(self) -> None:
        self._version += 1
        self._since_s = now_s = self._loop.now_s
        if self._speed > 0:
            self._loop.at(now_s + self._left / self._speed, self._call_finish, self._version)

    def _finish(self, version: int) -> None:
        task = self._task
        if version != self._version or task is None:
            return
        self._task = None
        task.finished(self._request, self._began_s, self._loop.now_s)
        if self._queue and self._task is None:
            self._next()
