"""The agent of a device: it tells the hub how the device is, holds what the hub assigns, and lets callers start workers.

It never ends because the hub is away: it goes on telling its state, more and more rarely, and the hub knows it again from the
first state that arrives.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from multiedge.errors import MultiedgeError, NetworkError
from multiedge.executors.workers.node_messages import OpenWorker
from multiedge.fleet import AUTO_BACKEND, REFERENCE_BACKEND
from multiedge.network.client import HubClient
from multiedge.network.connection import Connection
from multiedge.network.identity import CLIENT, HUB, NODE, Identity
from multiedge.network.records import HEARTBEAT_S, GetState, HeartbeatReply, LinkState, NodeState
from multiedge.serving.node.absence import LONGEST_WAIT_S, Absence
from multiedge.serving.node.folder import PlanFolders
from multiedge.serving.node.holding import Holding
from multiedge.serving.node.limits import Limits, children_bytes
from multiedge.serving.node.loading import load_once
from multiedge.serving.node.neighbours import Neighbours
from multiedge.serving.node.probe import Probe, measure_link
from multiedge.serving.node.scrape import SCRAPE, answer_scrape
from multiedge.serving.node.server import Accepted, Door, NodeServer
from multiedge.serving.node.sessions import WorkerSessions
from multiedge.serving.node.speed import Speed, measure_speed
from multiedge.serving.node.state import Description, Machine, installed_backends
from multiedge.serving.seeing.prometheus import Exposition, node_metrics

if TYPE_CHECKING:
    from prometheus_client import Metric

log = logging.getLogger(__name__)

PULL_S = 3 * HEARTBEAT_S
"""A hub that asks by itself and has not done so for this long is told the state again."""
HUB_TIMEOUT_S, FETCH_TIMEOUT_S = 2.0, 10.0
LOOK_S = 0.5
LEAST_WAIT_S = 0.05


@dataclass(frozen=True)
class NodeOptions:
    """What a node is started with.

    Attributes:
        name: That of a device in plans.
        hub: 'HOST:PORT' of the hub.
        folder: Its own data folder.
        identity: Who it is; None on loopback without TLS.
        limits: What its workers may take.
        host: Where it listens.
        port: 0 for a free one.
        cache_bytes: What its files may take.
        probe_bytes: The most that it sends to another node to measure the connection; 0 measures none.
    """

    name: str
    hub: str
    folder: Path
    identity: Identity | None
    limits: Limits
    host: str
    port: int
    cache_bytes: int
    probe_bytes: int


class Agent:
    """Runs until `close`. Raises ConfigError if it cannot listen, or another node uses its folder.

    Args:
        options: What it is started with.
    """

    def __init__(self, options: NodeOptions) -> None:
        self._options, self._closed, self._news = options, threading.Event(), threading.Event()
        self._is_silent = False
        self._speed: Speed | None = None
        self._pulled_s = -math.inf
        self._seed = crc32(options.name.encode())
        self._machine_lock = threading.Lock()
        self.exposition = Exposition()
        """Of the node's metrics."""
        with ExitStack() as stack:
            self._folders = PlanFolders(options.folder, options.cache_bytes, self._client)
            stack.callback(self._folders.close)
            self._sessions = sessions = WorkerSessions(options.name, self._folders, options.limits.applied, options.identity)
            self._neighbours = Neighbours(self._measure_link, lambda: self.is_idle, self._seed)
            self._server = NodeServer(
                options.host,
                options.port,
                options.identity,
                {
                    OpenWorker.__name__: Door(
                        lambda each: sessions.serve(each.connection, each.peer, each.first + each.rest), (CLIENT,)
                    ),
                    GetState.__name__: Door(self._tell, (HUB,)),
                    Probe.__name__: Door(self._neighbours.answer, (NODE,)),
                    SCRAPE: Door(
                        lambda each: answer_scrape(each, lambda accept: self.exposition.text(self._metrics(), accept)),
                        (CLIENT, HUB),
                    ),
                },
            )
            stack.pop_all()
        backends = installed_backends()
        self._backend = AUTO_BACKEND if REFERENCE_BACKEND in backends else backends[0]
        self._description = Description(options.name, self._server.address, options.limits, time.time(), backends)
        self._holding = Holding(
            self._folders,
            lambda stages, stop: load_once(options.name, self._backend, stages, options.limits, stop),
            self._news.set,
        )
        self._threads = [
            threading.Thread(target=target, name=target.__name__.strip("_"), daemon=True)
            for target in (self._report, self._hold, self._measure)
        ]

    @property
    def address(self) -> str:
        """'HOST:PORT' where it listens."""
        return self._description.address

    @property
    def is_idle(self) -> bool:
        """Whether no worker runs, and nothing is fetched or loaded."""
        return not self._holding.is_busy and not self._server.open_connections(OpenWorker.__name__)

    @property
    def folders(self) -> PlanFolders:
        """Its files."""
        return self._folders

    def set_silent(self, is_silent: bool) -> None:
        """A node that is silent tells the hub nothing and measures no connection: the hub takes it for lost until it is not."""
        self._is_silent = is_silent
        if is_silent:
            self._neighbours.set_peers({})
        self._news.set()

    def state(self) -> NodeState:
        """The node now."""
        with self._machine_lock:
            taken_bytes = children_bytes() if self._holding.is_busy else self._sessions.resident_bytes
            machine = Machine.read(self._options.limits, taken_bytes)
        return self._description.state(machine, self._speed, self._holding.stages, self._neighbours.links)

    def _metrics(self) -> Iterator[Metric]:
        return node_metrics(self.state(), self._server.open_connections(OpenWorker.__name__))

    def start(self) -> None:
        self._server.start()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends every connection and worker, and lets another node use the folder."""
        self._closed.set()
        self._news.set()
        self._holding.close()
        self._server.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=HUB_TIMEOUT_S + LOOK_S)
        self._folders.close()

    # -- state ----------------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        """Tells the hub the state every HEARTBEAT_S and when a stage is ready, every LONGEST_WAIT_S while it asks by itself."""
        absence, told_s = Absence(random.Random(self._seed)), -math.inf
        with self._client(HUB_TIMEOUT_S) as client:
            while not self._closed.is_set():
                start_s, wait_s = time.monotonic(), HEARTBEAT_S
                if self._is_silent:
                    client.close()  # the hub would end an idle connection later, which this node would have to answer
                elif start_s - self._pulled_s >= PULL_S or start_s - told_s >= LONGEST_WAIT_S:
                    try:
                        self._take(client.heartbeat(self.state()))
                        told_s = start_s
                        absence.ended(start_s)
                    except NetworkError as error:
                        wait_s = absence.failed(error, start_s)
                self._news.wait(max(LEAST_WAIT_S, start_s + wait_s - time.monotonic()))
                self._news.clear()

    def _take(self, reply: HeartbeatReply) -> None:
        self._holding.assign(reply.assignments)
        if self._options.probe_bytes:
            self._neighbours.set_peers(reply.peers)

    def _tell(self, accepted: Accepted) -> None:
        """Answers each line GetState with the state."""
        peer = accepted.peer or accepted.host
        with closing(Connection(accepted.connection, (GetState,), peer, arrived=accepted.first + accepted.rest)) as connection:
            while not (self._closed.is_set() or connection.ended or self._is_silent):
                for asked in connection.receive(LOOK_S):
                    self._pulled_s = time.monotonic()
                    self._holding.assign(asked.assignments)
                    connection.send(self.state())

    # -- work -----------------------------------------------------------------------------------------------------------

    def _hold(self) -> None:
        while not self._closed.is_set():
            self._holding.step(LOOK_S)
        self._holding.step(0.0)

    def _measure(self) -> None:
        """Measures the processor once, then connections when they are due."""
        if REFERENCE_BACKEND in self._description.backends:
            try:
                self._speed = measure_speed(self._options.limits.threads, self._closed.is_set)
            except MultiedgeError as error:
                if not self._closed.is_set():
                    log.warning("%s", error)
        while not self._closed.is_set():
            if not self._neighbours.step():
                self._closed.wait(LOOK_S)

    def _measure_link(self, name: str, address: str) -> LinkState | None:
        return measure_link(name, address, self._options.identity, self._options.probe_bytes)

    def _client(self, timeout_s: float = FETCH_TIMEOUT_S) -> HubClient:
        return HubClient(self._options.hub, self._options.identity, timeout_s=timeout_s)
