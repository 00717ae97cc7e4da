"""Connections of a fleet: typed lines, whatever the pieces in which they come, and no call that waits for ever."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from multiedge.errors import NetworkError
from multiedge.formats.records import encode_line
from multiedge.network import connection as connections
from multiedge.network.connection import Connection, connect, own_address


@dataclass(frozen=True)
class Note:
    text: str


Pair = tuple[Connection[Note], socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A connection and the raw socket at its other end."""
    ours, theirs = socket.socketpair()
    connection: Connection[Note] = Connection(ours, [Note], "node 'a'", most_bytes=1000)
    yield connection, theirs
    connection.close()
    theirs.close()


def texts(connection: Connection[Note], count: int) -> list[str]:
    notes: list[Note] = []
    while len(notes) < count and not connection.ended:
        notes += connection.receive(1.0)
    return [note.text for note in notes]


@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_messages_arrive_whole_in_whatever_pieces_they_come(pair: Pair, pieces: int) -> None:
    connection, peer = pair
    line = b'{"type":"Note","text":"one"}\n{"type":"Note","text":"two"}\n'
    for start in range(0, len(line), pieces):
        peer.sendall(line[start : start + pieces])
    assert texts(connection, 2) == ["one", "two"]


def test_what_was_read_before_counts() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection: Connection[Note] = Connection(ours, [Note], "peer", arrived=b'{"type":"Note","text":"first"}\n')
        assert texts(connection, 1) == ["first"]


def test_what_is_sent_is_one_line(pair: Pair) -> None:
    connection, peer = pair
    connection.send(Note("a\nb"))
    assert peer.recv(1000) == b'{"type":"Note","text":"a\\nb"}\n'


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (b"\x16\x03\x01 garbage\n", "expected one message in JSON per line"),
        (b'{"type":"Note"}\n', "node 'a': text: missing"),
        (b'{"type":"Other","text":""}\n', "node 'a': type: unknown value 'Other'"),
        (b"x" * 2000, "at most 1000 bytes"),
    ],
)
def test_a_damaged_message_is_named(pair: Pair, line: bytes, finding: str) -> None:
    connection, peer = pair
    peer.sendall(line)
    with pytest.raises(NetworkError, match=finding):
        connection.receive(1.0)


@pytest.mark.timing
def test_a_wait_ends_without_a_message(pair: Pair) -> None:
    connection, _ = pair
    begin = time.monotonic()
    assert connection.receive(0.05) == ()
    assert 0.04 < time.monotonic() - begin < 1.0
    assert not connection.ended


def test_a_peer_that_closes_ends_the_connection(pair: Pair) -> None:
    connection, peer = pair
    peer.sendall(b'{"type":"Note","text":"last"}\n')
    peer.close()
    assert texts(connection, 2) == ["last"]
    assert connection.ended == "the other side has closed the connection"
    connection.send(Note("nobody reads this"))


def test_what_a_peer_said_before_it_closed_arrives_also_when_sending_fails(pair: Pair) -> None:
    connection, theirs = pair
    theirs.sendall(encode_line(Note("refused")))
    theirs.close()
    connection.send(Note("one"))
    assert connection.ended
    assert [note.text for note in connection.receive()] == ["refused"]


@pytest.mark.timing
def test_a_peer_that_takes_nothing_ends_the_connection_and_keeps_nobody_waiting(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, _ = pair
    monkeypatch.setattr(connections, "MOST_UNSENT_BYTES", 1 << 20)
    begin = time.monotonic()
    for _ in range(100):
        connection.send(Note("x" * 50_000))
    assert connection.ended == "it takes no messages"
    assert time.monotonic() - begin < 1.0


def test_what_is_left_to_send_goes_before_a_connection_closes(pair: Pair) -> None:
    connection, peer = pair
    connection.send(Note("end"))
    connection.close(linger_s=1.0)
    assert peer.recv(100).endswith(b'"end"}\n')
    assert peer.recv(100) == b""


def test_a_port_without_a_listener_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NetworkError, match=f"127.0.0.1:{port}: cannot be reached: connection refused"):
        connect("127.0.0.1", port, None)


def test_the_own_address_is_that_of_the_network_which_leads_there() -> None:
    assert own_address("127.0.0.1", 9) == own_address("localhost", 9) == "127.0.0.1"
    with pytest.raises(NetworkError, match=r"no-such-host.invalid:9: cannot be reached: "):
        own_address("no-such-host.invalid", 9)
