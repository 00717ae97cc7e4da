"""Messages through Unix sockets, for systems without enough shared memory."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from multiedge.transports.message import Message
from multiedge.transports.rundir import file_of
from multiedge.transports.streams import BACKLOG, StreamEndpoint, frame


class PipeEndpoint(StreamEndpoint):
    """The mailbox of process `name` in the run's folder."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._peers: dict[str, socket.socket] = {}
        inbox = file_of(directory, "inbox", name)
        inbox.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(os.fspath(inbox))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        super().__init__(listener, f"pipe-{name}")

    def send(self, peer: str, message: Message) -> None:
        try:
            if peer not in self._peers:
                self._peers[peer] = _connect(file_of(self._directory, "inbox", peer))
            self._peers[peer].sendall(frame(message))
        except OSError:
            # The peer has ended: the supervisor notices that by itself.
            if (connection := self._peers.pop(peer, None)) is not None:
                connection.close()

    def disconnect(self) -> None:
        for connection in self._peers.values():
            connection.close()
        self._peers.clear()


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(os.fspath(path))
    except OSError:
        connection.close()
        raise
    return connection
