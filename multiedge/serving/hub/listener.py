"""Accepts connections: who completes no handshake, or makes no permitted request soon, is cut off with one line in the log."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from multiedge.errors import ConfigError, lower_first, one_line
from multiedge.network.identity import join_address
from multiedge.serving.hub.log import LimitedLog


@dataclass(frozen=True)
class Limits:
    """What a listener allows.

    Attributes:
        handshake_s: Time for the handshake of TLS.
        first_request_s: Time from the handshake to the head of the first request that is permitted.
        pending: Connections that have not made such a request; a further one takes the place of the oldest, so that idle
            ones cannot keep others out.
        connections: Connections together.
    """

    handshake_s: float = 3.0
    first_request_s: float = 5.0
    pending: int = 64
    connections: int = 1024


class Listener:
    """A socket that listens, and its connections.

    Args:
        factory: Makes the protocol of a connection.
        context: What TLS to use; None is none.
        log: Where refusals go.
        limits: What is allowed.
    """

    def __init__(
        self,
        factory: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
        log: LimitedLog,
        limits: Limits,
    ) -> None:
        self._factory, self._context, self._log, self._limits = factory, context, log, limits
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: dict[asyncio.Task[None], str] = {}
        self._by_transport: dict[Any, asyncio.Task[None]] = {}
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._tasks)

    def open(self, host: str, port: int) -> int:
        """Listens; returns the port. ConfigError if the address cannot be used."""
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            self._socket = socket.create_server((host, port), family=family, backlog=512)
        except OSError as error:
            place, reason = (
                join_address(host, port),
                lower_first(os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)),
            )
            raise ConfigError(f"hub: cannot listen on {place}: {reason}; choose another with --listen") from None
        self._socket.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept(self._socket))
        return int(self._socket.getsockname()[1])

    async def close(self) -> None:
        """Ends all connections."""
        tasks = [*self._tasks, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._socket:
            self._socket.close()

    def permit(self, transport: Any) -> None:
        """The connection has made a permitted request; it may stay."""
        task = self._by_transport.get(transport)
        if task:
            self._pending.pop(task, None)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError as error:  # such as too many open files: those that are there must go on
                self._log.warn("cannot accept", f"cannot accept a connection: {error.strerror or error}")
                await asyncio.sleep(0.1)
                continue
            peer = join_address(*address[:2])
            if len(self._tasks) >= self._limits.connections:
                self._log.warn("too many connections", f"{peer}: refused: {len(self._tasks)} connections are open")
                connection.close()
                continue
            if len(self._pending) >= self._limits.pending:
                next(iter(self._pending)).cancel()
            task = loop.create_task(self._serve(connection, peer))
            self._tasks.add(task)
            self._pending[task] = peer
            task.add_done_callback(partial(self._forget, connection))

    def _forget(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        connection.close()  # also of a task that was cancelled before it began
        self._tasks.discard(task)
        self._pending.pop(task, None)

    async def _serve(self, connection: socket.socket, peer: str) -> None:
        """One connection from its acceptance to its end."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        closed = loop.create_future()
        transport = None
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            timeout = self._limits.handshake_s if self._context else None
            transport, _ = await loop.connect_accepted_socket(
                lambda: _Watched(self._factory(), closed), connection, ssl=self._context, ssl_handshake_timeout=timeout
            )
            self._by_transport[transport] = task
            await asyncio.wait([closed], timeout=self._limits.first_request_s)
            if task in self._pending and not closed.done():
                self._log.warn("no request", f"{peer}: cut off: no permitted request in {self._limits.first_request_s:g} s")
                return
            await closed
        except asyncio.CancelledError:
            if task in self._pending:
                self._log.warn("idle connections", f"{peer}: cut off: too many connections without a request")
        except (OSError, asyncio.TimeoutError) as error:
            self._log.warn("handshake", f"{peer}: refused: {_handshake_reason(error)}")
        finally:
            if transport is not None:
                self._by_transport.pop(transport, None)
                transport.abort()


class _Watched(asyncio.Protocol):
    """A protocol, whose end is noted in `closed`."""

    def __init__(self, inner: asyncio.Protocol, closed: asyncio.Future[None]) -> None:
        self._inner, self._closed = inner, closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._inner.connection_lost(error)
        if not self._closed.done():
            self._closed.set_result(None)


def _handshake_reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no handshake of TLS: {(error.reason or one_line(error)).lower().replace('_', ' ')}"
    if isinstance(error, ConnectionAbortedError):  # asyncio says so when the time for the handshake is over
        return "no handshake of TLS in time"
    return f"no handshake of TLS: {one_line(error) or 'the connection ended'}"
