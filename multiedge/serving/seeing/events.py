"""Snapshots as server-sent events: a browser gets a whole one, then what changes.

A browser that lost the connection asks again by itself, and gets a whole snapshot.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from multiedge.errors import NetworkError
from multiedge.serving.aio import web
from multiedge.serving.seeing.entries import Snapshot
from multiedge.serving.seeing.snapshot import as_data, changes

TICK_S = 0.1
"""How often a snapshot is made while somebody watches."""
KEEP_S = 2.0
"""After so long without a change an empty event says that the connection is alive."""
RETRY_S = 1.0
"""How long a browser waits before it connects again."""
STALL_S = 10.0
"""A browser that takes nothing for so long is cut off."""
MOST_WATCHERS = 32
UNAVAILABLE = 503


def event(kind: str, data: Any, unix_s: float) -> bytes:
    """An event of the stream: its name, and JSON data with the hub's time."""
    text = json.dumps({"now_s": round(unix_s, 3), "data": data}, separators=(",", ":"), allow_nan=False)
    return f"event: {kind}\ndata: {text}\n\n".encode()


class Feed:
    """Makes snapshots while somebody watches, the same for all, and sends each watcher what changed since its last event.

    Args:
        take: Makes a snapshot.
        clock: UNIX time.
    """

    def __init__(self, take: Callable[[], Snapshot], clock: Callable[[], float] = time.time) -> None:
        self._take, self._clock = take, clock
        self._latest = Snapshot()
        self._changed = asyncio.Condition()
        self._watchers = 0
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    async def stream(self, request: Any) -> Any:
        """Answers a request with events until it ends. NetworkError if too many watch."""
        if self._watchers >= MOST_WATCHERS:
            raise NetworkError(f"live: {MOST_WATCHERS} browsers are watching already", status=UNAVAILABLE)
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        self._watchers += 1
        try:
            self._begin()
            await self._send_all(response)
        except (ConnectionError, asyncio.TimeoutError):  # it is gone; it comes back by itself
            if request.transport:
                request.transport.abort()
        finally:
            self._watchers -= 1
        return response

    async def close(self) -> None:
        """Ends all streams."""
        self._is_closed = True
        if self._task:
            self._task.cancel()
        async with self._changed:
            self._changed.notify_all()

    def _begin(self) -> None:
        self._latest = self._take()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        while self._watchers:
            await asyncio.sleep(TICK_S)
            self._latest = self._take()
            async with self._changed:
                self._changed.notify_all()

    async def _send_all(self, response: Any) -> None:
        sent, sent_s = self._latest, self._clock()
        retry = f"retry: {RETRY_S * 1000:.0f}\n".encode()
        await _write(response, retry + event("snapshot", as_data(sent), sent_s))
        while not self._is_closed:
            async with self._changed:
                await self._changed.wait()
            latest, now_s = self._latest, self._clock()
            changed = changes(sent, latest)
            if changed or now_s - sent_s >= KEEP_S:
                await _write(response, event("change", changed, now_s))
                sent_s = now_s
            sent = latest


async def _write(response: Any, data: bytes) -> None:
    await asyncio.wait_for(response.write(data), STALL_S)
