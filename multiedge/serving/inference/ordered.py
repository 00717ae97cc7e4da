"""Replies to the requests of a stream: several are computed at the same time, and all are sent in the requests' order."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

from multiedge.serving.inference.contract import Abandoned

Request = TypeVar("Request")
Reply = TypeVar("Reply")
T = TypeVar("T")
LOOK_S = 0.1
"""How often it looks whether a client that takes nothing is still there."""
MOST_REPLIES = 16
"""Replies to one request that wait to be sent."""


def in_order(
    requests: Iterable[Request],
    answer: Callable[[Request], Iterable[Reply]],
    pool: Executor,
    most: int,
    is_active: Callable[[], bool],
) -> Iterator[Reply]:
    """The replies of `answer`, which raises nothing, to up to `most` requests at a time; ends when the requests do, or when the
    client is not active any more."""
    waiting: queue.Queue[queue.Queue[Reply | None] | None] = queue.Queue(most)

    def compute(request: Request, replies: queue.Queue[Reply | None]) -> None:
        try:
            for reply in answer(request):
                _put(replies, reply, is_active)
        finally:
            _put(replies, None, is_active)

    def read() -> None:
        try:
            for request in requests:
                replies: queue.Queue[Reply | None] = queue.Queue(MOST_REPLIES)
                pool.submit(compute, request, replies)
                _put(waiting, replies, is_active)
        finally:
            _put(waiting, None, is_active)

    pool.submit(read)
    while (replies := waiting.get()) is not None:
        while (reply := replies.get()) is not None:
            yield reply


def _put(into: queue.Queue[T], item: T, is_active: Callable[[], bool]) -> None:
    """Waits for room in the queue; raises Abandoned if nobody takes anything any more."""
    while True:
        try:
            into.put(item, timeout=LOOK_S)
        except queue.Full:
            if not is_active():
                raise Abandoned("the caller has gone") from None
        else:
            return
