"""Starts workers on nodes, and tells all of them where the others are."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from multiedge.backends.stages import BackendOptions, options_for
from multiedge.errors import MultiedgeError
from multiedge.executors.workers.messages import Hello
from multiedge.executors.workers.node_handle import PUMP_S, NodeHandle
from multiedge.executors.workers.node_messages import FROM_NODE, FromNode, OpenWorker, Peers
from multiedge.fleet import CALLER_NAME, Device, Link
from multiedge.network.connection import Connection, connect, wait_for_any
from multiedge.network.identity import NODE, Identity, require_peer
from multiedge.transports.peers import PeerAddress, write_address


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a run is told: see Hello; and the least silence of a node that may mean that it is lost."""

    backends: BackendOptions
    caller: str
    micro_batch: int
    record: bool
    seed: int
    silence_s: float


class NodeLauncher:
    """Starts workers on nodes, and tells all of them where the others are.

    Args:
        directory: The folder of the caller's endpoint.
        run: Names the run in the log of nodes.
        caller: The address of the caller's endpoint; where it has no host, each node gets that at which it is reached.
        settings: What workers are told.
        identity: The caller's certificate; None on loopback without TLS.
        address_of: Host and port of a node. MultiedgeError if it is not known.
        digest_of: The digest of the plan in a folder of ours.
    """

    def __init__(
        self,
        directory: Path,
        run: str,
        caller: PeerAddress,
        settings: WorkerSettings,
        identity: Identity | None,
        address_of: Callable[[str], tuple[str, int]],
        digest_of: Callable[[str], str],
    ) -> None:
        self._directory, self._run, self._caller, self._settings = directory, run, caller, settings
        self._identity, self._address_of, self._digest_of = identity, address_of, digest_of
        self._lock = threading.RLock()
        self._handles: dict[str, NodeHandle] = {}
        self._hosts: dict[str, str] = {}
        self._peers: dict[str, PeerAddress] = {}
        self._changed: dict[tuple[str, str], Link] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._pump, name="nodes", daemon=True)
        self._thread.start()

    def start(self, device: Device, factor: float, links: Mapping[str, Link]) -> NodeHandle:
        name, settings = device.name, self._settings
        hello = Hello(
            device=device,
            backends=options_for(device, settings.backends),
            speed=1.0,
            factor=factor,
            cores=(),
            transport="tls",
            # Links are what they are; a trace may make them worse.
            links={peer: link for peer, link in links.items() if (name, peer) in self._changed},
            caller=settings.caller,
            micro_batch=settings.micro_batch,
            record=settings.record,
            seed=settings.seed,
            memory_limit_bytes=device.memory_bytes,
        )
        handle = NodeHandle(
            name,
            lambda: self._open(name),
            OpenWorker(self._run, hello),
            self._digest_of,
            self._on_opened,
            settings.silence_s,
        )
        with self._lock:
            self._handles[name] = handle
        return handle

    def change_link(self, source: str, target: str, link: Link) -> Link:
        self._changed[source, target] = link
        return link

    def close(self) -> None:
        """Ends the thread that listens to nodes; the workers have ended."""
        self._closed.set()
        self._thread.join(timeout=1.0)

    def _open(self, name: str) -> Connection[FromNode]:
        host, port = self._address_of(name)
        context = self._identity.client_context() if self._identity else None
        connected = connect(host, port, context)
        try:
            if isinstance(connected, ssl.SSLSocket):
                require_peer(connected, NODE + name, f"node '{name}'")
        except MultiedgeError:
            connected.close()
            raise
        with self._lock:
            self._hosts[name] = host
        return Connection(connected, FROM_NODE, f"node '{name}'")

    def _on_opened(self, opened: NodeHandle, address: PeerAddress) -> None:
        """Tells all workers of a new one, and the new one of all. A node is who its certificate says, and where we reach it."""
        name = opened.device
        identity = NODE + name if self._identity else ""
        with self._lock:
            if self._handles.get(name) is not opened:
                return
            known = replace(address, host=self._hosts[name], identity=identity)
            self._peers[name] = known
            write_address(self._directory, name, known)
            handles = list(self._handles.values())
        for handle in handles:
            host = handle.local_host
            if host is not None:
                caller = self._caller if self._caller.host else replace(self._caller, host=host)
                handle.tell(Peers({**self._peers, CALLER_NAME: caller}))

    def _pump(self) -> None:
        """Reads what nodes send as soon as it is there: when a pong comes tells their clocks."""
        while not self._closed.is_set():
            with self._lock:
                handles = list(self._handles.values())
            ready = wait_for_any([handle.socket for handle in handles], PUMP_S)
            for handle in handles:
                if not ready or handle.can_read(ready):
                    handle.pump()
