"""Messages as bytes through stream sockets: what the endpoints over Unix sockets and over TCP share.

Each process listens. One thread reads what arrives, in pieces, so that two processes never wait for each other to read, and
a long message does not delay those of other senders. The number of tickets bounds what is queued.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from hmac import compare_digest
from queue import Empty, SimpleQueue
from typing import NamedTuple

from multiedge.transports.clock import RunClock
from multiedge.transports.message import Address, Array, ArraySpec, Message, decode, gather

HEAD = struct.Struct("<IIIQQ")
"""Epoch, transfer, ticket and sequence; the bytes of the message that follows."""
BACKLOG = 64


class Frame(NamedTuple):
    """A message in the form in which a stream carries it, in pieces of which none is empty. Large arrays are pieces themselves
    and not copied, unless `is_own`."""

    pieces: tuple[memoryview, ...]
    nbytes: int
    is_own: bool

    @classmethod
    def of(cls, message: Message) -> Frame:
        pieces = gather(message, room=HEAD.size)
        nbytes = sum(map(len, pieces))
        HEAD.pack_into(pieces[0], 0, *message.address, nbytes - HEAD.size)
        return cls(tuple(map(memoryview, pieces)), nbytes, is_own=len(pieces) == 1)

    def kept(self) -> Frame:
        """The same in memory of its own."""
        return self if self.is_own else Frame((joined(self.pieces),), self.nbytes, is_own=True)


def joined(pieces: Iterable[memoryview]) -> memoryview:
    return memoryview(b"".join(pieces))


def frame(message: Message) -> bytes:
    """The message in the form in which a stream carries it."""
    return b"".join(Frame.of(message).pieces)


class StreamEndpoint:
    """The receiving half of a mailbox: reads from every connection to `listener` that begins with `greeting`.

    Subclasses send, and close their connections in `disconnect`.
    """

    def __init__(self, listener: socket.socket, name: str, greeting: bytes = b"") -> None:
        self.clock = RunClock()
        self._listener, self._greeting = listener, greeting
        self._arrived: SimpleQueue[Message | None] = SimpleQueue()
        self._oldest_epoch = 0
        self._stop, self._stopped = os.pipe()
        self._reader = threading.Thread(target=self._read, name=name, daemon=True)
        self._reader.start()

    def reserve(self, address: Address, source: str, specs: Sequence[ArraySpec]) -> tuple[Array, ...] | None:
        """None: a message is written when it is whole."""
        return None

    def receive(self, timeout_s: float) -> list[Message]:
        messages: list[Message | None] = []
        with contextlib.suppress(Empty):
            messages.append(self._arrived.get(timeout=max(timeout_s, 0.0)) if timeout_s > 0 else self._arrived.get_nowait())
            while True:
                messages.append(self._arrived.get_nowait())
        return [message for message in messages if message is not None and message.address.epoch >= self._oldest_epoch]

    def release(self, address: Address) -> None:
        """Nothing to do: each message has its own memory."""

    def wake(self) -> None:
        self._arrived.put(None)

    def forget(self, before_epoch: int) -> None:
        """Drops messages of earlier epochs, and connections: another process may have replaced a peer."""
        self._oldest_epoch = before_epoch
        self.disconnect()

    def disconnect(self) -> None:
        """Closes every connection to a peer; the next message to it opens another."""
        raise NotImplementedError

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._stopped, b"x")
        self._reader.join(timeout=1.0)
        self.disconnect()
        self._listener.close()
        for fd in (self._stop, self._stopped):
            with contextlib.suppress(OSError):
                os.close(fd)

    def arrived(self, message: Message) -> Message:
        """The message with the due time that follows from its arrival."""
        return message

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stop, selectors.EVENT_READ)
            selector.register(self._listener, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj == self._stop:
                        _close_all(selector)
                        return
                    if key.fileobj is self._listener:
                        self._accept(selector)
                    elif not self._take(key.data):
                        selector.unregister(key.fileobj)
                        key.data.connection.close()

    def _accept(self, selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            selector.register(connection, selectors.EVENT_READ, _Incoming(connection, self._greeting))

    def _take(self, incoming: _Incoming) -> bool:
        """Reads what has arrived; False when the sender has closed, or its greeting is wrong."""
        try:
            for message in incoming.read():
                self._arrived.put(self.arrived(message))
        except (OSError, EOFError):
            return False
        return True


class _Incoming:
    """The messages of one sender, assembled from the pieces in which they arrive."""

    def __init__(self, connection: socket.socket, greeting: bytes) -> None:
        connection.setblocking(False)
        self.connection = connection
        self._greeting = greeting
        self._address = Address(0, 0, 0, 0)
        self._buffer: bytearray
        self._rest: memoryview
        self._then: Callable[[bytearray], Message | None]
        if greeting:
            self._expect(len(greeting), self._on_greeting)
        else:
            self._expect(HEAD.size, self._on_head)

    def read(self) -> Iterator[Message]:
        """Every message that is complete; EOFError or OSError if no more can arrive."""
        while True:
            try:
                count = self.connection.recv_into(self._rest)
            except BlockingIOError:
                return
            if not count:
                raise EOFError
            self._rest = self._rest[count:]
            if not self._rest and (message := self._then(self._buffer)) is not None:
                yield message

    def _expect(self, nbytes: int, then: Callable[[bytearray], Message | None]) -> None:
        self._buffer = bytearray(nbytes)
        self._rest = memoryview(self._buffer)
        self._then = then

    def _on_greeting(self, data: bytearray) -> None:
        if not compare_digest(data, self._greeting):
            raise EOFError
        self._expect(HEAD.size, self._on_head)

    def _on_head(self, data: bytearray) -> None:
        *address, nbytes = HEAD.unpack(data)
        self._address = Address(*address)
        self._expect(nbytes, self._on_body)

    def _on_body(self, data: bytearray) -> Message:
        self._expect(HEAD.size, self._on_head)
        return decode(self._address, memoryview(data))


def _close_all(selector: selectors.BaseSelector) -> None:
    for key in list(selector.get_map().values()):
        if key.data is not None:
            key.data.connection.close()
