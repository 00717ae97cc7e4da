"""One direction of a link in simulated time: a message in turn, which arrives after a delay."""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Generic

from multiedge.simulation.event_loop import EventLoop, R, Task


class LinkServer(Generic[R]):
    """Carries messages (work in bytes, speed in bytes/s); each is `finished` when it arrives, `delay_s` after it has left.

    When a message leaves is known when it begins, so an idle link has one event for each message, its arrival. Where messages
    wait, there is another one, when the link is free. Of messages that wait, lower (item, stage) go first, then earlier ones.
    """

    __slots__ = (
        "_call_arrive",
        "_calls_at_s",
        "_delay_s",
        "_due",
        "_free_s",
        "_last",
        "_left",
        "_loop",
        "_next_number",
        "_number",
        "_queue",
        "_speed",
    )

    def __init__(self, loop: EventLoop, speed: float, delay_s: float) -> None:
        self._loop, self._due, self._next_number = loop, loop.due, loop.next_number
        self._speed, self._delay_s = speed, delay_s
        self._queue: list[tuple[int, int, int, Task[R], R]] = []
        self._number = count()
        self._free_s = -math.inf
        self._left = 0.0
        self._last: tuple[Any, ...] | None = None
        self._calls_at_s = math.nan
        self._call_arrive = self._arrive

    @property
    def delay_s(self) -> float:
        """Seconds from when a message has left until it arrives."""
        return self._delay_s

    def push(self, task: Task[R], request: R) -> None:
        """Carries the message of an item once it is its turn."""
        now_s = self._loop.now_s
        if now_s < self._free_s or self._queue or self._speed <= 0:
            heappush(self._queue, (request.item, task.stage, next(self._number), task, request))
            self._call_when_free()
            return
        self._free_s = stop_s = now_s + task.work / self._speed
        message = (task, request, now_s, stop_s)
        self._last = entry = (stop_s + self._delay_s, self._next_number(), self._call_arrive, message)
        heappush(self._due, entry)

    def change(self, speed: float, delay_s: float) -> None:
        """Continues the current message at another speed and with another delay; at a speed of 0 it stops."""
        now_s, before = self._loop.now_s, self._speed
        if (speed, delay_s) == (before, self._delay_s):
            return
        self._speed, self._delay_s = speed, delay_s
        if now_s < self._free_s and self._last is not None:
            if before > 0:
                self._left = (self._free_s - now_s) * before
                self._due.remove(self._last)
                heapify(self._due)
            task, request, began_s, _ = self._last[-1]
            self._carry(task, request, began_s, now_s + self._left / speed if speed > 0 else math.inf)
        self._call_when_free()

    def _carry(self, task: Task[R], request: R, began_s: float, stop_s: float) -> None:
        """Has a message arrive that leaves at `stop_s`, if that is known."""
        self._free_s = stop_s
        arrives_s = stop_s + self._delay_s
        self._last = (arrives_s, self._next_number(), self._call_arrive, (task, request, began_s, stop_s))
        if stop_s < math.inf:
            heappush(self._due, self._last)

    def _call_when_free(self) -> None:
        """Has `_next` called when the link is free, if messages wait for that."""
        if self._queue and self._speed > 0 and self._calls_at_s != self._free_s:
            self._calls_at_s = self._free_s
            self._loop.at(self._free_s, self._next, self._free_s)

    def _next(self, free_s: float) -> None:
        """Carries the message whose turn it is, unless the link is now free at another time than when this was planned."""
        if free_s != self._calls_at_s:
            return
        self._calls_at_s = math.nan
        now_s = self._loop.now_s
        while self._queue and self._speed > 0 and now_s >= self._free_s:
            *_, task, request = heappop(self._queue)
            if request.wanted:
                self._carry(task, request, now_s, now_s + task.work / self._speed)
        self._call_when_free()

    def _arrive(self, message: tuple[Task[R], R, float, float]) -> None:
        task, request, began_s, stop_s = message
        task.finished(request, began_s, stop_s)
