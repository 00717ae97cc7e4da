"""The caller's side of a worker on a node: what its views mean, and what is sent when."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from multiedge.errors import NetworkError
from multiedge.executors.flow.routes import Routes
from multiedge.executors.workers.messages import Configure, Configured, Hello, SetClock, SetSpeed, Stop
from multiedge.executors.workers.node_handle import FIRST_PINGS, NodeHandle, aged
from multiedge.executors.workers.node_messages import (
    FROM_NODE,
    TO_NODE,
    FromNode,
    Opened,
    OpenWorker,
    Ping,
    Pong,
    Refused,
    ToNode,
    View,
)
from multiedge.executors.workers.observation import QUIET_S, Busy, Inactivity, WorkerView
from multiedge.fleet import CALLER_NAME, Device
from multiedge.measurements import Memory
from multiedge.network.connection import Connection
from multiedge.transports.peers import PeerAddress

MEMORY = Memory("d0", 1000)
SOON_S = 5.0


@dataclass
class Bench:
    """A handle, and the node at the other end of its connection."""

    node: Connection[ToNode]
    handle: NodeHandle
    opened: list[PeerAddress] = field(default_factory=list)
    received: list[ToNode] = field(default_factory=list)

    def answer(self, *messages: FromNode) -> None:
        """The node sends these, and the handle takes them."""
        for message in messages:
            self.node.send(message)
        self.handle.pump()

    def until_received(self, kind: type, times: int = 1) -> ToNode:
        """What the node gets, until as many messages of this kind have come; the first of them."""
        end_s = time.monotonic() + SOON_S
        while time.monotonic() < end_s:
            for message in self.node.receive(0.05):
                self.received.append(message)
            found = [each for each in self.received if isinstance(each, kind)]
            if len(found) >= times:
                return found[0]
        raise AssertionError(f"{times} of {kind.__name__} did not come")


def hello() -> Hello:
    return Hello(Device("d0"), {}, 1.0, 1.0, (), "tls", {}, CALLER_NAME, 1, False, 0)


@pytest.fixture
def bench() -> Iterator[Bench]:
    ours, theirs = socket.socketpair()
    node: Connection[ToNode] = Connection(theirs, TO_NODE, "caller")
    opened: list[PeerAddress] = []
    handle = NodeHandle(
        "d0",
        lambda: Connection(ours, FROM_NODE, "node 'd0'"),
        OpenWorker("run", hello()),
        lambda directory: f"digest of {directory}",
        lambda handle, address: opened.append(address),
    )
    bench = Bench(node, handle, opened)
    bench.until_received(Ping, FIRST_PINGS)  # what is not read when a socket closes makes a reset of the end
    yield bench
    handle.end()
    node.close()


def test_a_session_opens_with_the_worker_and_pings(bench: Bench) -> None:
    assert bench.received[0] == OpenWorker("run", hello())


def test_commands_wait_for_the_clock_and_name_the_plan_by_its_digest(bench: Bench) -> None:
    bench.handle.send(Configure(1, "/home/anna/parts", Routes((), ())))
    assert bench.node.receive(0.05) == () or not any(isinstance(each, Configure) for each in bench.received)
    ping = bench.until_received(Ping)
    assert isinstance(ping, Ping)
    bench.answer(Pong(ping.at_s, time.monotonic() - 500.0))
    command = bench.until_received(Configure)
    assert isinstance(command, Configure)
    assert command.directory == "digest of /home/anna/parts"
    clock = bench.until_received(SetClock)
    assert isinstance(clock, SetClock)
    assert clock.offset_s == pytest.approx(500.0, abs=SOON_S)
    assert bench.received.index(clock) < bench.received.index(command)


def test_replies_are_seen_once(bench: Bench) -> None:
    bench.answer(View(1.0, MEMORY, silent_s=0.1), Configured(3))
    assert bench.handle.observe(time.monotonic(), 0).replies == (Configured(3),)
    assert bench.handle.observe(time.monotonic(), 0).replies == ()


def test_the_address_of_the_endpoint_is_passed_on(bench: Bench) -> None:
    address = PeerAddress("10.0.0.1", 5, "00")
    bench.answer(Opened(address))
    assert bench.opened == [address]


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (lambda bench: bench.answer(Refused("no memory")), "was refused: no memory"),
        (lambda bench: bench.answer(View(1.0, MEMORY, ended="killed by signal 9")), "killed by signal 9"),
        (lambda bench: bench.node.close(), "is out of reach: the other side has closed the connection"),
    ],
    ids=["refused", "ended", "closed"],
)
def test_how_a_worker_ended_is_seen(bench: Bench, end: Callable[[Bench], None], words: str) -> None:
    end(bench)
    assert bench.handle.observe(time.monotonic(), 0).ended == words
    bench.handle.send(SetSpeed(0.5))


def test_garbage_of_a_node_is_a_failure_of_its_worker(bench: Bench) -> None:
    bench.node.socket.send(b"\x00garbage\n")
    (reply,) = bench.handle.observe(time.monotonic(), 0).replies
    assert getattr(reply, "reason", "") == "protocol"


def test_a_node_that_cannot_be_reached_is_a_worker_that_did_not_start() -> None:
    def refuse() -> Connection[FromNode]:
        raise NetworkError("h:1: cannot be reached: connection refused")

    handle = NodeHandle("d0", refuse, OpenWorker("run", hello()), str, lambda handle, address: None)
    end_s = time.monotonic() + SOON_S
    while not handle.observe(0.0, 2).ended and time.monotonic() < end_s:
        time.sleep(0.01)
    view = handle.observe(0.0, 2)
    assert view.ended == "could not be started: h:1: cannot be reached: connection refused"
    assert view.sent == view.taken == [0.0, 0.0]
    assert handle.memory().peak_bytes is None
    assert handle.cpu_s() is None


def test_the_end_tells_the_worker_to_stop(bench: Bench) -> None:
    bench.handle.end()
    assert bench.until_received(Stop) == Stop()


@pytest.mark.parametrize("inactivity", [None, *Inactivity])
def test_what_a_node_sees_of_its_worker_is_seen_by_the_caller(bench: Bench, inactivity: Inactivity | None) -> None:
    bench.answer(View.of(WorkerView(5.0, 0.4, cpu_s=7.0, inactivity=inactivity), MEMORY, 7.0))
    seen = bench.handle.observe(time.monotonic(), 0)
    assert (seen.cpu_s, seen.inactivity) == (7.0, inactivity)


@pytest.mark.parametrize(("age_s", "cpu_s", "inactivity"), [(0.0, 7.0, Inactivity.STOPPED), (QUIET_S, None, None)])
def test_durations_of_a_view_grow_with_its_age(age_s: float, cpu_s: float | None, inactivity: Inactivity | None) -> None:
    stopped = Inactivity.STOPPED
    view = View(
        5.0, MEMORY, silent_s=0.1, cpu_s=7.0, inactivity=stopped, busy=Busy(1, 9, 0.4), sent=(1.0, 2.0, 3.0), taken=(1.0,)
    )
    seen = aged(view, age_s, 2)
    assert seen.age_s == 5.0 + age_s
    assert seen.silent_s == pytest.approx(0.1 + age_s)
    assert seen.busy is not None
    assert seen.busy.for_s == pytest.approx(0.4 + age_s)
    assert seen.cpu_s == cpu_s, "of an old view it is not known whether the worker still uses the processor"
    assert seen.inactivity is inactivity, "nor whether it is still stopped: its node may be"
    assert (seen.sent, seen.taken) == ([1.0, 2.0], [1.0, 0.0])
