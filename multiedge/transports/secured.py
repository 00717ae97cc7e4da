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
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Generator
from hmac import compare_digest
from pathlib import Path

import numpy as np

from multiedge.errors import MultiedgeError, PipelineError
from multiedge.fleet import CALLER_NAME
from multiedge.network.identity import CLIENT, NODE, Identity
from multiedge.transports.channel import READ, WRITE, Channel, Steps, open_channel, set_up
from multiedge.transports.credits import ReceiveWindow, SendWindow
from multiedge.transports.message import Address, Message, decode
from multiedge.transports.peers import PeerAddress, read_address
from multiedge.transports.streams import HEAD, Frame, joined

SECRET_BYTES = 16
GREETING = struct.Struct(f"<{SECRET_BYTES}sIH")
REPORT = struct.Struct("<Q")
STAGE_BYTES = 16 << 10
"""What is read at once where less than that is wanted: what a record of TLS holds."""
TURN_BYTES = 1 << 20
"""After so much the other connections have their turn."""
MOST_MESSAGE_BYTES = 4 << 30
GREET_S = 3.0
"""How long a connection may take until its greeting is answered."""
RETRY_S = 0.05
AGAIN = 4
"""More can be done without waiting, after the turn of the others."""


class Outgoing:
    """The sender's end, for the messages of one epoch to one peer. It connects again after a failure, until it is closed.

    `send` is called by the thread that has a message, everything else by the one that waits for sockets; not at the same time.
    """

    def __init__(
        self, directory: Path, name: str, peer: str, epoch: int, identity: Identity | None, scratch: memoryview
    ) -> None:
        self.peer, self.epoch = peer, epoch
        self.socket: socket.socket | None = None
        self.events = 0
        self.must_step = False
        """Whether `send` has left something to `step`."""
        self.retry_s = 0.0
        """When to step next while there is no socket."""
        self.deadline_s = math.inf
        self.failure = ""
        """Why it has no connection; '' while it has one, or the peer's address is not known."""
        self._directory, self._name, self._identity, self._scratch = directory, name, identity, scratch
        self._waiting: deque[Frame] = deque()
        self._channel: Channel | None = None
        """While messages can be sent."""
        self._error: OSError | None = None
        self._pieces: deque[memoryview] = deque()
        self._begin()

    is_closed = False

    def send(self, frame: Frame) -> bool:
        """Sends what can be sent now, without a copy, and leaves the rest to `step`; whether nothing is left."""
        if self._channel is None or self._is_behind or not self._window.may_start(frame.nbytes):
            self._waiting.append(frame.kept())
        else:
            self._start(frame)
            try:
                self.events = READ | self._write(self._channel)
            except OSError as error:  # only `step` may close the socket
                self._error = error
            if self._pieces and not frame.is_own:
                self._pieces = deque([joined(self._pieces)])
        self.must_step = self._is_behind or self._error is not None
        return not self.must_step

    @property
    def due_s(self) -> float:
        """When to step at the latest, whatever happens."""
        if self.socket is not None:
            return self.deadline_s
        return self.retry_s if self._waiting else math.inf

    def step(self, now_s: float) -> None:
        """Goes on as far as possible. When that fails, what was on its way is lost; the next attempt comes at `retry_s`."""
        self.must_step = False
        if self.socket is None and (now_s < self.retry_s or not self._waiting):
            return
        try:
            if self._error is not None:
                raise self._error
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
        self._channel = None
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _begin(self) -> None:
        self._steps = self._talk()
        self._channel = self._error = None
        self._window, self._reports, self._is_sealed = SendWindow(), b"", True
        self._pieces.clear()
        self.events, self.deadline_s = 0, math.inf

    def _talk(self) -> Steps:
        address = read_address(self._directory, self.peer)
        if address is None:
            return
        if bool(address.identity) != (self._identity is not None):
            raise PipelineError(f"'{self.peer}' and '{self._name}' do not agree whether to use TLS")
        channel = yield from self._connect(address)
        name = self._name.encode()
        yield from _send(channel, GREETING.pack(bytes.fromhex(address.secret), self.epoch, len(name)) + name)
        while not self._read_reports(channel):
            yield READ
        self.deadline_s, self.failure, self._channel = math.inf, "", channel
        while True:
            self._read_reports(channel)
            yield READ | self._write(channel)

    def _connect(self, address: PeerAddress) -> Generator[int, None, Channel]:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        connected = self.socket = socket.socket(family, socket.SOCK_STREAM)
        set_up(connected)
        status = connected.connect_ex((address.host, address.port))
        if status == errno.EINPROGRESS:
            yield WRITE
            status = connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            raise OSError(status, os.strerror(status))
        channel = open_channel(connected, self._identity, self._scratch)
        yield from channel.shake_hands()
        if channel.peer != address.identity:
            raise PipelineError(f"expected the certificate of '{address.identity}', got that of '{channel.peer}'")
        return channel

    def _read_reports(self, channel: Channel) -> bool:
        """Takes what the receiver has reported; whether there was a report."""
        place = memoryview(bytearray(64 * REPORT.size))
        while count := channel.receive_into(place):
            self._reports += place[:count]
        whole = len(self._reports) // REPORT.size * REPORT.size
        if whole:
            self._window.grant(REPORT.unpack_from(self._reports, whole - REPORT.size)[0])
            self._reports = self._reports[whole:]
        return bool(whole)

    @property
    def _is_behind(self) -> bool:
        """Whether something is left to send."""
        return bool(self._pieces or self._waiting) or not self._is_sealed

    def _write(self, channel: Channel) -> int:
        """Writes as far as window, socket and turn allow; WRITE if there is more that the window allows, otherwise 0."""
        left = TURN_BYTES
        while self._pieces or self._start_next():
            count = channel.send(self._pieces) if left > 0 else 0
            if not count:
                return WRITE
            _drop(self._pieces, count)
            left -= count
        self._is_sealed = channel.flush()
        return 0 if self._is_sealed else WRITE

    def _start_next(self) -> bool:
        if not self._waiting or not self._window.may_start(self._waiting[0].nbytes):
            return False
        self._start(self._waiting.popleft())
        return True

    def _start(self, frame: Frame) -> None:
        self._window.start(frame.nbytes)
        self._pieces.extend(frame.pieces)


class Incoming:
    """The receiver's end. `deliver` gets each message and its bytes; those are to be taken from `window` later."""

    def __init__(
        self,
        accepted: socket.socket,
        secret: bytes,
        identity: Identity | None,
        scratch: memoryview,
        oldest_epoch: Callable[[], int],
        deliver: Callable[[Incoming, Message, int], None],
    ) -> None:
        set_up(accepted)
        self.socket = accepted
        self.window = ReceiveWindow()
        self.events = READ
        self.due_s = time.monotonic() + GREET_S
        """When its greeting must have come."""
        self.is_closed = False
        self.epoch: int | None = None
        """That of its messages; None before the greeting."""
        self._secret, self._identity, self._scratch = secret, identity, scratch
        self._oldest_epoch, self._deliver = oldest_epoch, deliver
        self._stage = memoryview(bytearray(STAGE_BYTES))
        self._staged = self._stage[:0]
        """What was read and is not wanted yet."""
        self._reports: deque[memoryview] = deque()
        self._steps = self._listen()

    @property
    def must_step(self) -> bool:
        """Whether its sender may wait for a report."""
        return self.window.must_report

    def step(self, now_s: float) -> None:
        """Goes on as far as possible; it is closed when that fails or its sender has closed."""
        if self.is_closed:
            return
        try:
            if now_s > self.due_s:
                raise TimeoutError
            self.events = next(self._steps)
        except Exception:  # whatever it sent was no message: that ends this connection and no other
            self.close()

    def close(self) -> None:
        self.events, self.is_closed = 0, True
        self.due_s = math.inf
        self.socket.close()

    def _listen(self) -> Steps:
        channel = open_channel(self.socket, self._identity, self._scratch, server_side=True)
        yield from channel.shake_hands()
        secret, epoch, length = GREETING.unpack((yield from self._exactly(channel, GREETING.size)))
        name = bytes((yield from self._exactly(channel, length))).decode()
        if not compare_digest(secret, self._secret) or epoch < self._oldest_epoch() or not self._is_from(name, channel.peer):
            return
        self.epoch, self.due_s = epoch, math.inf
        yield from _send(channel, REPORT.pack(0))
        turn = 0
        while True:
            *address, nbytes = HEAD.unpack((yield from self._exactly(channel, HEAD.size)))
            if nbytes > MOST_MESSAGE_BYTES or address[0] != epoch:
                return
            message = decode(Address(*address), (yield from self._exactly(channel, nbytes)))
            if self._identity is not None and message.source != name:
                return
            self._deliver(self, message, HEAD.size + nbytes)
            turn += nbytes
            if turn > TURN_BYTES:
                turn = 0
                yield READ | AGAIN

    def _is_from(self, name: str, holder: str) -> bool:
        """Whether the certificate is that of the sender."""
        if self._identity is None:
            return True
        return holder.startswith(CLIENT) if name == CALLER_NAME else holder == NODE + name

    def _exactly(self, channel: Channel, nbytes: int) -> Generator[int, None, memoryview]:
        """The next bytes, in memory of their own. Large messages are read into it straight away."""
        data = np.empty(nbytes, np.uint8).data
        count = self._unstage(data)
        while count < nbytes:
            rest = data[count:]
            if len(rest) < STAGE_BYTES:
                self._staged = self._stage[: channel.receive_into(self._stage)]
                got = self._unstage(rest)
            else:
                got = channel.receive_into(rest)
            count += got
            if not got:
                channel.expect(nbytes - count)
                yield READ | self._report(channel)
        return data

    def _unstage(self, place: memoryview) -> int:
        """Moves what was read before to where it is wanted; how much that was."""
        count = min(len(place), len(self._staged))
        place[:count], self._staged = self._staged[:count], self._staged[count:]
        return count

    def _report(self, channel: Channel) -> int:
        """Tells the sender what was taken, if it may wait for that; WRITE if the socket does not take it now."""
        if self.epoch is not None and self.window.must_report:
            self._reports.append(memoryview(REPORT.pack(self.window.report())))
        return _send_some(channel, self._reports)


def _send(channel: Channel, data: bytes) -> Steps:
    pieces = deque([memoryview(data)])
    while _send_some(channel, pieces):
        yield WRITE


def _send_some(channel: Channel, pieces: deque[memoryview]) -> int:
    """Sends what can be sent now; WRITE if something is left, otherwise 0."""
    while pieces:
        count = channel.send(pieces)
        if not count:
            return WRITE
        _drop(pieces, count)
    return 0 if channel.flush() else WRITE


def _drop(pieces: deque[memoryview], nbytes: int) -> None:
    """Removes the first bytes."""
    while nbytes and nbytes >= len(pieces[0]):
        nbytes -= len(pieces.popleft())
    if nbytes:
        pieces[0] = pieces[0][nbytes:]
