"""Messages over TCP: who is let in, and that no way keeps another waiting."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from multiedge.transports import rundir
from multiedge.transports.streams import frame
from multiedge.transports.tcp import TcpEndpoint, set_hosts
from tests.builders.endpoints import SOON_S, message, receive, sequences


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


def test_tcp_accepts_only_senders_that_know_the_secret(over_tcp: tuple[TcpEndpoint, TcpEndpoint], tmp_path: Path) -> None:
    _, b = over_tcp
    address, secret = inbox(tmp_path, "b")
    for sequence, greeting in enumerate((bytes(len(secret)), secret)):
        with socket.create_connection(address) as stranger:
            stranger.sendall(greeting + frame(message(sequence, np.zeros(1))))
            assert sequences(receive(b, 1, 0.3)) == ([sequence] if greeting == secret else [])


def test_over_tcp_a_slow_sender_keeps_no_other_waiting(over_tcp: tuple[TcpEndpoint, TcpEndpoint], tmp_path: Path) -> None:
    a, b = over_tcp
    address, secret = inbox(tmp_path, "b")
    data = frame(message(7, np.zeros(1000)))
    with socket.create_connection(address) as slow:
        slow.sendall(secret + data[:-1])
        a.send("b", message(1, np.zeros(1)))
        assert sequences(receive(b, 1)) == [1]
        slow.sendall(data[-1:])
        assert sequences(receive(b, 1)) == [7]


@pytest.mark.timing
def test_over_tcp_who_does_not_read_keeps_no_one_waiting(over_tcp: tuple[TcpEndpoint, TcpEndpoint], tmp_path: Path) -> None:
    a, b = over_tcp
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        rundir.file_of(tmp_path, "inbox", "deaf").write_text("{} {} 00".format(*deaf.getsockname()))
        begin = time.monotonic()
        for sequence in range(4):
            a.send("deaf", message(sequence, np.zeros(10_000_000, dtype=np.uint8)))
        a.send("b", message(9, np.zeros(1)))
        assert sequences(receive(b, 1)) == [9]
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


def test_on_a_loopback_a_message_is_due_when_its_sender_says(over_tcp: tuple[TcpEndpoint, TcpEndpoint]) -> None:
    a, b = over_tcp
    a.send("b", message(0)._replace(sent_s=1.0, due_s=2.0))
    (got,) = receive(b, 1)
    assert (got.sent_s, got.due_s) == (1.0, 2.0)


def test_delays_of_different_senders_do_not_add_up(tmp_path: Path) -> None:
    """A message of 'slow' that is due in an hour keeps none of 'quick' back."""
    set_hosts(tmp_path, {"b": "127.0.0.1"})
    ends = {name: TcpEndpoint(tmp_path, name) for name in ("slow", "quick", "b")}
    now = time.monotonic()
    ends["slow"].send("b", message(0)._replace(source="slow", sent_s=now, due_s=now + 3600.0))
    assert sequences(receive(ends["b"], 1)) == [0]
    ends["quick"].send("b", message(1)._replace(source="quick", sent_s=now, due_s=now))
    (got,) = receive(ends["b"], 1)
    assert got.due_s < now + 60.0
    for end in ends.values():
        end.close()


def test_a_host_file_says_where_to_listen(tmp_path: Path) -> None:
    set_hosts(tmp_path, {"a": "127.0.0.2"})
    end = TcpEndpoint(tmp_path, "a")
    (host, _), _ = inbox(tmp_path, "a")
    assert host == "127.0.0.2"
    end.close()


def test_every_endpoint_has_a_secret_of_its_own(over_tcp: tuple[TcpEndpoint, TcpEndpoint], tmp_path: Path) -> None:
    secrets = {inbox(tmp_path, name)[1] for name in ("a", "b")}
    assert len(secrets) == 2
    assert all(len(secret) == 16 for secret in secrets)


def test_closing_ends_every_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    a, b = TcpEndpoint(tmp_path, "a"), TcpEndpoint(tmp_path, "b")
    a.send("b", message(0))
    receive(b, 1)
    assert threading.active_count() == before + 3
    for end in (a, b):
        end.close()
    assert threading.active_count() == before
