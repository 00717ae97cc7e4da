"""A connected socket of which no call waits, with TLS or without.

TLS is done in memory, and what it makes goes through the socket in large pieces. Over a socket of its own, OpenSSL would call
the system once for each record of 16 KiB that it writes, and twice for each that it reads.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import struct
from collections.abc import Generator, Iterable
from itertools import islice
from typing import Protocol

from multiedge.network.connection import tune
from multiedge.network.identity import Identity, peer_name

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
CHUNK_BYTES = 128 << 10
"""The most that is encrypted, or read, before the system is called again: it stays in the processor's cache."""
RECORD_BYTES, RECORD_EXTRA_BYTES = 16 << 10, 22
"""The most that a record of TLS 1.3 holds, and what encryption adds to it (RFC 8446, section 5.2)."""
FEW_BYTES = 2 << 10
"""It is not worth a call of the system to wait for so many together: one packet brings them."""
MOST_PIECES = 256
"""Given to the system with one call; Linux takes up to 1024."""
_LINGER_OFF = struct.pack("ii", 1, 0)
"""Closing a connection discards what it has not sent: it is void then."""

Steps = Generator[int, None, None]
"""Goes on as far as possible, then yields the events for which it waits."""


class Channel(Protocol):
    """Both directions of a connection; one thread at a time uses it."""

    @property
    def peer(self) -> str:
        """The name in the certificate of the other side, after the handshake; '' without TLS."""
        ...

    def shake_hands(self) -> Steps: ...

    def send(self, pieces: Iterable[memoryview]) -> int:
        """Takes the first bytes of these pieces, of which none is empty, and returns how many; 0 if it can take none now."""
        ...

    def flush(self) -> bool:
        """Sends what was taken before; whether all of it is sent."""
        ...

    def receive_into(self, place: memoryview) -> int:
        """Reads bytes that have arrived, and returns how many; 0 if none are there. EOFError once the other side has closed."""
        ...

    def expect(self, nbytes: int) -> None:
        """At least so many bytes are to come: until many of them are there, the socket does not count as ready to be read.
        Otherwise a slow link would wake the receiver for each packet."""
        ...


class PlainChannel:
    """Without TLS."""

    peer = ""

    def __init__(self, connected: socket.socket) -> None:
        self._socket, self._least = connected, LeastBytes(connected)
        self._is_drained = False

    def shake_hands(self) -> Steps:
        yield from ()

    def send(self, pieces: Iterable[memoryview]) -> int:
        try:
            return self._socket.sendmsg(list(islice(pieces, MOST_PIECES)))
        except BlockingIOError:
            return 0

    def flush(self) -> bool:
        return True

    def receive_into(self, place: memoryview) -> int:
        count = 0 if self._is_drained else _read(self._socket, place)
        self._is_drained = 0 < count < len(place)
        return count

    def expect(self, nbytes: int) -> None:
        self._least.set(nbytes)


class TlsChannel:
    """With TLS: `scratch` is memory of the thread that receives, which any channel may use in between."""

    def __init__(self, connected: socket.socket, context: ssl.SSLContext, scratch: memoryview, *, server_side: bool) -> None:
        self._socket, self._scratch, self._least = connected, scratch, LeastBytes(connected)
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_side=server_side)
        self._sealed = memoryview(b"")
        self._is_drained = False
        self._partial_bytes = 0
        """What has arrived of records that are not read."""

    @property
    def peer(self) -> str:
        return peer_name(self._tls)

    def shake_hands(self) -> Steps:
        is_done = False
        while not is_done:
            try:
                self._tls.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self.flush()  # tells the other side why
                raise
            while not self.flush():
                yield WRITE
            while not (is_done or self._fill()):
                yield READ

    def send(self, pieces: Iterable[memoryview]) -> int:
        taken = 0
        if self.flush():
            for piece in pieces:
                taken += self._tls.write(piece[: CHUNK_BYTES - taken])
                if taken >= CHUNK_BYTES:
                    break
            self.flush()
        return taken

    def flush(self) -> bool:
        while self._sealed or self._leaving.pending:
            self._sealed = self._sealed or memoryview(self._leaving.read())
            try:
                self._sealed = self._sealed[self._socket.send(self._sealed) :]
            except BlockingIOError:
                return False
        return True

    def receive_into(self, place: memoryview) -> int:
        arrived, got = self._arrived, 0
        while True:
            try:
                while got < len(place) and (arrived.pending or self._tls.pending()):
                    got += int(self._tls.read(len(place) - got, place[got:]))
                    self._partial_bytes = arrived.pending
            except ssl.SSLWantReadError:  # part of a record, which may have left `arrived`
                pass
            if got or not self._fill():
                return got

    def expect(self, nbytes: int) -> None:
        records = -(-nbytes // RECORD_BYTES)
        self._least.set(nbytes + records * RECORD_EXTRA_BYTES - self._partial_bytes)

    def _fill(self) -> bool:
        """Reads what has arrived; whether there was something."""
        count = 0 if self._is_drained else _read(self._socket, self._scratch)
        self._is_drained = 0 < count < len(self._scratch)
        self._arrived.write(self._scratch[:count])
        self._partial_bytes += count
        return bool(count)


class LeastBytes:
    """How many bytes must have arrived at a socket before it counts as ready."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket, self._now = connected, 1

    def set(self, nbytes: int) -> None:
        """From now on so many, within limits; where the system can."""
        wanted = 1 if nbytes < FEW_BYTES else min(nbytes, CHUNK_BYTES)
        if wanted != self._now:
            self._now = wanted
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)


def _read(connected: socket.socket, place: memoryview) -> int:
    """What is there; 0 if nothing is. A count below the length of `place` says that there was no more."""
    try:
        count = connected.recv_into(place)
    except BlockingIOError:
        return 0
    if not count:
        raise EOFError
    return count


def open_channel(
    connected: socket.socket, identity: Identity | None, scratch: memoryview, *, server_side: bool = False
) -> Channel:
    """The channel over a socket that was accepted, or that is to connect, with TLS if there is an identity."""
    if identity is None:
        return PlainChannel(connected)
    context = identity.server_context() if server_side else identity.client_context()
    return TlsChannel(connected, context, scratch, server_side=server_side)


def set_up(connected: socket.socket) -> None:
    """For messages: nothing waits, and small ones leave immediately."""
    connected.setblocking(False)
    tune(connected)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
