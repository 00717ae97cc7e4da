"""Messages as bytes through Unix sockets: where there is no shared memory, or not enough of it.

Each process listens; a thread reads whatever comes, so that no two processes ever wait for each other to read.
What waits is bounded by the number of tickets.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from multiprocessing.connection import Connection, Listener, wait
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from multiedge.transports.message import Address, Message, decode, encode
from multiedge.transports.rundir import file_of

_ADDRESS = struct.Struct("<IIIQ")


class PipeEndpoint:
    """The mailbox of process `name` in the run's folder."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        inbox = file_of(directory, "inbox", name)
        inbox.unlink(missing_ok=True)
        self._listener = Listener(os.fspath(inbox), family="AF_UNIX", backlog=64)
        self._arrived: SimpleQueue[Message | None] = SimpleQueue()
        self._peers: dict[str, Any] = {}
        self._oldest_epoch = 0
        self._stop, self._stopped = os.pipe()
        self._reader = threading.Thread(target=self._read, name=f"pipe-{name}", daemon=True)
        self._reader.start()

    def send(self, peer: str, message: Message) -> None:
        address = message.address
        try:
            if peer not in self._peers:
                self._peers[peer] = _connect(file_of(self._directory, "inbox", peer))
            self._peers[peer].send_bytes(_ADDRESS.pack(*address) + encode(message))
        except (OSError, EOFError):
            # Nobody reads there (any more): the one who watches the processes knows it already.
            if (connection := self._peers.pop(peer, None)) is not None:
                connection.close()

    def receive(self, timeout_s: float) -> list[Message]:
        found: list[Message | None] = []
        with contextlib.suppress(Empty):
            found.append(self._arrived.get(timeout=max(timeout_s, 0.0)) if timeout_s > 0 else self._arrived.get_nowait())
            while True:
                found.append(self._arrived.get_nowait())
        return [message for message in found if message is not None and message.address.epoch >= self._oldest_epoch]

    def release(self, address: Address) -> None:
        """Nothing to do: each message has memory of its own."""

    def wake(self) -> None:
        self._arrived.put(None)

    def forget(self, before_epoch: int) -> None:
        self._oldest_epoch = before_epoch

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._stopped, b"x")
        self._reader.join(timeout=1.0)
        for connection in self._peers.values():
            connection.close()
        self._peers.clear()
        with contextlib.suppress(OSError):
            self._listener.close()
        for fd in (self._stop, self._stopped):
            with contextlib.suppress(OSError):
                os.close(fd)

    def _read(self) -> None:
        socket = self._listener._listener._socket  # type: ignore[attr-defined]
        open_: list[Any] = [self._stop, socket]
        while True:
            for ready in wait(open_):
                if ready == self._stop:
                    for connection in open_[2:]:
                        connection.close()
                    return
                if ready is socket:
                    with contextlib.suppress(OSError):
                        open_.append(self._listener.accept())
                elif not self._take(ready):
                    open_.remove(ready)

    def _take(self, connection: Any) -> bool:
        """Reads one message; False when the sender has gone."""
        try:
            data = connection.recv_bytes()
        except (OSError, EOFError):
            connection.close()
            return False
        self._arrived.put(decode(Address(*_ADDRESS.unpack_from(data)), memoryview(data)[_ADDRESS.size :]))
        return True


def _connect(path: Path) -> Connection:
    from multiprocessing.connection import Client

    client: Any = Client(os.fspath(path), family="AF_UNIX")
    return client  # type: ignore[no-any-return]
