"""Messages over TCP: between network namespaces, where the kernel shapes the way, or on 127.0.0.1.

Where a process listens stands in its file of the run's folder, with a secret that only those who can read the folder
can begin with. To each peer a thread of its own sends, so that a slow way keeps neither a stage nor another peer waiting.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue

from multiedge.errors import PipelineError
from multiedge.files import replacing
from multiedge.transports.message import Message
from multiedge.transports.rundir import file_of
from multiedge.transports.streams import BACKLOG, StreamEndpoint, frame

LOOPBACK = "127.0.0.1"
SECRET_BYTES = 16
CONNECT_S = 1.0
RETRY_S = 0.05
CLOSE_S = 1.5
"""Longer than a sender may still be connecting."""
_AT_ONCE = struct.pack("ii", 1, 0)
"""A connection that is closed ends immediately: data that was not sent is discarded, since its network may end, too."""


def set_hosts(directory: Path, hosts: Mapping[str, str]) -> None:
    """States in the run's folder on which address each process listens, where the kernel shapes the ways between them."""
    for name, host in hosts.items():
        file_of(directory, "host", name).write_text(host, encoding="ascii")


class TcpEndpoint(StreamEndpoint):
    """The mailbox of process `name` in the run's folder.

    On a way that the kernel shapes, a message is due its delay (`due_s` - `sent_s`) after it has arrived; elsewhere it is
    due when its sender says.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._lines: dict[str, _Line] = {}
        self._last_due_s: dict[str, float] = {}
        host = file_of(directory, "host", name)
        self._is_shaped = host.exists()
        listener = socket.create_server((host.read_text(encoding="ascii") if self._is_shaped else LOOPBACK, 0), backlog=BACKLOG)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        secret = secrets.token_bytes(SECRET_BYTES)
        super().__init__(listener, f"tcp-{name}", secret)
        _write(file_of(directory, "inbox", name), "{} {} {}".format(*listener.getsockname(), secret.hex()))

    def send(self, peer: str, message: Message) -> None:
        if peer not in self._lines:
            self._lines[peer] = _Line(file_of(self._directory, "inbox", peer))
        self._lines[peer].put(frame(message))

    def arrived(self, message: Message) -> Message:
        if not self._is_shaped:
            return message
        due = time.monotonic() + message.due_s - message.sent_s
        self._last_due_s[message.source] = max(due, self._last_due_s.get(message.source, 0.0))
        return message._replace(due_s=self._last_due_s[message.source])

    def disconnect(self) -> None:
        for line in self._lines.values():
            line.close()
        self._lines.clear()

    def close(self) -> None:
        lines = list(self._lines.values())
        super().close()
        until = time.monotonic() + CLOSE_S
        for line in lines:
            line.join(until - time.monotonic())


class _Line:
    """What goes to one peer, in order, from a thread of its own."""

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox
        self._waiting: SimpleQueue[bytearray | None] = SimpleQueue()
        self._closed = threading.Event()
        self._connection: socket.socket | None = None
        self._sender = threading.Thread(target=self._send, name=f"to-{inbox.name}", daemon=True)
        self._sender.start()

    def put(self, data: bytearray) -> None:
        self._waiting.put(data)

    def close(self) -> None:
        """Sends nothing more, not even what waits; the thread ends soon, see `join`."""
        self._closed.set()
        self._waiting.put(None)
        with contextlib.suppress(OSError):
            if (connection := self._connection) is not None:
                connection.shutdown(socket.SHUT_RDWR)

    def join(self, timeout_s: float) -> None:
        self._sender.join(max(0.0, timeout_s))

    def _send(self) -> None:
        while (data := self._waiting.get()) is not None:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                # Either `close` has seen this connection, or it is seen here that `close` was called.
                if self._closed.is_set():
                    break
                self._connection.sendall(data)
            except OSError:
                # Nobody reads there (any more): the one who watches the processes knows it already.
                self._disconnect()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> socket.socket:
        """A connection, however long its link is down. Raises OSError if there is no such process, or when closed."""
        while not self._closed.is_set():
            try:
                return _connect(self._inbox)
            except (ConnectionRefusedError, FileNotFoundError):
                raise
            except OSError:
                self._closed.wait(RETRY_S)
        raise ConnectionAbortedError


def _connect(inbox: Path) -> socket.socket:
    host, port, secret = inbox.read_text(encoding="ascii").split()
    connection = socket.create_connection((host, int(port)), timeout=CONNECT_S)
    try:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        connection.sendall(bytes.fromhex(secret))
    except OSError:
        connection.close()
        raise
    return connection


def _write(path: Path, text: str) -> None:
    """Writes the file atomically, readable by its owner alone."""
    with replacing(path, error=PipelineError, mode=0o600, sync=False) as file:
        file.write(text.encode("ascii"))
