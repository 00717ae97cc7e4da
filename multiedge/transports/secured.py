"""The two ends of a connection that carries messages, neither of which ever waits.

    greeting: secret | epoch | bytes of the name | name of the sender
    message:  head (see `streams`) | message (see `message`)

The sender writes greeting and messages; the receiver answers the greeting with a report of 0 bytes, and later reports how many
bytes were taken. Each end is a generator that goes on as far as possible and then yields the events for which it waits.
"""

from __future__ import annotations

import errno
import math
import os
import selectors
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Generator
from hmac import compare_digest
from pathlib import Path

from multiedge.errors import MultiedgeError, PipelineError
from multiedge.fleet import CALLER_NAME
from multiedge.network.connection import tune
from multiedge.network.identity import CLIENT, NODE, Identity, peer_name
from multiedge.transports.credits import ReceiveWindow, SendWindow
from multiedge.transports.message import Address, Message, decode
from multiedge.transports.peers import PeerAddress, read_address
from multiedge.transports.streams import HEAD

SECRET_BYTES = 16
GREETING = struct.Struct(f"<{SECRET_BYTES}sIH")
REPORT = struct.Struct("<Q")
CHUNK_BYTES = 256 << 10
"""The most that is written with one call."""
TURN_BYTES = 1 << 20
"""After so much the other connections have their turn."""
MOST_MESSAGE_BYTES = 4 << 30
GREET_S = 3.0
"""How long a connection may take until its greeting is answered."""
RETRY_S = 0.05
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
AGAIN = 4
"""More can be done without waiting, after the turn of the others."""
_LINGER_OFF = struct.pack("ii", 1, 0)
"""Closing a connection discards what it has not sent: it is void then."""
_WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)

Steps = Generator[int, None, None]


class Outgoing:
    """The sender's end, for the messages of one epoch to one peer. It connects again after a failure, until it is closed."""

    def __init__(self, directory: Path, name: str, peer: str, epoch: int, identity: Identity | None) -> None:
        self.peer, self.epoch = peer, epoch
        self.socket: socket.socket | None = None
        self.events = 0
        self.retry_s = 0.0
        """When to step next while there is no socket."""
        self.deadline_s = math.inf
        self.failure = ""
        """Why it has no connection; '' while it has one, or the peer's address is not known."""
        self._directory, self._name, self._identity = directory, name, identity
        self._waiting: deque[bytearray] = deque()
        self._begin()

    is_closed = False

    def put(self, data: bytearray) -> None:
        self._waiting.append(data)

    @property
    def due_s(self) -> float:
        """When to step at the latest, whatever happens."""
        if self.socket is not None:
            return self.deadline_s
        return self.retry_s if self._waiting else math.inf

    def step(self, now_s: float) -> None:
        """Goes on as far as possible. When that fails, what was on its way is lost; the next attempt comes at `retry_s`."""
        if self.socket is None and (now_s < self.retry_s or not self._waiting):
            return
        try:
            if now_s > self.deadline_s:
                raise TimeoutError(errno.ETIMEDOUT, "no answer to the greeting")
            if self.socket is None:
                self.deadline_s = now_s + GREET_S
            self.events = next(self._steps)
        except (StopIteration, OSError, EOFError, MultiedgeError) as error:
            self.failure = str(error)
            self.close()
            self.retry_s = now_s + RETRY_S
            self._begin()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _begin(self) -> None:
        self._steps = self._talk()
        self._window, self._rest, self._reports = SendWindow(), memoryview(b""), b""
        self.events, self.deadline_s = 0, math.inf

    def _talk(self) -> Steps:
        address = read_address(self._directory, self.peer)
        if address is None:
            return
        if bool(address.identity) != (self._identity is not None):
            raise PipelineError(f"'{self.peer}' and '{self._name}' do not agree whether to use TLS")
        connected = yield from self._connect(address)
        name = self._name.encode()
        greeting = GREETING.pack(bytes.fromhex(address.secret), self.epoch, len(name)) + name
        yield from _send(connected, greeting)
        while not self._read_reports(connected):
            yield READ
        self.deadline_s, self.failure = math.inf, ""
        while True:
            self._read_reports(connected)
            yield READ | self._write(connected)

    def _connect(self, address: PeerAddress) -> Generator[int, None, socket.socket]:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        connected = self.socket = socket.socket(family, socket.SOCK_STREAM)
        set_up(connected)
        status = connected.connect_ex((address.host, address.port))
        if status == errno.EINPROGRESS:
            yield WRITE
            status = connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            raise OSError(status, os.strerror(status))
        if self._identity is None:
            return connected
        secured = self.socket = self._identity.client_context().wrap_socket(connected, do_handshake_on_connect=False)
        yield from _shake_hands(secured)
        if peer_name(secured) != address.identity:
            raise PipelineError(f"expected the certificate of '{address.identity}', got that of '{peer_name(secured)}'")
        return secured

    def _read_reports(self, connected: socket.socket) -> bool:
        """Takes what the receiver has reported; whether there was a report."""
        while (data := _receive(connected, 4096)) is not None:
            self._reports += data
        whole = len(self._reports) // REPORT.size * REPORT.size
        if whole:
            self._window.grant(REPORT.unpack_from(self._reports, whole - REPORT.size)[0])
            self._reports = self._reports[whole:]
        return bool(whole)

    def _write(self, connected: socket.socket) -> int:
        """Writes as far as window, socket and turn allow; WRITE if there is more that the window allows, otherwise 0."""
        left = TURN_BYTES
        while self._rest or self._start_next():
            if left <= 0:
                return WRITE
            try:
                count = connected.send(self._rest[:CHUNK_BYTES])
            except _WANTS:
                return WRITE
            self._rest, left = self._rest[count:], left - count
        return 0

    def _start_next(self) -> bool:
        if not self._waiting or not self._window.may_start(len(self._waiting[0])):
            return False
        self._rest = memoryview(self._waiting.popleft())
        self._window.start(len(self._rest))
        return True


class Incoming:
    """The receiver's end. `deliver` gets each message and its bytes; those are to be taken from `window` later."""

    def __init__(
        self,
        accepted: socket.socket,
        secret: bytes,
        identity: Identity | None,
        oldest_epoch: Callable[[], int],
        deliver: Callable[[Incoming, Message, int], None],
    ) -> None:
        set_up(accepted)
        self.socket: socket.socket = accepted
        if identity is not None:
            self.socket = identity.server_context().wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        self.window = ReceiveWindow()
        self.events = READ
        self.due_s = time.monotonic() + GREET_S
        """When its greeting must have come."""
        self.is_closed = False
        self.epoch: int | None = None
        """That of its messages; None before the greeting."""
        self._secret, self._oldest_epoch, self._deliver = secret, oldest_epoch, deliver
        self._steps = self._listen()

    def step(self, now_s: float) -> None:
        """Goes on as far as possible; it is closed when that fails or its sender has closed."""
        if self.is_closed:
            return
        try:
            if now_s > self.due_s:
                raise TimeoutError
            self.events = next(self._steps)
        except (StopIteration, OSError, EOFError, MultiedgeError, ValueError):  # ValueError: no message
            self.close()

    def close(self) -> None:
        self.events, self.is_closed = 0, True
        self.due_s = math.inf
        self.socket.close()

    def _listen(self) -> Steps:
        yield from _shake_hands(self.socket)
        secret, epoch, length = GREETING.unpack((yield from self._exactly(GREETING.size)))
        name = bytes((yield from self._exactly(length))).decode()
        if not compare_digest(secret, self._secret) or epoch < self._oldest_epoch() or not self._is_from(name):
            return
        self.epoch, self.due_s = epoch, math.inf
        yield from _send(self.socket, REPORT.pack(0))
        turn = 0
        while True:
            *address, nbytes = HEAD.unpack((yield from self._exactly(HEAD.size)))
            if nbytes > MOST_MESSAGE_BYTES or address[0] != epoch:
                return
            message = decode(Address(*address), memoryview((yield from self._exactly(nbytes))))
            if message.source != name and isinstance(self.socket, ssl.SSLSocket):
                return
            self._deliver(self, message, HEAD.size + nbytes)
            turn += nbytes
            if turn > TURN_BYTES:
                turn = 0
                yield READ | AGAIN

    def _is_from(self, name: str) -> bool:
        """Whether the certificate is that of the sender."""
        if not isinstance(self.socket, ssl.SSLSocket):
            return True
        holder = peer_name(self.socket)
        return holder.startswith(CLIENT) if name == CALLER_NAME else holder == NODE + name

    def _exactly(self, nbytes: int) -> Generator[int, None, bytearray]:
        data = bytearray(nbytes)
        rest = memoryview(data)
        while rest:
            try:
                count = self.socket.recv_into(rest)
            except _WANTS:
                yield READ | self._report()
                continue
            if not count:
                raise EOFError
            rest = rest[count:]
        return data

    def _report(self) -> int:
        """Tells the sender what was taken, if it may wait for that; WRITE if the socket does not take it now."""
        if self.epoch is None or not self.window.must_report:
            return 0
        try:
            self.socket.send(REPORT.pack(self.window.taken_bytes))
        except _WANTS:
            return WRITE
        self.window.report()
        return 0


def set_up(connected: socket.socket) -> None:
    """For messages: nothing waits, and small ones leave immediately."""
    connected.setblocking(False)
    tune(connected)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)


def _shake_hands(connected: socket.socket) -> Steps:
    while isinstance(connected, ssl.SSLSocket):
        try:
            connected.do_handshake()
            return
        except ssl.SSLWantReadError:
            yield READ
        except ssl.SSLWantWriteError:
            yield WRITE


def _send(connected: socket.socket, data: bytes) -> Steps:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[connected.send(rest) :]
        except _WANTS:
            yield WRITE


def _receive(connected: socket.socket, most_bytes: int) -> bytes | None:
    """What is there; None if nothing is. EOFError once the other side has closed."""
    try:
        data = connected.recv(most_bytes)
    except _WANTS:
        return None
    if not data:
        raise EOFError
    return data
