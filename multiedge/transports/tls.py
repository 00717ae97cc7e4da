"""Messages between machines: TCP with mutual TLS, or without TLS on loopback alone.

Each process writes its address into a file of the run's folder, with a secret with which every connection must begin; whoever
runs the workers brings the addresses of the others there. One thread does all input and output, and waits for nobody. A
connection carries the messages of one sender in one epoch: those of earlier epochs are closed.

Who sends writes to the connection itself if that can take the message now: to wake the other thread takes longer than most
messages.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

from multiedge.fleet import CALLER_NAME
from multiedge.network.identity import CLIENT, NODE, require_tls
from multiedge.transports.channel import CHUNK_BYTES, READ, WRITE
from multiedge.transports.clock import RunClock
from multiedge.transports.message import Address, Array, ArraySpec, Message
from multiedge.transports.peers import PeerAddress, place_of, write_address
from multiedge.transports.secured import AGAIN, SECRET_BYTES, Incoming, Outgoing
from multiedge.transports.streams import BACKLOG, Frame

LOOPBACK = "127.0.0.1"
MOST_GREETING = 64
"""Connections whose greeting has not come; one more ends the oldest of them."""
_End = Outgoing | Incoming
_Ready = tuple[Incoming | None, Message | None, int]


class TlsEndpoint:
    """The mailbox of process `name` in the run's folder: see `multiedge.transports.peers.set_place`.

    A message is due when it has arrived, or later if its sender emulates the link.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.clock = RunClock()
        self._directory, self._name = directory, name
        host, self._identity = place_of(directory, name, LOOPBACK)
        require_tls(host, self._identity, f"endpoint of '{name}'")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=BACKLOG)
        self._listener.setblocking(False)
        self._secret = secrets.token_bytes(SECRET_BYTES)
        holder = (CLIENT if name == CALLER_NAME else NODE) + name if self._identity else ""
        self.address = PeerAddress(host, self._listener.getsockname()[1], self._secret.hex(), holder)
        write_address(directory, name, self.address)
        self._oldest_epoch = 0
        self._scratch = memoryview(bytearray(CHUNK_BYTES))
        self._ready: SimpleQueue[_Ready] = SimpleQueue()
        self._lock = threading.Lock()
        """Held by whoever uses the outgoing connections."""
        self._outgoing: dict[str, Outgoing] = {}
        self._incoming: dict[Incoming, None] = {}
        self._void: list[Outgoing] = []
        self._watched: dict[_End, tuple[socket.socket, int]] = {}
        self._last_due_s: dict[str, float] = {}
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._is_woken = self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"tls-{name}", daemon=True)
        self._thread.start()

    # -- for the stages of this process -------------------------------------------------------------------------------

    def reserve(self, address: Address, source: str, specs: Sequence[ArraySpec]) -> tuple[Array, ...] | None:
        """None: a message is written when it is whole."""
        return None

    def send(self, peer: str, message: Message) -> None:
        frame = Frame.of(message)
        with self._lock:
            end = self._end_to(peer, message.address.epoch)
            is_done = end is None or end.send(frame)
        if not is_done:
            self._step_soon()

    def receive(self, timeout_s: float) -> list[Message]:
        ready: list[_Ready] = []
        with contextlib.suppress(Empty):
            ready.append(self._ready.get(timeout=timeout_s) if timeout_s > 0 else self._ready.get_nowait())
            while True:
                ready.append(self._ready.get_nowait())
        messages = []
        for incoming, message, nbytes in ready:
            if incoming is not None:
                incoming.window.take(nbytes)
                if incoming.window.must_report:
                    self._step_soon()
            if message is not None and message.address.epoch >= self._oldest_epoch:
                messages.append(message)
        return messages

    def release(self, address: Address) -> None:
        """Nothing to do: each message has its own memory."""

    def wake(self) -> None:
        self._ready.put((None, None, 0))

    def forget(self, before_epoch: int) -> None:
        """Drops messages of earlier epochs, and their connections."""
        self._oldest_epoch = before_epoch
        self._step_soon()

    def close(self) -> None:
        self._is_closed = True
        self._step_soon()
        self._thread.join(timeout=1.0)

    def _step_soon(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            with contextlib.suppress(OSError):
                os.write(self._wake, b"x")

    # -- the thread -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, READ)
            selector.register(self._listener, READ)
            wait_s: float | None = None
            while not self._is_closed:
                events = selector.select(wait_s)
                if wait_s is None and _only_read([key.data for key, _ in events]):
                    continue
                ready = {key.data for key, _ in events if key.data is not None}
                if len(ready) < len(events):
                    self._notice({key.fileobj for key, _ in events}, ready)
                wait_s = self._step(selector, ready)
            for end in self._ends:
                end.close()
        self._listener.close()
        for fd in (self._woken, self._wake):
            os.close(fd)

    def _notice(self, sources: set[object], ready: set[_End]) -> None:
        """Adds the ends that are ready because something happened to this endpoint."""
        if self._woken in sources:
            with contextlib.suppress(OSError):
                os.read(self._woken, 64)
            self._is_woken = False
        if self._listener in sources:
            ready.update(self._accept())

    def _step(self, selector: selectors.BaseSelector, ready: set[_End]) -> float | None:
        """Goes on with what is ready or due; how long to wait then, None for an event."""
        now_s = time.monotonic()
        with self._lock:
            self._forget_ends(selector)
            due_s = self._go_on(selector, self._outgoing.values(), ready, now_s)
        due_s = min(due_s, self._go_on(selector, self._incoming, ready, now_s))
        for incoming in [end for end in self._incoming if end.is_closed]:
            del self._incoming[incoming]
        return None if due_s == math.inf else max(0.0, due_s - now_s)

    def _go_on(self, selector: selectors.BaseSelector, ends: Iterable[_End], ready: set[_End], now_s: float) -> float:
        """Lets these ends go on; when one of them is to go on at the latest."""
        due_s = math.inf
        for end in ends:
            if end in ready or end.must_step or end.events & AGAIN or end.due_s <= now_s:
                end.step(now_s)
                self._watch(selector, end)
            due_s = min(due_s, now_s if end.events & AGAIN else end.due_s)
        return due_s

    @property
    def _ends(self) -> list[_End]:
        return [*self._outgoing.values(), *self._incoming]

    def _watch(self, selector: selectors.BaseSelector, end: _End) -> None:
        """Waits for what the end waits for. It may have another socket than before, or none."""
        before = self._watched.get(end)
        after = None if end.socket is None or end.is_closed else (end.socket, end.events & (READ | WRITE))
        if before == after:
            return
        if before is not None:
            selector.unregister(before[0])
            del self._watched[end]
        if after is not None:
            selector.register(*after, end)
            self._watched[end] = after

    def _accept(self) -> Iterator[Incoming]:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:  # no more, or no more descriptors: then the oldest make room
                return
            greeting = [end for end in self._incoming if end.epoch is None and not end.is_closed]
            if len(greeting) >= MOST_GREETING:
                greeting[0].close()
                yield greeting[0]
            end = Incoming(accepted, self._secret, self._identity, self._scratch, lambda: self._oldest_epoch, self._deliver)
            self._incoming[end] = None
            yield end

    def _end_to(self, peer: str, epoch: int) -> Outgoing | None:
        """The connection for messages of this epoch; None if they are void."""
        end = self._outgoing.get(peer)
        if epoch < self._oldest_epoch or (end and epoch < end.epoch):
            return None
        if end is None or end.epoch < epoch:
            if end is not None:
                self._void.append(end)
            end = self._outgoing[peer] = Outgoing(self._directory, self._name, peer, epoch, self._identity, self._scratch)
        return end

    def _forget_ends(self, selector: selectors.BaseSelector) -> None:
        """Closes the connections of earlier epochs."""
        old = [peer for peer, end in self._outgoing.items() if end.epoch < self._oldest_epoch]
        self._void += [self._outgoing.pop(peer) for peer in old]
        incoming = [end for end in self._incoming if end.epoch is not None and end.epoch < self._oldest_epoch]
        for each in incoming:
            del self._incoming[each]
        void: list[_End] = [*self._void, *incoming]
        for end in void:
            end.close()
            self._watch(selector, end)
        self._void.clear()

    def _deliver(self, incoming: Incoming, message: Message, nbytes: int) -> None:
        """Times are on the run's clock: clocks of two machines agree but for a part of a millisecond."""
        now_s = self.clock()
        due_s = now_s if message.due_s <= message.sent_s else max(message.due_s, now_s)
        due_s = self._last_due_s[message.source] = max(due_s, self._last_due_s.get(message.source, 0.0))
        self._ready.put((incoming, message._replace(due_s=due_s), nbytes))


def _only_read(ready: Sequence[_End | None]) -> bool:
    """Lets open incoming connections go on; whether these are all that is ready, and nothing else is to do then."""
    is_all = True
    for end in ready:
        if isinstance(end, Incoming) and end.epoch is not None:
            end.step(0.0)
            is_all = is_all and end.events == READ
        else:
            is_all = False
    return is_all
