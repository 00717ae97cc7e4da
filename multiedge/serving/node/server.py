"""The one port of a node: every connection begins with a line that says what it is for.

Each connection has a thread. Until its first line has come it counts as waiting: at most `WAITING` do, for at most
FIRST_LINE_S; one more than that ends the one that has waited longest, so that idle connections keep nobody out. What is
refused is logged in one line.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from multiedge.errors import ConfigError, MultiedgeError, describe, lower_first, one_line
from multiedge.network.identity import CLIENT, HUB, NODE, Identity, join_address, peer_name, require_tls
from multiedge.serving.hub.log import LimitedLog

log = logging.getLogger(__name__)

WAITING = 64
FIRST_LINE_S = 3.0
MOST_LINE_BYTES = 256 << 10
BACKLOG = 256
CHECK_S = 0.5
CLOSE_S = 5.0
"""How long closing waits for what carries out connections: workers end in much less."""
PIECE_BYTES = 1 << 16


@dataclass(frozen=True)
class Accepted:
    """A connection whose first line has come.

    Attributes:
        connection: Open, blocking and without a timeout; over TLS an `ssl.SSLSocket`. The server closes it when the door
            returns.
        peer: Who the certificate says it is, such as 'client:anna'; '' on loopback without TLS.
        host: The address that it comes from.
        first: The first line, with its line feed.
        rest: What has arrived after the first line.
    """

    connection: socket.socket
    peer: str
    host: str
    first: bytes
    rest: bytes


@dataclass(frozen=True)
class Door:
    """What carries out connections of one type, in a thread each; what it raises is logged in one line.

    `peers` are those who may open it: the beginnings of the names in their certificates.
    """

    carry_out: Callable[[Accepted], None]
    peers: tuple[str, ...] = (CLIENT, HUB, NODE)


@dataclass(frozen=True)
class _Open:
    connection: socket.socket
    kind: str
    thread: threading.Thread


class NodeServer:
    """Accepts connections on one port and gives each to the door that its first line names: by its 'type' in JSON, or as a
    request of HTTP by its method and path.

    Args:
        host: Where to listen. Beyond loopback only with an identity.
        port: 0 for a free one.
        identity: Certificate and key of this node; None is without TLS.
        doors: By the 'type' of the first line, or 'METHOD /path'.

    Raises:
        ConfigError: If the address cannot be listened on, or is beyond loopback without TLS.
    """

    def __init__(self, host: str, port: int, identity: Identity | None, doors: Mapping[str, Door]) -> None:
        require_tls(host, identity, "--listen")
        self._doors, self._log = dict(doors), LimitedLog(time.monotonic, log.warning)
        self._context = identity.server_context() if identity else None
        self._waiting: dict[int, socket.socket] = {}
        self._open: dict[int, _Open] = {}
        self._lock, self._closed = threading.Lock(), threading.Event()
        try:
            self._listener = socket.create_server((host, port), family=_family(host), backlog=BACKLOG)
        except OSError as error:
            reason = lower_first(os.strerror(error.errno) if error.errno else str(error))
            raise ConfigError(
                f"{join_address(host, port)}: cannot listen here: {reason}; choose another address or port"
            ) from error
        self._listener.setblocking(False)
        self.address = join_address(*self._listener.getsockname()[:2])
        """'HOST:PORT' on which it listens."""
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="node-accept", daemon=True)

    def open_connections(self, kind: str) -> int:
        """How many connections are open whose first line is of this type."""
        with self._lock:
            return sum(each.kind == kind for each in self._open.values())

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends every connection, waits for what carries them out, and stops listening."""
        self._closed.set()
        with self._lock:
            connections = [*self._waiting.values(), *(each.connection for each in self._open.values())]
            threads = [each.thread for each in self._open.values()]
        for connection in connections:
            _shut_down(connection)
        with contextlib.suppress(OSError):  # closed before
            self._wake.send(b"x")
        if self._thread.ident is not None:
            self._thread.join()
        until_s = time.monotonic() + CLOSE_S
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until_s - time.monotonic()))
        for each in (self._listener, self._wake, self._woken):
            each.close()

    # -- accepting ------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._closed.is_set():
                if any(key.fileobj is self._listener for key, _ in selector.select(CHECK_S)):
                    self._accept_one()
                self._log.flush()

    def _accept_one(self) -> None:
        try:
            connection, address = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # no more descriptors, for instance: those that wait make room
            self._refuse(f"connection: {error.strerror}", "a connection")
            time.sleep(CHECK_S)
            return
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context:
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._wait_for(connection, address[0])

    def _wait_for(self, connection: socket.socket, host: str) -> None:
        with self._lock:
            if len(self._waiting) >= WAITING:
                _shut_down(self._waiting.pop(next(iter(self._waiting))))
            self._waiting[id(connection)] = connection
        threading.Thread(target=self._serve, args=(connection, host), name=f"node-{host}", daemon=True).start()

    # -- one connection -------------------------------------------------------------------------------------------------

    def _serve(self, connection: socket.socket, host: str) -> None:
        try:
            accepted = self._greet(connection, host)
            if accepted is not None:
                self._carry_out(accepted)
        finally:
            with self._lock:
                self._waiting.pop(id(connection), None)
                self._open.pop(id(connection), None)
            with contextlib.suppress(OSError):
                connection.close()

    def _greet(self, connection: socket.socket, host: str) -> Accepted | None:
        """The connection with its first line; None if it is refused."""
        until_s = time.monotonic() + FIRST_LINE_S
        try:
            peer = _handshake(connection, until_s)
            first, rest = _first_line(connection, until_s)
        except (OSError, EOFError, MultiedgeError) as error:
            if not self._closed.is_set():
                with self._lock:
                    was_waiting = id(connection) in self._waiting
                self._refuse(_reason(error) if was_waiting else f"more than {WAITING} wait for their first line", host)
            return None
        with self._lock:
            self._waiting.pop(id(connection), None)
            self._open[id(connection)] = _Open(connection, _type_of(first), threading.current_thread())
        connection.settimeout(None)
        return Accepted(connection, peer, host, first, rest)

    def _carry_out(self, accepted: Accepted) -> None:
        try:
            self._door(accepted).carry_out(accepted)
        except (OSError, EOFError, MultiedgeError) as error:
            if not self._closed.is_set():
                self._refuse(one_line(error) or type(error).__name__, accepted.peer or accepted.host)

    def _door(self, accepted: Accepted) -> Door:
        kind = _type_of(accepted.first)
        if kind not in self._doors:
            raise ConfigError(f"expected a first line in JSON of type {', '.join(self._doors)}, got {describe(kind)}")
        door = self._doors[kind]
        if accepted.peer and not accepted.peer.startswith(door.peers):
            raise ConfigError(f"{kind} is for {' and '.join(door.peers)}, not for '{accepted.peer}'")
        return door

    def _refuse(self, reason: str, who: str) -> None:
        self._log.warn(reason, f"refused {who}: {reason}")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _shut_down(connection: socket.socket) -> None:
    """Wakes the thread that waits for this connection. Not `SSLSocket.shutdown`, which takes the TLS state from under it."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _handshake(connection: socket.socket, until_s: float) -> str:
    """The peer's name; '' without TLS."""
    if not isinstance(connection, ssl.SSLSocket):
        return ""
    connection.settimeout(_left(until_s))
    connection.do_handshake()
    return peer_name(connection)


def _first_line(connection: socket.socket, until_s: float) -> tuple[bytes, bytes]:
    """The first line with its line feed, and what came after it."""
    data = b""
    while b"\n" not in data:
        if len(data) > MOST_LINE_BYTES:
            raise ConfigError(f"the first line is longer than {MOST_LINE_BYTES >> 10} KiB")
        connection.settimeout(_left(until_s))
        piece = connection.recv(PIECE_BYTES)
        if not piece:
            raise EOFError("it closed before its first line")
        data += piece
    first, line_feed, rest = data.partition(b"\n")
    return first + line_feed, rest


def _left(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _type_of(line: bytes) -> str:
    """The 'type' of a line in JSON, or 'METHOD /path' of the first line of a request of HTTP; '' if it is neither."""
    if line.rstrip().endswith((b" HTTP/1.1", b" HTTP/1.0")):
        method, _, target = line.decode("ascii", errors="replace").partition(" ")
        return f"{method} {target.split(' ', 1)[0].split('?', 1)[0]}"
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    kind = data.get("type") if isinstance(data, dict) else None
    return kind if isinstance(kind, str) else ""


def _reason(error: Exception) -> str:
    """Why a connection is refused, in words that do not depend on its sender, so that equal ones are counted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or "its certificate cannot be verified"
    if isinstance(error, TimeoutError):
        return f"no first line within {FIRST_LINE_S:.0f} s"
    if isinstance(error, ssl.SSLError):
        return f"no TLS handshake: {(error.reason or 'unknown reason').lower().replace('_', ' ')}"
    if isinstance(error, OSError):
        return lower_first(error.strerror or str(error))
    return one_line(error)
