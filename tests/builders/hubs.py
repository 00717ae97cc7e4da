"""Hubs in threads of the test, with identities."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from multiedge.network.client import HubClient
from multiedge.network.identity import Identity, parse_address
from multiedge.network.records import ByteRange, HeldStage, NodeState, PlanRecord
from multiedge.serving.hub.authority import Authority
from multiedge.serving.hub.joining import join
from multiedge.serving.hub.listener import Limits
from multiedge.serving.hub.server import HubOptions, HubServer
from multiedge.serving.hub.store import Store
from multiedge.serving.seeing.proxy import live_page


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


@contextmanager
def proxied(hub: TestHub) -> Iterator[tuple[str, int]]:
    """Host and port where a client of the hub serves its page."""
    ready, stop = threading.Event(), threading.Event()
    found: list[tuple[str, int]] = []

    async def serve() -> None:
        async with live_page(hub.address, Identity(hub.folder / "client"), 0) as address:
            found.append(parse_address(address.removeprefix("http://").split("/")[0]))
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait(10)
    try:
        yield found[0]
    finally:
        stop.set()
        thread.join()


class FakeNode:
    """A node without workers: it reports, fetches what it is assigned, and says that it is loaded.

    Args:
        client: Its connection to the hub.
        state: What it says of itself.
        failure: With this reason it fails to load.
    """

    def __init__(self, client: HubClient, state: NodeState, failure: str = "") -> None:
        self._client, self._state, self._failure = client, state, failure
        self._kept: dict[str, bytes] = {}
        self.fetched_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FakeNode:
        self._client.heartbeat(self._state)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            reply = self._client.heartbeat(self._state)
            held = []
            for each in reply.assignments:
                self._fetch(self._client.plan(each.plan), each.stages)
                phase = "failed" if self._failure else "ready"
                held += [HeldStage(each.deployment, stage, each.plan, phase, reason=self._failure) for stage in each.stages]
            self._state = replace(self._state, stages=tuple(held))

    def _fetch(self, plan: PlanRecord, stages: tuple[int, ...]) -> None:
        for file in (file for stage in stages for file in plan.parts[stage].files):
            for span in file.ranges or (ByteRange(0, file.size, file.sha256),):
                if span.sha256 not in self._kept:
                    data = b"".join(self._client.read(file.sha256, span.offset, span.length))
                    assert hashlib.sha256(data).hexdigest() == span.sha256
                    self._kept[span.sha256] = data
                    self.fetched_bytes += len(data)
