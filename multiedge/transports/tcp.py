"""Messages over TCP: between network namespaces, where the kernel shapes the links, or on 127.0.0.1.

Each process writes its address into a file of the run's folder, with a secret with which every connection must begin, so
that only processes that can read the folder can connect. One thread per peer sends, so that a slow link delays neither a
stage nor another peer.
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
"""Longer than an attempt to connect takes."""
_LINGER_OFF = struct.pack("ii", 1, 0)
"""Closing a connection discards what it has not sent: that must not arrive after its network has been removed."""


def set_hosts(directory: Path, hosts: Mapping[str, str]) -> None:
    """Writes the address on which each process listens, where the kernel shapes the links, into the run's folder."""
    for name, host in hosts.items():
        file_of(directory, "host", name).write_text(host, encoding="ascii")


class TcpEndpoint(StreamEndpoint):
    """The mailbox of process `name` in the run's folder.

    On a link that the kernel shapes, a message is due its delay (`due_s` - `sent_s`) after it has arrived; otherwise it is due
    at the time that its sender computed.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._senders: dict[str, _Sender] = {}
        self._last_due_s: dict[str, float] = {}
        host = file_of(directory, "host", name)
        self._is_shaped = host.exists()
        listener = socket.create_server((host.read_text(encoding="ascii") if self._is_shaped else LOOPBACK, 0), backlog=BACKLOG)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        secret = secrets.token_bytes(SECRET_BYTES)
        super().__init__(listener, f"tcp-{name}", secret)
        _write(file_of(directory, "inbox", name), "{} {} {}".format(*listener.getsockname(), secret.hex()))

    def send(self, peer: str, message: Message) -> None:
        if peer not in self._senders:
            self._senders[peer] = _Sender(file_of(self._directory, "inbox", peer))
        self._senders[peer].put(frame(message))

    def arrived(self, message: Message) -> Message:
        if not self._is_shaped:
            return message
        due = time.monotonic() + message.due_s - message.sent_s
        self._last_due_s[message.source] = max(due, self._last_due_s.get(message.source, 0.0))
        return message._replace(due_s=self._last_due_s[message.source])

    def disconnect(self) -> None:
        for sender in self._senders.values():
            sender.close()
        self._senders.clear()

    def close(self) -> None:
        senders = list(self._senders.values())
        super().close()
        until = time.monotonic() + CLOSE_S
        for sender in senders:
            sender.join(until - time.monotonic())


class _Sender:
    """Sends the messages for one peer, in order, from its own thread."""

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()
        self._closed = threading.Event()
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._send, name=f"to-{inbox.name}", daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        self._waiting.put(data)

    def close(self) -> None:
        """Stops sending and drops what is queued; the thread ends soon, see `join`."""
        self._closed.set()
        self._waiting.put(None)
        with contextlib.suppress(OSError):
            if (connection := self._connection) is not None:
                connection.shutdown(socket.SHUT_RDWR)

    def join(self, timeout_s: float) -> None:
        self._thread.join(max(0.0, timeout_s))

    def _send(self) -> None:
        while (data := self._waiting.get()) is not None:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                # Either `close` shuts this connection down, or the flag that `close` sets is seen here.
                if self._closed.is_set():
                    break
                self._connection.sendall(data)
            except OSError:
                # The peer has ended: the supervisor notices that by itself.
                self._disconnect()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> socket.socket:
        """Connects, and tries again while the link is down. Raises OSError if there is no such process, or when closed."""
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
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        connection.sendall(bytes.fromhex(secret))
    except OSError:
        connection.close()
        raise
    return connection


def _write(path: Path, text: str) -> None:
    """Writes the file atomically, readable by its owner alone."""
    with replacing(path, error=PipelineError, mode=0o600, sync=False) as file:
        file.write(text.encode("ascii"))
