"""HTTP/1.1 from one thread: a request leaves when it is due, and nothing that arrives keeps it waiting for long."""

from __future__ import annotations

import json
import select
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from multiedge.errors import NetworkError, lower_first, one_line
from multiedge.load.contract import Channel, Record
from multiedge.load.response import END_OF_HEAD, ResponseReader
from multiedge.network.identity import Identity, join_address

CONNECT_S = 10.0
PIECE_BYTES = 1 << 18
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_WANTS = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _State(Enum):
    CONNECTING = "connecting"
    SHAKING_HANDS = "in the handshake of TLS"
    OPEN = "open"
    CLOSED = "closed"


@dataclass
class _Request:
    """A request that is on its way. One whose connection ended before any answer is sent `again` once, on a new connection:
    a server may end an idle connection at the time at which a request is sent over it."""

    number: int
    data: bytes
    again: bool = False


@dataclass(eq=False)
class _Connection:
    socket: socket.socket
    state: _State
    is_fresh: bool = True
    request: _Request | None = None
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    reader: ResponseReader = field(default_factory=ResponseReader)
    events: int = 0


class HttpWire:
    """Requests over connections that are kept; where all are busy, a new one is opened, if the channel permits that."""

    def __init__(self, channel: Channel, record: Record, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel, self._record, self._clock = channel, record, clock
        self._selector = selectors.DefaultSelector()
        self._context = client_context(channel)
        self._address: tuple[socket.AddressFamily, tuple[str, int]] | None = None
        self._idle: list[_Connection] = []
        self._connections: set[_Connection] = set()
        self._waiting: deque[_Request] = deque()
        self._ready: deque[tuple[_Connection, int]] = deque()
        self._limits: deque[tuple[float, int, _Connection]] = deque()
        self.unanswered = 0

    def open(self) -> None:
        channel = self._channel
        place = join_address(channel.host, channel.port)
        try:
            for _ in range(channel.connections):
                connected = socket.create_connection((channel.host, channel.port), CONNECT_S)
                if self._context:
                    connected = self._context.wrap_socket(connected, server_hostname=channel.host)
                self._address = connected.family, connected.getpeername()
                self._idle.append(self._add(connected, _State.OPEN))
        except OSError as error:
            reason = lower_first(error.strerror or one_line(error) or type(error).__name__)
            remedy = "; every connection is an open file (ulimit -n)" if self._connections else ""
            raise NetworkError(f"{place}: cannot be reached: {reason}{remedy}") from None

    def close(self) -> None:
        for connection in tuple(self._connections):
            self._drop(connection)
        self._selector.close()

    def send(self, number: int, request: bytes) -> None:
        self.unanswered += 1
        self._send(_Request(number, request))

    def wait(self, until_s: float) -> None:
        now = self._clock()
        self._expire(now)
        if not self._ready:
            # epoll itself waits for whole milliseconds; select, which waits for it, for microseconds.
            left_s = max(0.0, until_s - now)
            if self._limits:
                left_s = min(left_s, max(0.0, self._limits[0][0] - now))
            if not select.select([self._selector.fileno()], [], [], left_s)[0]:
                return
            self._ready.extend((key.data, events) for key, events in self._selector.select(0))
        while self._ready:
            self._handle(*self._ready.popleft())
            if self._clock() >= until_s:
                return

    def _send(self, request: _Request) -> None:
        if self._idle:
            self._begin(self._idle.pop(), request)
        elif self._channel.may_grow or len(self._connections) < self._channel.connections:
            self._begin(self._connect(request), request)
        else:
            self._record.waited += 1
            self._waiting.append(request)

    def _begin(self, connection: _Connection, request: _Request) -> None:
        now, number = self._clock(), request.number
        if not request.again:
            self._record.issued_s[number] = now
        self._limits.append((now + self._channel.timeout_s, number, connection))
        connection.request, connection.unsent = request, memoryview(request.data)
        connection.reader = ResponseReader()
        if connection.state is _State.OPEN:
            self._flush(connection)

    def _connect(self, request: _Request) -> _Connection:
        assert self._address is not None
        family, address = self._address
        try:
            connected = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # no more files may be open
            raise NetworkError(
                f"{len(self._connections)} connections are open, and the system permits no more: {one_line(error)};"
                " raise the limit (ulimit -n), or give --connections"
            ) from None
        connected.setblocking(False)
        connected.connect_ex(address)
        return self._add(connected, _State.CONNECTING)

    def _add(self, connected: socket.socket, state: _State) -> _Connection:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(connected, state)
        self._connections.add(connection)
        connection.events = _READ if state is _State.OPEN else _READ | _WRITE
        self._selector.register(connected, connection.events, connection)
        return connection

    def _handle(self, connection: _Connection, events: int) -> None:
        if connection.state is _State.CLOSED:
            return
        try:
            if connection.state is _State.CONNECTING and not self._connected(connection):
                return
            if connection.state is _State.SHAKING_HANDS and not self._shook_hands(connection):
                return
            if events & _WRITE:
                self._flush(connection)
            if events & _READ and connection.state is _State.OPEN:
                self._receive(connection)
        except (OSError, NetworkError) as error:
            self._end(connection, lower_first(one_line(error)) or type(error).__name__)

    def _connected(self, connection: _Connection) -> bool:
        code = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "the connection was refused or could not be made")
        if self._context is None:
            connection.state = _State.OPEN
            return True
        self._selector.unregister(connection.socket)
        connection.socket = self._context.wrap_socket(
            connection.socket, server_hostname=self._channel.host, do_handshake_on_connect=False
        )
        self._selector.register(connection.socket, connection.events, connection)
        connection.state = _State.SHAKING_HANDS
        return True

    def _shook_hands(self, connection: _Connection) -> bool:
        assert isinstance(connection.socket, ssl.SSLSocket)
        try:
            connection.socket.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(connection, _READ)
            return False
        except ssl.SSLWantWriteError:
            self._watch(connection, _READ | _WRITE)
            return False
        connection.state = _State.OPEN
        self._flush(connection)
        return True

    def _watch(self, connection: _Connection, events: int) -> None:
        if connection.events != events:
            connection.events = events
            self._selector.modify(connection.socket, events, connection)

    def _flush(self, connection: _Connection) -> None:
        try:
            while connection.unsent:
                connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        except _WANTS:
            pass
        except OSError as error:
            self._end(connection, lower_first(one_line(error)))
            return
        self._watch(connection, _READ | _WRITE if connection.unsent else _READ)

    def _receive(self, connection: _Connection) -> None:
        reader = connection.reader
        while True:
            try:
                data = connection.socket.recv(PIECE_BYTES)
            except _WANTS:
                return
            if connection.request is None:  # the server has ended an idle connection, or speaks without being asked
                self._end(connection, "")
                return
            if data:
                reader.feed(data)
            else:
                reader.end()
            number = connection.request.number
            if reader.body and self._record.first_s[number] != self._record.first_s[number]:
                self._record.first_s[number] = self._clock()
            if reader.is_complete:
                self._answered(connection, number)
                return
            if len(data) < PIECE_BYTES and self._context is None:
                return

    def _answered(self, connection: _Connection, number: int) -> None:
        reader, record = connection.reader, self._record
        record.done_s[number] = self._clock()
        if reader.status >= 300:
            record.errors[number] = f"status {reader.status}: {reason_in(bytes(reader.body))}"
        elif record.keeps_answers:
            record.answers[number] = b"".join([reader.head, END_OF_HEAD, reader.body])
        self.unanswered -= 1
        connection.request, connection.is_fresh = None, False
        if reader.closes or connection.unsent:
            self._drop(connection)
        else:
            self._idle.append(connection)
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self._idle:
            self._begin(self._idle.pop(), self._waiting.popleft())
        if self._waiting and len(self._connections) < self._channel.connections:
            request = self._waiting.popleft()
            self._begin(self._connect(request), request)

    def _end(self, connection: _Connection, reason: str) -> None:
        """The connection is of no use any more, and its request has failed unless it can be sent again."""
        request, is_stale = connection.request, not connection.is_fresh and not connection.reader.status
        self._drop(connection)
        if request is None:
            return
        if is_stale and not request.again:
            request.again = True
            self._begin(self._connect(request), request)
        else:
            self._fail(request, reason)
        self._send_waiting()

    def _fail(self, request: _Request, reason: str) -> None:
        self._record.fail(request.number, reason)
        self.unanswered -= 1

    def _drop(self, connection: _Connection) -> None:
        if connection.state is _State.CLOSED:
            return
        connection.state, connection.request = _State.CLOSED, None
        self._connections.discard(connection)
        with suppress(ValueError):
            self._idle.remove(connection)
        with suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        connection.socket.close()

    def _expire(self, now: float) -> None:
        """Ends requests whose time is over. They are in the order in which they were sent, and all have the same time."""
        while self._limits and (self._limits[0][0] <= now or not _is_of(*self._limits[0][1:])):
            _, number, connection = self._limits.popleft()
            if _is_of(number, connection):
                request = connection.request
                self._drop(connection)
                assert request is not None
                self._fail(request, f"no answer in {self._channel.timeout_s:g} s")
                self._send_waiting()


def _is_of(number: int, connection: _Connection) -> bool:
    return connection.request is not None and connection.request.number == number


def client_context(channel: Channel) -> ssl.SSLContext | None:
    """TLS of a channel; None without."""
    if channel.identity:
        return Identity(Path(channel.identity)).client_context()
    return ssl.create_default_context() if channel.tls else None


def reason_in(body: bytes) -> str:
    """Why a server refused a request: the `error` of its JSON, otherwise the beginning of the body."""
    try:
        said = json.loads(body)["error"]
        return " ".join(str(said.get("message", said) if isinstance(said, dict) else said).split())[:200]
    except (ValueError, KeyError, TypeError, AttributeError):
        return " ".join(body[:200].decode(errors="replace").split())
