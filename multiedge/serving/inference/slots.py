"""How many requests of one model compute and wait at the same time, so that none of them can block the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from multiedge.serving.inference.contract import Abandoned, Busy, DeadlineExceeded

LOOK_S = 0.05
"""How often a request that waits looks whether its caller still does."""

IsActive = Callable[[], bool]
"""Whether the caller of a request still waits for the answer."""


class Slots:
    """`count` requests compute, and up to `most_waiting` wait for that. `name` is that of the model."""

    def __init__(self, name: str, count: int, most_waiting: int) -> None:
        self._name, self._count, self._most_waiting = name, count, most_waiting
        self._waiting = 0
        self._running: list[IsActive] = []
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, is_active: IsActive, deadline_s: float | None = None) -> Iterator[None]:
        """A slot for the block, after waiting for one until the deadline (`time.monotonic`).

        Raises Busy, Abandoned or DeadlineExceeded.
        """
        self._enter(is_active, deadline_s)
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(is_active)
                self._changed.notify()

    @property
    def is_running(self) -> bool:
        return bool(self._running)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return self._waiting

    @property
    def is_stuck(self) -> bool:
        """Whether every slot computes for a caller that has gone: until one of them ends, nothing is answered."""
        with self._changed:
            return len(self._running) >= self._count and not any(is_active() for is_active in self._running)

    def _enter(self, is_active: IsActive, deadline_s: float | None) -> None:
        with self._changed:
            if len(self._running) >= self._count and self._waiting >= self._most_waiting:
                raise Busy(f"{self._most_waiting} requests of '{self._name}' wait; send it later")
            self._waiting += 1
            try:
                while len(self._running) >= self._count:
                    self._changed.wait(LOOK_S if deadline_s is None else min(LOOK_S, max(0.0, deadline_s - time.monotonic())))
                    # Before the caller is looked at: one whose time is over may have gone because of that.
                    if deadline_s is not None and time.monotonic() >= deadline_s:
                        raise DeadlineExceeded(f"the time of the request was over before a slot of '{self._name}' was free")
                    if not is_active():
                        raise Abandoned("the caller has gone")
            finally:
                self._waiting -= 1
            self._running.append(is_active)
