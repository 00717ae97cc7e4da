"""Requests over HTTP against a server that does as each test says: connections are kept, replaced and awaited."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from multiedge.errors import NetworkError
from multiedge.load.contract import Channel, Record
from multiedge.load.http_wire import HttpWire, reason_in

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Talk = Callable[[socket.socket, int], None]


@contextmanager
def server(talk: Talk) -> Iterator[int]:
    """The port of a server that calls `talk` with each connection and its number, each in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            number = 0
            with suppress(OSError):
                while True:
                    connected, _ = listener.accept()
                    threading.Thread(target=guarded, args=(connected, number), daemon=True).start()
                    number += 1

        def guarded(connected: socket.socket, number: int) -> None:
            with connected, suppress(OSError):
                connected.settimeout(5)
                talk(connected, number)

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def answer(*replies: bytes) -> Talk:
    """Answers each request of a connection with the next of some replies; the last one serves all later requests."""

    def talk(connected: socket.socket, number: int) -> None:
        for place in range(1000):
            if not connected.recv(1 << 16):
                return
            connected.sendall(replies[min(place, len(replies) - 1)])

    return talk


def exchange(port: int, count: int, record: Record, together: bool = False, **channel: object) -> None:
    """Sends so many requests, one after another or all at the same time, and waits for their ends."""
    wire = HttpWire(Channel("http", "127.0.0.1", port, **channel), record)
    wire.open()
    try:
        until_s = time.monotonic() + 5
        for number in range(count):
            wire.send(number, REQUEST)
            while wire.unanswered and not together and time.monotonic() < until_s:
                wire.wait(time.monotonic() + 0.05)
        while wire.unanswered and time.monotonic() < until_s:
            wire.wait(time.monotonic() + 0.05)
        assert wire.unanswered == 0
    finally:
        wire.close()


def test_requests_one_after_another_share_a_connection() -> None:
    connections = []

    def talk(connected: socket.socket, number: int) -> None:
        connections.append(number)
        answer(OK)(connected, number)

    record = Record(5)
    with server(talk) as port:
        exchange(port, 5, record)
    assert connections == [0]
    assert record.errors == {}
    assert all(issued < done for issued, done in zip(record.issued_s, record.done_s, strict=True))


def test_requests_at_the_same_time_open_connections_as_they_need_them() -> None:
    everyone = threading.Barrier(4, timeout=5)

    def talk(connected: socket.socket, number: int) -> None:
        connected.recv(1 << 16)
        everyone.wait()  # no answer before all four requests are here
        connected.sendall(OK)

    record = Record(4)
    with server(talk) as port:
        exchange(port, 4, record, together=True)
    assert (record.errors, record.waited) == ({}, 0)


def test_a_request_waits_where_no_more_connections_may_be_opened_and_that_is_seen() -> None:
    def slow(connected: socket.socket, number: int) -> None:
        while connected.recv(1 << 16):
            time.sleep(0.05)
            connected.sendall(OK)

    record = Record(3)
    with server(slow) as port:
        exchange(port, 3, record, together=True, may_grow=False)
    assert record.waited == 2
    assert record.issued_s[2] - record.issued_s[0] > 0.09


def test_a_request_over_a_connection_that_the_server_has_ended_is_sent_again() -> None:
    def once(connected: socket.socket, number: int) -> None:
        connected.recv(1 << 16)
        connected.sendall(OK)  # and the connection ends, without a word about it

    record = Record(4)
    with server(once) as port:
        exchange(port, 4, record)
    assert record.errors == {}


def test_a_server_that_announces_the_end_of_a_connection_gets_a_new_one() -> None:
    record = Record(3, keeps_answers=True)
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with server(answer(closing)) as port:
        exchange(port, 3, record)
    assert record.errors == {}
    assert set(record.answers.values()) == {closing}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b'HTTP/1.1 503 x\r\nContent-Length: 17\r\n\r\n{"error": "busy"}', "status 503: busy"),
        (b"HTTP/1.1 404 x\r\nContent-Length: 7\r\n\r\nnothing", "status 404: nothing"),
        (b"no HTTP\r\n\r\n", "expected an answer of HTTP/1.1, got b'no HTTP'"),
    ],
)
def test_a_refusal_is_the_error_of_its_request(reply: bytes, error: str) -> None:
    record = Record(1)
    with server(answer(reply)) as port:
        exchange(port, 1, record)
    assert record.errors[0].startswith(error)


def test_a_request_without_an_answer_ends_with_its_time_and_harms_no_other() -> None:
    def silent_first(connected: socket.socket, number: int) -> None:
        if number == 0:
            while connected.recv(1 << 16):
                pass
        else:
            answer(OK)(connected, number)

    record, later_s = Record(2), 0.0
    with server(silent_first) as port:
        channel = Channel("http", "127.0.0.1", port, timeout_s=1000.0)
        wire = HttpWire(channel, record, lambda: time.monotonic() + later_s)
        wire.open()
        for number in range(2):
            wire.send(number, REQUEST)
        until_s = time.monotonic() + 5
        while wire.unanswered > 1 and time.monotonic() < until_s:
            wire.wait(time.monotonic() + 0.05)
        for later_s, unanswered in ((900.0, 1), (1000.0, 0)):  # noqa: B007 the clock reads it
            wire.wait(0.0)
            assert wire.unanswered == unanswered
        wire.close()
    assert record.errors == {0: "no answer in 1000 s"}


def test_a_server_that_is_not_there_is_told_before_the_first_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    wire = HttpWire(Channel("http", "127.0.0.1", port), Record(1))
    with pytest.raises(NetworkError, match=rf"127.0.0.1:{port}: cannot be reached: connection refused"):
        wire.open()
    wire.close()


def test_a_large_request_and_a_large_answer_travel_in_pieces() -> None:
    body = bytes(3_000_000)

    def talk(connected: socket.socket, number: int) -> None:
        left = len(body)
        while left > 0:
            left -= len(connected.recv(1 << 16))
        connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    record = Record(1, keeps_answers=True)
    with server(talk) as port:
        wire = HttpWire(Channel("http", "127.0.0.1", port), record)
        wire.open()
        wire.send(0, body)
        while wire.unanswered:
            wire.wait(time.monotonic() + 0.05)
        wire.close()
    assert record.errors == {}
    assert record.answers[0].endswith(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": "too busy\\nnow"}', "too busy now"),
        (b'{"error": {"message": "no such model"}}', "no such model"),
        (b"<html>", "<html>"),
        (b"[1]", "[1]"),
        (b"", ""),
    ],
)
def test_the_reason_of_a_refusal_is_read_from_what_servers_write(body: bytes, reason: str) -> None:
    assert reason_in(body) == reason
