"""The port of a node: what is refused is logged in one line, and what runs is not disturbed."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from multiedge.errors import ConfigError, NetworkError
from multiedge.network.identity import parse_address
from multiedge.serving.hub.log import MOST_LINES
from multiedge.serving.node import server as server_module
from multiedge.serving.node.server import WAITING, Accepted, Door, NodeServer

FIRST = b'{"type":"Echo"}\n'


def echo(accepted: Accepted) -> None:
    """Sends back what comes, until the other side closes."""
    accepted.connection.sendall(accepted.rest)
    while data := accepted.connection.recv(1000):
        accepted.connection.sendall(data)


def fail(accepted: Accepted) -> None:
    raise NetworkError("no such run")


@pytest.fixture
def server(caplog: pytest.LogCaptureFixture) -> Iterator[NodeServer]:
    caplog.set_level(logging.INFO)
    made = NodeServer("127.0.0.1", 0, None, {"Echo": Door(echo), "Fail": Door(fail)})
    made.start()
    yield made
    made.close()


def connected(server: NodeServer, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(parse_address(server.address), timeout=5)
    connection.sendall(data)
    return connection


def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def ends(connection: socket.socket) -> bool:
    """Whether the other side closes, without a word."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def echoes(connection: socket.socket, data: bytes) -> bool:
    connection.sendall(data)
    return connection.recv(1000) == data


def test_the_first_line_says_what_a_connection_is_and_what_follows_belongs_to_it(server: NodeServer) -> None:
    with connected(server, FIRST + b"abc") as connection:
        assert connection.recv(1000) == b"abc"
        assert echoes(connection, b"more")
        assert server.open_connections("Echo") == 1
    until(lambda: server.open_connections("Echo") == 0)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "expected a first line in JSON of type Echo, Fail, got 'GET /'"),
        (b'{"type":"Ech"}\n', "got 'Ech'"),
        (b"\x16\x03\x01\xff\n", "expected a first line in JSON"),
        (b"[" * 5000 + b"\n", "expected a first line in JSON"),
        (b"x" * (300 << 10), "the first line is longer than 256 KiB"),
        (b'{"type":"Fail"}\n', "no such run"),
    ],
)
def test_what_is_refused_is_logged_in_one_line(
    server: NodeServer, caplog: pytest.LogCaptureFixture, data: bytes, line: str
) -> None:
    with connected(server) as connection:
        with contextlib.suppress(OSError):  # it may be refused before all is sent
            connection.sendall(data)
        assert ends(connection)
    until(lambda: bool(caplog.messages))
    assert len(caplog.messages) == 1
    assert "refused 127.0.0.1: " in caplog.messages[0]
    assert line in caplog.messages[0]


def test_idle_and_slow_connections_end_after_their_time(
    server: NodeServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "FIRST_LINE_S", 0.3)
    with connected(server) as idle, connected(server) as slow:
        start_s = time.monotonic()
        while time.monotonic() < start_s + 0.25:
            slow.sendall(b"{")
            time.sleep(0.05)
        assert ends(idle)
        assert ends(slow)
        assert time.monotonic() - start_s < 2
    assert caplog.messages == ["refused 127.0.0.1: no first line within 0 s"] * 2


def test_200_idle_connections_neither_disturb_what_runs_nor_keep_others_out(
    server: NodeServer, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(connected(server, FIRST))
        assert echoes(running, b"before")
        idle = [stack.enter_context(connected(server)) for _ in range(200)]
        assert echoes(running, b"during")
        assert echoes(stack.enter_context(connected(server, FIRST)), b"a new one")
        assert ends(idle[0])  # the one that waited longest
        assert caplog.messages == [f"refused 127.0.0.1: more than {WAITING} wait for their first line"] * MOST_LINES


def test_closing_ends_every_connection(server: NodeServer, caplog: pytest.LogCaptureFixture) -> None:
    with connected(server, FIRST) as running, connected(server) as waiting:
        assert echoes(running, b"x")
        server.close()
        assert ends(running)
        assert ends(waiting)
    assert caplog.messages == []
    with pytest.raises(OSError, match="refused"):
        connected(server)


def test_beyond_loopback_it_listens_with_tls_alone(server: NodeServer) -> None:
    with pytest.raises(ConfigError, match=r"--listen: 0.0.0.0 is not this machine alone, so TLS is needed"):
        NodeServer("0.0.0.0", 0, None, {})
    with pytest.raises(ConfigError, match="cannot listen here: address already in use; choose another"):
        NodeServer(*parse_address(server.address), None, {})
