"""A server for load tests in a process of its own: it answers each request after a known time, and can be stopped.

    python tests/builders/load_servers.py '{"delays_s": [0.05, 0.25], "rate_per_s": null}'

It prints its port. A POST is answered after a time from `delays_s`, evenly distributed, and in the order of arrival at most
`rate_per_s` in a second. It describes itself as a model of the Open Inference Protocol with one input.
"""

from __future__ import annotations

import heapq
import json
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are evenly distributed in every row of them."""
BACKLOG = 4096
EVENTS = 16
"""Requests that are read before answers are written that are due: after a stop, thousands have come."""


def response(value: object) -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


SERVER = response({"name": "test", "extensions": []})
MODEL = response(
    {"name": "net", "platform": "test", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}], "outputs": []}
)
ANSWER = response({"model_name": "net", "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1.0]}]})


class Server:
    """Answers in one thread, without waiting for any connection."""

    def __init__(self, delays_s: tuple[float, float], rate_per_s: float | None) -> None:
        self._least_s, self._most_s = delays_s
        self._interval_s = 1.0 / rate_per_s if rate_per_s else 0.0
        self._count, self._last_s = 0, 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        self._connections: dict[int, socket.socket] = {}
        self._arrived: dict[int, bytes] = {}
        self._due: list[tuple[float, int, int]] = []
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            wait_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            if select.select([self._epoll], [], [], wait_s)[0]:
                for number, _ in self._epoll.poll(0, EVENTS):
                    self._accept() if number == self._listener.fileno() else self._read(number)
            while self._due and self._due[0][0] <= time.monotonic():
                self._write(heapq.heappop(self._due)[2], ANSWER)

    def _accept(self) -> None:
        connected, _ = self._listener.accept()
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connected.fileno()] = connected
        self._epoll.register(connected, select.EPOLLIN)

    def _read(self, number: int) -> None:
        try:
            data = self._connections[number].recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._arrived.pop(number, None)
            self._connections.pop(number).close()
            return
        head, mark, rest = (self._arrived.pop(number, b"") + data).partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if not mark or len(rest) < length:
            self._arrived[number] = head + mark + rest
        elif head.startswith(b"GET"):
            self._write(number, MODEL if b"/models/" in head else SERVER)
        else:
            self._count += 1
            heapq.heappush(self._due, (self._answer_at_s(time.monotonic()), self._count, number))

    def _answer_at_s(self, now_s: float) -> float:
        delay_s = self._least_s + (self._most_s - self._least_s) * (self._count * GOLDEN % 1.0)
        self._last_s = max(now_s, self._last_s + self._interval_s)
        return self._last_s + delay_s if self._interval_s else now_s + delay_s

    def _write(self, number: int, data: bytes) -> None:
        with suppress(KeyError, OSError):  # a client that has gone
            self._connections[number].sendall(data)


@dataclass(frozen=True)
class TimedServer:
    """A server that runs."""

    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2/models/net"


@contextmanager
def timed_server(delays_s: tuple[float, float] = (0.0, 0.0), rate_per_s: float | None = None) -> Iterator[TimedServer]:
    """The server, in a process of its own."""
    if not hasattr(select, "epoll"):
        pytest.skip("the server needs epoll, which this system lacks")
    options = json.dumps({"delays_s": delays_s, "rate_per_s": rate_per_s})
    with subprocess.Popen([sys.executable, __file__, options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield TimedServer(int(process.stdout.readline()), process)
        finally:
            process.kill()


@dataclass
class Asked:
    """A server that answers questions, and what it was asked: paths with the fields of each, by name in small letters."""

    url: str
    questions: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def asked_server(value: object) -> Iterator[Asked]:
    """A server that answers each GET with a value as JSON."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.questions.append((self.path, {name.lower(): text for name, text in self.headers.items()}))
            self.wfile.write(response(value))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        asked = Asked(f"http://127.0.0.1:{running.server_port}")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield asked
        finally:
            running.shutdown()
            thread.join()


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    server = Server(**json.loads(sys.argv[1]))
    print(server.port, flush=True)
    server.serve()
