from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from multiedge.errors import ConfigError
from multiedge.serving.node import scrape
from multiedge.serving.node.scrape import answer_scrape
from multiedge.serving.node.server import Accepted


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def _text(accept: str) -> tuple[bytes, str]:
    return f"asked for {accept}\n".encode(), "text/plain"


def _accepted(near: socket.socket, rest: bytes) -> Accepted:
    return Accepted(near, "client:anna", "127.0.0.1", b"GET /metrics HTTP/1.1\r\n", rest)


def test_the_answer_is_of_what_the_request_accepts(ends) -> None:
    near, far = ends
    answer_scrape(_accepted(near, b"Host: x\r\nAccept: text/x\r\n\r\n"), _text)
    near.close()
    assert far.recv(4096).decode() == (
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 17\r\nConnection: close\r\n\r\nasked for text/x\n"
    )


def test_the_rest_of_a_request_may_come_later(ends) -> None:
    near, far = ends
    thread = threading.Thread(target=answer_scrape, args=(_accepted(near, b"Acc"), _text))
    thread.start()
    far.sendall(b"ept: text/x\r\n\r")
    far.sendall(b"\n")
    thread.join(5)
    assert far.recv(4096).endswith(b"asked for text/x\n")


def test_a_request_without_fields_is_one(ends) -> None:
    near, far = ends
    answer_scrape(_accepted(near, b"\r\n"), _text)
    assert far.recv(4096).endswith(b"asked for \n")


@pytest.mark.parametrize("sent", [b"Accept: text/x\r\n", b"x" * (scrape.MOST_HEAD_BYTES + 1)])
def test_what_is_no_request_is_refused(ends, sent: bytes) -> None:
    near, far = ends
    far.sendall(sent)
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(ConfigError, match="expected a request of HTTP"):
        answer_scrape(_accepted(near, b""), _text)
