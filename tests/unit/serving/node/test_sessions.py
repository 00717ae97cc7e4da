"""Sessions of workers: what a caller sends reaches the worker with this node's files, and the worker ends with its caller."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from multiedge.errors import ChangedError, NetworkError
from multiedge.executors.flow.routes import Routes
from multiedge.executors.workers.messages import Configure, Configured, Failed, Hello
from multiedge.executors.workers.node_messages import (
    FROM_NODE,
    FromNode,
    Opened,
    OpenWorker,
    Ping,
    Pong,
    Refused,
    View,
)
from multiedge.fleet import CALLER_NAME, Device
from multiedge.network.connection import Connection
from multiedge.plan import Part
from multiedge.serving.node import sessions
from multiedge.serving.node.folder import LocalStages, Progress
from multiedge.serving.node.sessions import WorkerSessions
from tests.builders.children import own_children
from tests.builders.pipelines import synthetic_chain

SOON_S = 60.0
DIGEST = "d" * 64


class FakePlans:
    """Files of one plan, in a folder of the test, under names of the node's own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.changed = folder, False
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self.released = 0

    def open(
        self,
        plan: str,
        stages: Collection[int],
        progress: Progress = lambda done, needed: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> LocalStages:
        self.asked.append((plan, tuple(stages)))
        progress(5, 10)
        if self.changed:
            raise ChangedError("the pool has other bytes")
        parts = {stage: Part(stage, f"stage_{stage}.json", "elsewhere", (), (), {}) for stage in stages}
        return LocalStages(self.folder, parts, self._release)

    def _release(self) -> None:
        self.released += 1


class Caller:
    """The other end of a session, which is served in a thread."""

    def __init__(self, served: WorkerSessions) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            ours = socket.create_connection(server.getsockname())
            theirs, _ = server.accept()
        self.connection: Connection[FromNode] = Connection(ours, FROM_NODE, "node")
        self.errors: list[NetworkError] = []
        self.thread = threading.Thread(target=self._serve, args=(served, theirs), daemon=True)
        self.thread.start()

    def _serve(self, served: WorkerSessions, connected: socket.socket) -> None:
        try:
            served.serve(connected, "")
        except NetworkError as error:
            self.errors.append(error)

    def await_one(self, kind: type, where: Callable[[FromNode], bool] = lambda message: True) -> FromNode:
        """The next message of this kind; pings go on."""
        end_s = time.monotonic() + SOON_S
        while time.monotonic() < end_s:
            self.connection.send(Ping(time.monotonic()))
            for message in self.connection.receive(0.1):
                if isinstance(message, kind) and where(message):
                    return message
        raise AssertionError(f"no {kind.__name__} came")


@pytest.fixture
def plans(tmp_path: Path) -> FakePlans:
    return FakePlans(tmp_path)


@pytest.fixture
def caller(plans: FakePlans) -> Iterator[Caller]:
    made = Caller(WorkerSessions("d0", plans, lambda hello: replace(hello, micro_batch=1)))
    yield made
    made.connection.close()
    made.thread.join(SOON_S)
    assert not made.thread.is_alive()


def hello(name: str = "d0", **backend: object) -> Hello:
    return Hello(
        Device(name, backend="synthetic"),
        {"synthetic": backend} if backend else {},
        1.0,
        1.0,
        (),
        "pipe",
        {},
        CALLER_NAME,
        1,
        False,
        0,
    )


def test_a_worker_loads_the_nodes_own_files_of_the_plan(tmp_path: Path, plans: FakePlans, caller: Caller) -> None:
    routes = Routes.of(synthetic_chain(tmp_path, 2))
    stolen = replace(routes, parts=(replace(routes.parts[0], file="../../etc/passwd"), routes.parts[1]))
    caller.connection.send(OpenWorker("run", hello()))
    caller.connection.send(Configure(1, DIGEST, stolen))
    opened = caller.await_one(Opened)
    assert isinstance(opened, Opened)
    assert opened.address.port > 0
    configured = caller.await_one(Configured)
    assert isinstance(configured, Configured)
    assert [load.stage for load in configured.loads] == [0]
    assert plans.asked == [(DIGEST, (0,))]
    view = caller.await_one(View, lambda message: isinstance(message, View) and message.silent_s is not None)
    assert isinstance(view, View)
    assert (view.sent, view.taken, view.ended) == ((0.0,) * 3, (0.0,) * 3, "")
    assert view.resident_bytes
    (worker,) = own_children()
    caller.connection.close()
    caller.thread.join(SOON_S)
    assert not worker.is_running()
    assert plans.released == 1


def test_a_worker_that_ends_is_reported(caller: Caller) -> None:
    caller.connection.send(OpenWorker("run", hello()))
    caller.await_one(Opened)
    own_children()[0].kill()
    view = caller.await_one(View, lambda message: isinstance(message, View) and bool(message.ended))
    assert isinstance(view, View)
    assert view.ended == "killed by signal 9"


def test_files_that_are_not_those_of_the_plan_are_reported(tmp_path: Path, plans: FakePlans, caller: Caller) -> None:
    plans.changed = True
    caller.connection.send(OpenWorker("run", hello()))
    caller.connection.send(Configure(1, DIGEST, Routes.of(synthetic_chain(tmp_path, 2))))
    assert caller.await_one(Failed) == Failed("changed", "the pool has other bytes")


def test_a_caller_that_is_silent_loses_its_worker(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SILENT_S", 0.3)
    caller.connection.send(OpenWorker("run", hello()))
    caller.thread.join(SOON_S)
    assert not caller.thread.is_alive()
    assert own_children() == []


def test_a_ping_is_answered_with_the_nodes_clock(caller: Caller) -> None:
    caller.connection.send(OpenWorker("run", hello()))
    pong = caller.await_one(Pong)
    assert isinstance(pong, Pong)
    assert abs(pong.node_s - time.monotonic()) < SOON_S


@pytest.mark.parametrize(
    ("opening", "reason"),
    [
        (OpenWorker("run", hello("d1")), "this node is 'd0', not 'd1'"),
        (OpenWorker("run", hello(folder="/tmp/x")), "backends: synthetic: folder: expected a number or true or false"),
    ],
    ids=["name", "path"],
)
def test_what_it_cannot_start_is_refused(caller: Caller, opening: OpenWorker, reason: str) -> None:
    caller.connection.send(opening)
    refused = caller.await_one(Refused)
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert own_children() == []


def test_a_session_begins_with_its_worker(caller: Caller) -> None:
    caller.connection.send(Ping(1.0))
    caller.thread.join(SOON_S)
    assert "expected OpenWorker first, got Ping" in str(caller.errors[0])
