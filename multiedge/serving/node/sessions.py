"""Workers of this node for callers elsewhere: one connection, one worker process and one folder each.

What a caller sends goes on to the worker, but for the plan: a command names its digest, and the worker gets this node's own
files of it. The worker ends with its connection, and when its caller has been silent for SILENT_S.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from multiedge.errors import ChangedError, ConfigError, MultiedgeError, NetworkError
from multiedge.executors.workers.messages import (
    Configure,
    Failed,
    Hello,
    Prepare,
    SetClock,
    SetLink,
    SetSpeed,
    Stop,
)
from multiedge.executors.workers.node_messages import (
    SILENT_S,
    TO_NODE,
    VIEW_S,
    Fetch,
    Opened,
    OpenWorker,
    Peers,
    Ping,
    Pong,
    Refused,
    ToNode,
    View,
    require_portable,
)
from multiedge.executors.workers.observation import WorkerView
from multiedge.executors.workers.process import REGISTERED_FUNCTIONS, WorkerProcess
from multiedge.fleet import CALLER_NAME
from multiedge.network.connection import Connection
from multiedge.network.identity import Identity
from multiedge.serving.node.folder import LocalStages, Progress
from multiedge.transports import rundir
from multiedge.transports.clock import RunClock
from multiedge.transports.peers import read_address, set_place, write_address

log = logging.getLogger(__name__)

TRANSPORT = "tls"
TICK_S = 0.02
"""The time between two looks at a worker that starts or loads; later it is looked at for a view, and when it says something."""
OPEN_S = 3.0
"""How long a session may take until its first message."""
STOP_S = 0.5
"""How long a worker may take to end by itself."""
LINGER_S = 0.5


class Plans(Protocol):
    """Where stages come from: `multiedge.serving.node.folder.PlanFolders`."""

    def open(
        self, plan: str, stages: Collection[int], progress: Progress = ..., is_cancelled: Callable[[], bool] = ...
    ) -> LocalStages: ...


class WorkerSessions:
    """Serves every session of a node.

    Args:
        name: The node's name, which is that of its device.
        plans: The files of plans.
        applied: What a worker is told, within the node's limits.
        identity: The node's certificate; None on loopback without TLS.
    """

    def __init__(self, name: str, plans: Plans, applied: Callable[[Hello], Hello], identity: Identity | None = None) -> None:
        self._name, self._plans, self._applied, self._identity = name, plans, applied, identity
        self._lock = threading.Lock()
        self._running: dict[str, Session] = {}

    @property
    def resident_bytes(self) -> int:
        """What the workers take now."""
        with self._lock:
            return sum(session.resident_bytes for session in self._running.values())

    def serve(self, connected: socket.socket, peer: str, arrived: bytes = b"") -> None:
        """Serves one session until it ends. `peer` is who the certificate says it is; `arrived` was read from it before.

        Raises:
            NetworkError: If it does not begin as a session must, or sends what is no message.
        """
        connection: Connection[ToNode] = Connection(connected, TO_NODE, peer or "a caller", arrived=arrived)
        try:
            first, *further = _first(connection)
            if not isinstance(first, OpenWorker):
                raise NetworkError(f"{connection.peer}: expected OpenWorker first, got {type(first).__name__}")
            if first.hello.device.name != self._name:
                connection.send(Refused(f"this node is '{self._name}', not '{first.hello.device.name}'"))
                return
            try:
                require_portable(first.hello.backends)
            except ConfigError as error:
                connection.send(Refused(str(error)))
                return
            self._run(first, further, connection, peer)
        finally:
            connection.close(LINGER_S)

    def _run(self, opening: OpenWorker, further: list[ToNode], connection: Connection[ToNode], peer: str) -> None:
        hello = replace(self._applied(opening.hello), transport=TRANSPORT, cores=())
        with self._lock:
            before = self._running.get(opening.run)
        if before is not None:
            before.cancel()  # its caller has lost that connection
        try:
            session = Session(hello, connection, peer, self._plans, self._identity)
        except (OSError, MultiedgeError, MemoryError) as error:
            connection.send(Refused(f"the worker could not be started: {error}"))
            return
        with self._lock:
            self._running[opening.run] = session
        log.info("run %s of %s: began", opening.run, connection.peer)
        try:
            session.run(further)
        finally:
            session.close()
            with self._lock:
                if self._running.get(opening.run) is session:
                    del self._running[opening.run]
            log.info("run %s of %s: ended: %s", opening.run, connection.peer, session.reason)


class Session:
    """One worker and the connection of its caller."""

    def __init__(
        self, hello: Hello, connection: Connection[ToNode], peer: str, plans: Plans, identity: Identity | None
    ) -> None:
        self._hello, self._connection, self._peer, self._plans = hello, connection, peer, plans
        self.reason = ""
        """Why it ended; '' while it goes on."""
        self.resident_bytes = 0
        """What its worker takes."""
        self._clock = RunClock()
        self._transfers = 0
        self._is_opened = False
        self._viewed_s = 0.0
        self._heard_s = time.monotonic()
        self._fetch: Fetch | None = None
        self._loading: deque[Future[Prepare | Configure]] = deque()
        self._held: dict[str, LocalStages] = {}
        self._fetching = ThreadPoolExecutor(1, thread_name_prefix="fetch")
        self._directory = rundir.make()
        try:
            set_place(self._directory, hello.device.name, connection.local_host, identity)
            self._worker = WorkerProcess(self._directory, hello, clock=self._clock, further=(REGISTERED_FUNCTIONS,))
        except BaseException:
            rundir.remove(self._directory)
            raise

    def cancel(self) -> None:
        """Ends it soon; may be called from another thread."""
        self.reason = self.reason or "its caller has begun anew"

    def run(self, messages: Collection[ToNode]) -> None:
        """Returns when it has ended."""
        while not self.reason:
            for message in messages:
                self._heard_s = time.monotonic()
                self._take(message)
            self._look()
            messages = self._connection.receive(self._wait_s, self._worker.socket)
            if self._connection.ended:
                self.cancel_for(f"the connection ended: {self._connection.ended}")
            elif time.monotonic() - self._heard_s > SILENT_S:
                self.cancel_for(f"the caller was silent for {SILENT_S:g} s")

    @property
    def _wait_s(self) -> float:
        """How long to wait for the caller or the worker."""
        if not self._is_opened or self._loading:
            return TICK_S
        return max(0.0, self._viewed_s + VIEW_S - time.monotonic())

    def cancel_for(self, reason: str) -> None:
        self.reason = self.reason or reason

    def close(self) -> None:
        """Ends the worker, whatever state it is in, and removes what belongs to it."""
        self.cancel_for("closed")
        self._worker.end(STOP_S if self.reason == "stopped" else 0.0)
        self._fetching.shutdown(wait=True, cancel_futures=True)
        for held in self._held.values():
            held.release()
        rundir.remove(self._directory)

    # -- what the caller sends --------------------------------------------------------------------------------------------

    def _take(self, message: ToNode) -> None:
        match message:
            case Ping(at_s):
                self._connection.send(Pong(at_s, time.monotonic()))
            case Peers(peers):
                for name, address in peers.items():
                    # A caller is who its certificate says, whatever it writes.
                    known = replace(address, identity=self._peer) if name == CALLER_NAME else address
                    if name != self._hello.device.name:
                        write_address(self._directory, name, known)
            case Prepare() | Configure():
                self._loading.append(self._fetching.submit(self._with_files, message))
            case SetClock(offset_s):
                self._clock.offset_s = offset_s
                self._worker.send(message)
            case SetSpeed() | SetLink():
                self._worker.send(message)
            case Stop():
                self._worker.send(message)
                self.cancel_for("stopped")
            case OpenWorker() | Hello():
                raise NetworkError(f"{self._connection.peer}: expected {type(message).__name__} once")

    def _with_files(self, command: Prepare | Configure) -> Prepare | Configure:
        """The command for the worker: with this node's files of its stages, which are fetched if they are not here."""
        stages = command.routes.stages_on(self._hello.device.name)
        if not stages:
            return replace(command, directory=os.fspath(self._directory))
        plan = command.directory
        local = self._plans.open(plan, stages, self._show_fetch, lambda: bool(self.reason))
        if (before := self._held.get(plan)) is not None:
            before.release()
        self._held[plan] = local
        parts = tuple(
            replace(part, file=mine.file, files=mine.files) if (mine := local.parts.get(stage)) else part
            for stage, part in enumerate(command.routes.parts)
        )
        return replace(command, directory=os.fspath(local.directory), routes=replace(command.routes, parts=parts))

    def _show_fetch(self, done_bytes: int, total_bytes: int) -> None:
        self._fetch = Fetch(done_bytes, total_bytes)

    # -- what the worker does ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._forward()
        now_s = time.monotonic()
        view = self._worker.observe(self._clock(), self._transfers)
        self.resident_bytes = view.resident_bytes or 0
        self._tell_address()
        if view.replies or view.ended or now_s - self._viewed_s >= VIEW_S:
            self._viewed_s = now_s
            # First what the worker is, then what it says: counts of an epoch are there when the caller learns that it began.
            self._send_view(view)
            for reply in view.replies:
                self._connection.send(reply)

    def _forward(self) -> None:
        """Sends the worker the commands whose files are here."""
        while self._loading and self._loading[0].done():
            future = self._loading.popleft()
            self._fetch = None
            try:
                command = future.result()
            except ChangedError as error:
                self._connection.send(Failed("changed", str(error)))
            except (MultiedgeError, OSError) as error:
                self._connection.send(Failed("load", f"cannot fetch its stages: {error}"))
            else:
                if isinstance(command, Configure):
                    self._transfers = len(command.routes.transfers)
                self._worker.send(command)

    def _tell_address(self) -> None:
        if not self._is_opened and (address := read_address(self._directory, self._hello.device.name)) is not None:
            self._is_opened = True
            self._connection.send(Opened(address))

    def _send_view(self, view: WorkerView) -> None:
        self._connection.send(View.of(view, *self._worker.shown(), self._fetch))


def _first(connection: Connection[ToNode]) -> tuple[ToNode, ...]:
    """The first messages; NetworkError if none comes in time."""
    messages = connection.receive(OPEN_S)
    if not messages:
        raise NetworkError(f"{connection.peer}: no message within {OPEN_S:g} s")
    return messages
