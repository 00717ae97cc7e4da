"""How many requests of one stage compute and wait at the same time, so that none of them can block the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 0.05
"""How often a request that waits looks whether its caller still does."""

IsActive = Callable[[], bool]
"""Whether the caller of a request still waits for the answer."""


class Busy(Exception):
    """As many requests wait as may; this one can be sent again later."""


class Abandoned(Exception):
    """The caller has gone while its request waited."""


class Slots:
    """`count` requests compute, and up to `most_waiting` wait for that."""

    def __init__(self, count: int, most_waiting: int) -> None:
        self._count, self._most_waiting = count, most_waiting
        self._waiting = 0
        self._running: list[IsActive] = []
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, is_active: IsActive) -> Iterator[None]:
        """A slot for the block, after waiting for one. Raises Busy or Abandoned."""
        self._enter(is_active)
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
    def is_stuck(self) -> bool:
        """Whether every slot computes for a caller that has gone: until one of them ends, nothing is answered."""
        with self._changed:
            return len(self._running) >= self._count and not any(is_active() for is_active in self._running)

    def _enter(self, is_active: IsActive) -> None:
        with self._changed:
            if len(self._running) >= self._count and self._waiting >= self._most_waiting:
                raise Busy
            self._waiting += 1
            try:
                while len(self._running) >= self._count:
                    self._changed.wait(LOOK_S)
                    if not is_active():
                        raise Abandoned
            finally:
                self._waiting -= 1
            self._running.append(is_active)
