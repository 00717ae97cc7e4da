"""Hubs in threads of the test, with identities."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from multiedge.network.client import HubClient
from multiedge.network.identity import Identity
from multiedge.serving.hub.authority import Authority
from multiedge.serving.hub.joining import join
from multiedge.serving.hub.listener import Limits
from multiedge.serving.hub.server import HubOptions, HubServer
from multiedge.serving.hub.store import Store


@dataclass(frozen=True)
class TestHub:
    """A hub that listens."""

    __test__ = False

    folder: Path
    address: str
    clients: list[HubClient] = field(default_factory=list)

    def token(self, holder: str = "node:", valid_s: float = 60.0) -> str:
        token, record = Authority(self.folder).new_token(holder, time.time(), valid_s)
        store = Store(self.folder)
        store.add_token(record)
        store.close()
        return str(token)

    def client(self) -> HubClient:
        return self.client_of(Identity(self.folder / "client"))

    def client_of(self, identity: Identity | None) -> HubClient:
        """A client that is closed with the hub."""
        client = HubClient(self.address, identity)
        self.clients.append(client)
        return client

    def node(self, name: str) -> HubClient:
        """A client with the identity of a node, which joins if it has none yet."""
        folder = self.folder / "test-nodes" / name
        if not folder.exists():
            join(self.address, self.token(), f"node:{name}", folder)
        return self.client_of(Identity(folder))


@contextmanager
def running_hub(
    folder: Path, *, tls: bool = True, port: int = 0, pulls: bool = False, limits: Limits | None = None
) -> Iterator[TestHub]:
    """A hub in a thread; the CA is made on first use of the folder."""
    if tls and not (folder / "ca.pem").exists():
        Authority.create(folder)
    with HubServer(HubOptions(folder, port=port, pulls=pulls, limits=limits or Limits())) as hub:
        running = TestHub(folder, hub.address)
        try:
            yield running
        finally:
            for client in running.clients:
                client.close()
