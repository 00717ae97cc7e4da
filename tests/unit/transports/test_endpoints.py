"""All transports keep the same promises; links delay, mailboxes hold back; the run's folder is private and swept up."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from multiedge.errors import PipelineError
from multiedge.fleet import Link
from multiedge.transports import TRANSPORTS, rundir
from multiedge.transports.links import LinkShaper, Mailbox, is_down
from multiedge.transports.message import Address, Endpoint, Message
from multiedge.transports.shared_memory import SharedMemoryEndpoint
from multiedge.transports.streams import frame
from multiedge.transports.tcp import TcpEndpoint, set_hosts

SOON_S = 5.0


@pytest.fixture(params=TRANSPORTS.names())
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Endpoint, Endpoint]]:
    """Two ends, 'a' and 'b', of each transport."""
    ends = [TRANSPORTS.load(request.param)(tmp_path, name) for name in ("a", "b")]
    yield ends[0], ends[1]
    for end in ends:
        end.close()


def message(sequence: int, *arrays: np.ndarray, epoch: int = 1) -> Message:
    return Message(Address(epoch, 0, sequence % 4, sequence), "a", arrays)


def receive(end: Endpoint, count: int, timeout_s: float = SOON_S) -> list[Message]:
    found: list[Message] = []
    until = time.monotonic() + timeout_s
    while len(found) < count and time.monotonic() < until:
        found += end.receive(0.1)
    return found


def test_messages_arrive_in_order_with_their_arrays(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    sent = [message(n, np.arange(n + 1), np.full((2, n), n, dtype=np.float32)) for n in range(6)]
    for each in sent:
        a.send("b", each)
    for got, expected in zip(receive(b, 6), sent, strict=True):
        assert got.address == expected.address
        for array, original in zip(got.arrays, expected.arrays, strict=True):
            np.testing.assert_array_equal(array, original)
            assert not array.flags.writeable


def test_messages_may_grow_beyond_what_the_slot_had(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    for sequence, size in enumerate((10, 1_000_000, 10, 3_000_000)):
        array = np.full(size, sequence, dtype=np.uint8)
        a.send("b", message(sequence, array))
        (got,) = receive(b, 1)
        np.testing.assert_array_equal(got.arrays[0], array)
        b.release(got.address)


def test_arrays_stay_until_they_are_released(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    a.send("b", message(0, np.zeros(1000)))
    (first,) = receive(b, 1)
    for sequence in range(1, 5):
        a.send("b", message(sequence, np.full(1000, float(sequence))))
    later = receive(b, 4)
    assert float(first.arrays[0].max()) == 0.0
    assert [float(each.arrays[0][0]) for each in later] == [1.0, 2.0, 3.0, 4.0]


def test_wake_ends_a_wait_without_a_message(pair: tuple[Endpoint, Endpoint]) -> None:
    a, _ = pair
    timer = threading.Timer(0.05, a.wake)
    begin = time.monotonic()
    timer.start()
    assert a.receive(SOON_S) == []
    assert time.monotonic() - begin < SOON_S / 2
    timer.join()


def test_messages_of_forgotten_epochs_are_dropped(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    a.send("b", message(0, np.zeros(1), epoch=1))
    a.send("b", message(1, np.ones(1), epoch=2))
    b.forget(2)
    assert [got.address.epoch for got in receive(b, 1)] == [2]


def test_sending_to_nobody_is_no_error(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    a.send("gone", message(0, np.zeros(1)))
    a.send("b", message(1, np.zeros(1)))
    assert [got.address.sequence for got in receive(b, 1)] == [1]


def test_who_takes_the_place_of_a_peer_is_reached_in_the_next_epoch(pair: tuple[Endpoint, Endpoint], tmp_path: Path) -> None:
    a, b = pair
    a.send("b", message(0, np.zeros(1)))
    receive(b, 1)
    b.close()
    again = type(b)(tmp_path, "b")  # type: ignore[call-arg]
    a.forget(2)
    a.send("b", message(1, np.zeros(1), epoch=2))
    assert [got.address.sequence for got in receive(again, 1)] == [1]
    again.close()


def inbox(directory: Path, name: str) -> tuple[tuple[str, int], bytes]:
    """Where a TCP endpoint listens, and its secret."""
    host, port, secret = rundir.file_of(directory, "inbox", name).read_text().split()
    return (host, int(port)), bytes.fromhex(secret)


@pytest.fixture
def over_tcp(tmp_path: Path) -> Iterator[tuple[TcpEndpoint, TcpEndpoint]]:
    ends = TcpEndpoint(tmp_path, "a"), TcpEndpoint(tmp_path, "b")
    yield ends
    for end in ends:
        end.close()


def test_tcp_listens_on_this_machine_alone(over_tcp: tuple[TcpEndpoint, TcpEndpoint], tmp_path: Path) -> None:
    (host, _), _ = inbox(tmp_path, "b")
    assert host == "127.0.0.1"
    assert rundir.file_of(tmp_path, "inbox", "b").stat().st_mode & 0o077 == 0


def test_tcp_hears_only_who_knows_the_secret(over_tcp: tuple[TcpEndpoint, TcpEndpoint], tmp_path: Path) -> None:
    _, b = over_tcp
    address, secret = inbox(tmp_path, "b")
    for sequence, greeting in enumerate((bytes(len(secret)), secret)):
        with socket.create_connection(address) as stranger:
            stranger.sendall(greeting + frame(message(sequence, np.zeros(1))))
            assert [got.address.sequence for got in receive(b, 1, 0.3)] == ([sequence] if greeting == secret else [])


def test_over_tcp_a_slow_sender_keeps_no_other_waiting(over_tcp: tuple[TcpEndpoint, TcpEndpoint], tmp_path: Path) -> None:
    a, b = over_tcp
    address, secret = inbox(tmp_path, "b")
    data = frame(message(7, np.zeros(1000)))
    with socket.create_connection(address) as slow:
        slow.sendall(secret + data[:-1])
        a.send("b", message(1, np.zeros(1)))
        assert [got.address.sequence for got in receive(b, 1)] == [1]
        slow.sendall(data[-1:])
        assert [got.address.sequence for got in receive(b, 1)] == [7]


def test_over_tcp_who_does_not_read_keeps_no_one_waiting(over_tcp: tuple[TcpEndpoint, TcpEndpoint], tmp_path: Path) -> None:
    a, b = over_tcp
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        rundir.file_of(tmp_path, "inbox", "deaf").write_text("{} {} 00".format(*deaf.getsockname()))
        begin = time.monotonic()
        for sequence in range(4):
            a.send("deaf", message(sequence, np.zeros(10_000_000, dtype=np.uint8)))
        a.send("b", message(9, np.zeros(1)))
        assert [got.address.sequence for got in receive(b, 1)] == [9]
        a.close()
    assert time.monotonic() - begin < SOON_S / 2


def test_where_the_kernel_shapes_the_way_a_delay_counts_from_arrival(tmp_path: Path) -> None:
    """The first message was five seconds on its way: its latency comes on top, and the second does not overtake it."""
    set_hosts(tmp_path, {"b": "127.0.0.1"})
    a, b = TcpEndpoint(tmp_path, "a"), TcpEndpoint(tmp_path, "b")
    begin = time.monotonic()
    a.send("b", message(0)._replace(sent_s=begin - 5.0, due_s=begin - 4.0))
    a.send("b", message(1)._replace(sent_s=begin, due_s=begin + 0.1))
    first, second = receive(b, 2)
    assert first.due_s == pytest.approx(begin + 1.0, abs=0.5)
    assert second.due_s >= first.due_s
    for end in (a, b):
        end.close()


def test_a_slot_that_is_free_is_used_again(tmp_path: Path) -> None:
    a, b = SharedMemoryEndpoint(tmp_path, "a"), SharedMemoryEndpoint(tmp_path, "b")
    for sequence in range(50):
        a.send("b", message(sequence, np.zeros(10)))
        for got in receive(b, 1):
            b.release(got.address)
    assert len(list(tmp_path.glob("slot-*"))) == 1
    for sequence in range(3):
        a.send("b", message(sequence, np.zeros(10)))
    assert len(list(tmp_path.glob("slot-*"))) == 3
    for end in (a, b):
        end.close()


def test_two_senders_of_one_transfer_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas of a stage are processes of their own that serve the same transfer."""
    ends = {name: SharedMemoryEndpoint(tmp_path, name) for name in ("a", "b", "sink")}
    for process, name in enumerate(("a", "b")):
        monkeypatch.setattr(os, "getpid", lambda process=process: 1000 + process)
        ends[name].send("sink", message(process, np.full(5, process)))
    assert sorted(int(got.arrays[0][0]) for got in receive(ends["sink"], 2)) == [0, 1]
    for end in ends.values():
        end.close()


def test_no_room_in_shared_memory_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    end = SharedMemoryEndpoint(tmp_path, "a")
    with pytest.raises(PipelineError, match=r"no room for a message of 8.0 MiB .No space left on device.; free shared memory"):
        end.send("b", message(0, np.zeros(1 << 20)))
    end.close()


def test_a_message_occupies_its_link() -> None:
    shaper = LinkShaper("a", {"b": Link(1000.0, 0.5)})
    assert [shaper.due_s("b", 100, 0.0) for _ in range(3)] == pytest.approx([0.6, 0.7, 0.8])
    shaper.change("b", Link(100.0, 0.0))
    assert shaper.due_s("b", 100, 10.0) == pytest.approx(11.0)


def test_a_mailbox_gives_what_is_due_in_the_order_of_time() -> None:
    box = Mailbox()
    assert box.next_due_s() == math.inf
    for due in (3.0, 1.0, 2.0):
        box.put(Message(Address(1, 0, 0, int(due)), due_s=due))
    assert box.next_due_s() == 1.0
    assert [each.due_s for each in box.take(2.5)] == [1.0, 2.0]
    assert [each.due_s for each in box.take(9.0)] == [3.0]


def test_what_waited_for_a_dead_link_arrives_when_it_is_back() -> None:
    assert is_down(Link(1e-6))
    box = Mailbox()
    box.put(Message(Address(1, 0, 0, 1), "a", (np.zeros(100, dtype=np.uint8),), due_s=math.inf))
    box.put(Message(Address(1, 0, 0, 2), "c", due_s=math.inf))
    box.restore("a", Link(1000.0), 5.0)
    assert [(each.source, each.due_s) for each in box.take(6.0)] == [("a", pytest.approx(5.1))]


def test_the_folder_of_a_run_is_private(tmp_path: Path) -> None:
    made = rundir.make(tmp_path)
    assert made.stat().st_mode & 0o077 == 0
    assert rundir.file_of(made, "inbox", "../a b").parent == made
    rundir.remove(made)
    rundir.remove(made)
    assert not made.exists()
