"""Typed messages between two processes of a fleet: one line of JSON each, over a socket with or without TLS.

No call waits longer than it is told to, whatever the other side does.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from multiedge.errors import NetworkError, lower_first, one_line
from multiedge.formats.fields import Kind
from multiedge.formats.records import LineDecoder, encode_line
from multiedge.network.identity import join_address

Message = TypeVar("Message")

CONNECT_S = 2.0
"""How long a connection may take until it can be used, its handshake included."""
MOST_LINE_BYTES = 8 << 20
"""The longest message."""
MOST_UNSENT_BYTES = 32 << 20
"""A peer for which so much is queued takes nothing: the connection counts as ended."""
PIECE_BYTES = 1 << 16
_KIND = Kind("message", NetworkError)
_WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


class Connection(Generic[Message]):
    """The two directions of a socket. Any thread may send; one thread receives.

    Args:
        connected: A connected socket, after its handshake.
        kinds: The dataclasses of the messages that may come.
        peer: Who is at the other end, for errors.
        most_bytes: The longest line that may come.
        arrived: What was read from the socket before.
    """

    def __init__(
        self,
        connected: socket.socket,
        kinds: Iterable[Callable[..., Message]],
        peer: str,
        most_bytes: int = MOST_LINE_BYTES,
        arrived: bytes = b"",
    ) -> None:
        connected.setblocking(False)
        self.socket, self.peer = connected, peer
        self.ended = ""
        """How the connection ended, in words; '' while it is open."""
        self._decoder: LineDecoder[Message] = LineDecoder(kinds, peer, _KIND, most_bytes)
        self._unsent, self._arrived = bytearray(), arrived
        # An SSL object must not be used by two threads at the same time, not even to read and to write.
        self._lock = threading.Lock()

    @property
    def local_host(self) -> str:
        """The address of this end, at which the peer's machine reaches this one."""
        return str(self.socket.getsockname()[0])

    def send(self, message: Any) -> None:
        """Sends without waiting: what the peer does not take yet goes with the next `send` or `receive`."""
        line = encode_line(message)
        with self._lock:
            if self.ended:
                return
            self._unsent += line
            self._flush()
            if len(self._unsent) > MOST_UNSENT_BYTES:
                self._end("it takes no messages")

    def receive(self, timeout_s: float = 0.0, other: socket.socket | None = None) -> tuple[Message, ...]:
        """The messages that have arrived, after waiting up to `timeout_s` for the first, or until `other` can be read.

        NetworkError with the place for one that is damaged. Once the peer has closed, () and `ended` says so.
        """
        until, is_other_ready = time.monotonic() + timeout_s, False
        while True:
            with self._lock:
                if not self.ended:
                    self._flush()
                data = self._arrived + (b"" if self.ended else self._take())
                self._arrived = b""
                is_waiting = bool(self._unsent)
            if data and (messages := self._decoder.feed(data)):
                return messages
            left_s = until - time.monotonic()
            if left_s <= 0 or self.ended or is_other_ready:
                return ()
            is_other_ready = wait_for(self.socket, left_s, to_read=True, to_write=is_waiting, other=other)

    def close(self, linger_s: float = 0.0) -> None:
        """Closes both directions, after waiting up to `linger_s` until everything is sent. May be called twice."""
        until = time.monotonic() + linger_s
        while self._is_sending() and (left_s := until - time.monotonic()) > 0:
            wait_for(self.socket, left_s, to_write=True)
        with self._lock:
            self._end("closed")

    def _is_sending(self) -> bool:
        with self._lock:
            self._flush()
            return bool(self._unsent) and not self.ended

    def _flush(self) -> None:
        try:
            while self._unsent and not self.ended:
                del self._unsent[: self.socket.send(self._unsent)]
        except _WANTS:
            pass
        except OSError as error:
            # A peer that has closed may have said why: that has arrived, and would be lost with the socket.
            self._arrived += self._take()
            self._end(reason_of(error))

    def _take(self) -> bytes:
        """All bytes that are there; TLS may hold some for which no `select` would wake."""
        pieces = []
        try:
            while piece := self.socket.recv(PIECE_BYTES):
                pieces.append(piece)
            self._end("the other side has closed the connection")
        except _WANTS:
            pass
        except OSError as error:
            self._end(reason_of(error))
        return b"".join(pieces)

    def _end(self, reason: str) -> None:
        if not self.ended:
            self.ended = reason
            self.socket.close()


def connect(host: str, port: int, context: ssl.SSLContext | None, timeout_s: float = CONNECT_S) -> socket.socket:
    """A connected socket, after its handshake where there is a `context`. NetworkError if there is none in time."""
    until, place = time.monotonic() + timeout_s, join_address(host, port)
    try:
        connected = socket.create_connection((host, port), timeout=timeout_s)
    except OSError as error:
        raise NetworkError(f"{place}: cannot be reached: {reason_of(error)}") from error
    tune(connected)
    if context is None:
        return connected
    connected.setblocking(False)
    wrapped = context.wrap_socket(connected, do_handshake_on_connect=False)
    try:
        while not _shook_hands(wrapped, until - time.monotonic()):
            pass
    except OSError as error:
        wrapped.close()
        raise NetworkError(f"{place}: no secure connection: {reason_of(error)}") from error
    return wrapped


def own_address(host: str, port: int) -> str:
    """The address of this machine on the network that leads to `host`; NetworkError if none does. Nothing is sent."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as towards:
            towards.connect(address)
            return str(towards.getsockname()[0])
    except OSError as error:
        raise NetworkError(f"{join_address(host, port)}: cannot be reached: {reason_of(error)}") from error


def tune(connected: socket.socket) -> None:
    """Small messages leave immediately."""
    with contextlib.suppress(OSError):  # a socket of another family
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def wait_for(
    connected: socket.socket,
    timeout_s: float,
    *,
    to_read: bool = False,
    to_write: bool = False,
    other: socket.socket | None = None,
) -> bool:
    """Returns once the socket can be read or written, whichever is wanted, or is closed, or `other` can be read, or after
    `timeout_s`; whether `other` can be read."""
    poll = select.poll()
    with contextlib.suppress(OSError, ValueError):  # closed by another thread
        poll.register(connected, (select.POLLIN if to_read else 0) | (select.POLLOUT if to_write else 0))
        if other is not None:
            poll.register(other, select.POLLIN)
        ready = poll.poll(max(0.0, timeout_s) * 1000)
        return other is not None and any(number == other.fileno() for number, _ in ready)
    return False


def wait_for_any(connected: Iterable[socket.socket | None], timeout_s: float) -> set[int]:
    """Returns once one of the sockets can be read, or after `timeout_s`; the descriptors of those that can. None stands for a
    socket that is not there."""
    poll = select.poll()
    for each in connected:
        with contextlib.suppress(OSError, ValueError):
            if each is not None:
                poll.register(each, select.POLLIN)
    return {number for number, _ in poll.poll(timeout_s * 1000)}


def reason_of(error: OSError) -> str:
    """Why an operation on a socket failed, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return lower_first(error.verify_message)
    if isinstance(error, ssl.SSLError):
        return (error.reason or one_line(error)).lower().replace("_", " ")
    return lower_first(error.strerror or one_line(error))


def _shook_hands(wrapped: ssl.SSLSocket, timeout_s: float) -> bool:
    """Goes on with the handshake; whether it is complete. TimeoutError if the other side takes longer than `timeout_s`."""
    if timeout_s <= 0:
        raise TimeoutError(0, "the handshake takes too long")
    try:
        wrapped.do_handshake()
    except ssl.SSLWantReadError:
        wait_for(wrapped, timeout_s, to_read=True)
    except ssl.SSLWantWriteError:
        wait_for(wrapped, timeout_s, to_write=True)
    else:
        return True
    return False
