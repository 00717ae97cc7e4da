"""A device that joins items which wait for the same stage, and whose items take different times.

It chooses as the loop of a stage does (`multiedge.executors.flow.batching`): the oldest item whose stage need not wait any
more, at its latest stage, and with it those that wait for the same stage. A stage need not wait once enough items are there for
it, or the first of them has waited for its time. An item that does not join, such as one for which a stage has nothing to
compute, never waits for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Generic, Protocol

from multiedge.simulation.event_loop import EventLoop, R, R_contra, Server
from multiedge.simulation.work import StageBatch

ROUNDING_S = 1e-12
"""Times that differ by less are equal."""


class JoinableTask(Protocol[R_contra]):
    """A stage on a device: how it joins items, and what each takes alone, in seconds."""

    @property
    def stage(self) -> int: ...
    @property
    def batch(self) -> StageBatch: ...

    def work_of(self, request: R_contra, /) -> float: ...

    def joins(self, request: R_contra, /) -> bool: ...

    def finished(self, request: R_contra, start_s: float, stop_s: float, /) -> None: ...

    def lost(self, request: R_contra, start_s: float, stop_s: float, /) -> None: ...


class _Run(Generic[R]):
    """Items that a stage computes together, as one task of the device and its own request."""

    __slots__ = ("_server", "requests", "stage", "task", "work")

    def __init__(self, server: JoiningServer[R], task: JoinableTask[R], requests: Sequence[R]) -> None:
        self._server, self.task, self.requests = server, task, requests
        self.stage = task.stage
        alone_s = sum([task.work_of(request) for request in requests])
        self.work = alone_s * task.batch.factor(len(requests)) / len(requests)

    @property
    def item(self) -> int:
        """The first item."""
        return self.requests[0].item

    @property
    def wanted(self) -> bool:
        """It is, until it is lost: an item that has begun again meanwhile is dropped when it ends."""
        return True

    def finished(self, _run: _Run[R], start_s: float, stop_s: float) -> None:
        """Finishes each of its items, then has the device go on."""
        for request in self.requests:
            self.task.finished(request, start_s, stop_s)
        self._server.go_on()

    def lost(self, _run: _Run[R], start_s: float, stop_s: float) -> None:
        """Loses each of its items."""
        for request in self.requests:
            self.task.lost(request, start_s, stop_s)


_Entry = tuple[int, int, int, float, JoinableTask[R], R]
"""An item that waits: its number, its stage with a minus sign, its place among equal ones, since when, the task, the
request."""


class JoiningServer(Generic[R]):
    """One device; see the top of this module."""

    def __init__(self, loop: EventLoop, speed: float) -> None:
        self._loop, self._speed = loop, speed
        self._server = Server[_Run[R]](loop, speed)
        self._run: _Run[R] | None = None
        self._alone: list[_Entry[R]] = []
        self._joining: dict[int, list[_Entry[R]]] = {}
        self._number = count()

    def push(self, task: JoinableTask[R], request: R) -> None:
        """Does the task for the item once it is its turn."""
        self._wait(task, request)
        if self._run is None:
            self._begin()

    def set_speed(self, speed: float) -> None:
        """Continues the current run at another speed; at 0 it stops."""
        self._speed = speed
        self._server.set_speed(speed)
        self._look_again(None)

    def lose(self) -> None:
        """Loses the current run, whose items wait for their turn again. The device does not compute meanwhile."""
        run, self._run = self._run, None
        if run is not None:
            self._server.lose()
            self._server = Server[_Run[R]](self._loop, self._speed)
            for request in run.requests:
                self._wait(run.task, request)
            self._look_again(None)

    def go_on(self) -> None:
        """Begins the next run; the last one has ended."""
        self._run = None
        self._begin()

    def _wait(self, task: JoinableTask[R], request: R) -> None:
        queue = self._joining.setdefault(task.stage, []) if task.joins(request) else self._alone
        heappush(queue, (request.item, -task.stage, next(self._number), self._loop.now_s, task, request))

    def _look_again(self, _nothing: None) -> None:
        if self._run is None:
            self._begin()

    def _begin(self) -> None:
        """Begins the run whose turn it is; if all items may wait for others, looks again once one may not."""
        if self._speed <= 0:
            return
        queues = [queue for queue in (self._alone, *self._joining.values()) if _has_wanted(queue)]
        due = [queue for queue in queues if queue is self._alone or self._is_due(queue)]
        if due:
            queue = min(due)
            task = queue[0][4]
            most = 1 if queue is self._alone else task.batch.most
            self._run = run = _Run(self, task, [heappop(queue)[-1] for _ in range(min(most, len(queue)))])
            self._server.push(run, run)
        elif queues:
            self._loop.at(min(map(_due_s, queues)), self._look_again, None)

    def _is_due(self, queue: Sequence[_Entry[R]]) -> bool:
        return len(queue) >= queue[0][4].batch.most or self._loop.now_s >= _due_s(queue) - ROUNDING_S


def _has_wanted(queue: list[_Entry[R]]) -> bool:
    """Whether an item waits; those that have begun again are dropped."""
    while queue and not queue[0][-1].wanted:
        heappop(queue)
    return bool(queue)


def _due_s(queue: Sequence[_Entry[R]]) -> float:
    """When the first item of a stage has waited for its time."""
    return min([entry[3] for entry in queue]) + queue[0][4].batch.wait_s
