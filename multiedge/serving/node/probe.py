"""How fast a connection to another node is: a few megabytes and a few round trips.

The sender's line `Probe` is answered by `Ready` or, while the other node measures, by `Busy`. Then follow single bytes that
come back, one after another; bytes of data, the last of which is a line feed; and `Rate`, as the receiver saw it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from multiedge.errors import NetworkError, one_line
from multiedge.formats.fields import Kind
from multiedge.formats.records import LineDecoder, encode_line
from multiedge.network.connection import connect
from multiedge.network.identity import NODE, Identity, parse_address, require_peer, require_tls
from multiedge.network.records import LinkState

PROBE_BYTES = 4 << 20
"""The most that is sent to one node."""
ENOUGH_S = 0.8
"""A slow connection is measured for so long."""
ROUND_TRIPS = 10
TIMEOUT_S = 10.0
CHUNK_BYTES = 32 << 10
SENT_AHEAD_BYTES = 128 << 10
"""How much the system may hold of what was sent: the rest of the time shows the connection, not its memory."""
LEAST_SAMPLES = 8
_ANSWERS = Kind("answer", NetworkError)


@dataclass(frozen=True)
class Probe:
    """The first line: somebody measures the connection to this node."""


@dataclass(frozen=True)
class Ready:
    """The measurement can begin."""


@dataclass(frozen=True)
class Busy:
    """This node measures with another one, or has work to do."""


@dataclass(frozen=True)
class Rate:
    """What the receiver saw; None where too little came."""

    bytes_per_s: float | None


def measure_link(peer: str, address: str, identity: Identity | None, most_bytes: int = PROBE_BYTES) -> LinkState | None:
    """The connection to the node `peer`; None if that node is busy.

    Args:
        peer: Its name, which its certificate must have.
        address: 'HOST:PORT'.
        identity: Who this node is; None on loopback without TLS.
        most_bytes: How much is sent at most.

    Raises:
        NetworkError: If it cannot be reached, is another one, or does not answer.
    """
    place = f"node '{peer}'"
    host, port = parse_address(address, place)
    require_tls(host, identity, place)
    connected = connect(host, port, identity.client_context() if identity else None)
    try:
        with contextlib.closing(connected):
            if isinstance(connected, ssl.SSLSocket):
                require_peer(connected, f"{NODE}{peer}", place)
            connected.settimeout(TIMEOUT_S)
            connected.sendall(encode_line(Probe()))
            answers = _Answers(connected, place)
            if isinstance(answers.next(), Busy):
                return None
            rtt_s = min(_round_trip(connected) for _ in range(ROUND_TRIPS))
            _send(connected, most_bytes)
            rate = answers.next()
    except OSError as error:
        raise NetworkError(f"{place}: the measurement ended early: {one_line(error) or 'the connection closed'}") from error
    return LinkState(peer, rate.bytes_per_s if isinstance(rate, Rate) else None, rtt_s)


def answer_probe(connected: socket.socket) -> None:
    """The receiver's side, after the first line, of a node that is not busy. OSError if the sender goes away."""
    connected.settimeout(TIMEOUT_S)
    connected.sendall(encode_line(Ready()))
    for _ in range(ROUND_TRIPS):
        connected.sendall(_received(connected, 1))
    samples, received, data = [], 0, b""
    while not data.endswith(b"\n"):
        data = _received(connected, 2 * CHUNK_BYTES)
        received += len(data)
        samples.append((time.monotonic(), received))
    connected.sendall(encode_line(Rate(rate_of(samples))))


def rate_of(samples: Sequence[tuple[float, int]]) -> float | None:
    """Bytes per second from times and the bytes that had arrived by then; None for too few.

    What comes first is left out: a sender begins slowly, and a link that was idle lets some bytes pass faster. The rate is the
    median over pairs of samples a quarter of the rest apart, so that a pause of either process counts little.
    """
    rest = samples[len(samples) // 4 :]
    apart = max(1, len(rest) // 4)
    if len(samples) < LEAST_SAMPLES:
        return None
    rates = [
        (end - begin) / (stop_s - start_s)
        for (start_s, begin), (stop_s, end) in zip(rest, rest[apart:], strict=False)
        if stop_s > start_s
    ]
    return statistics.median(rates) if rates else None


class _Answers:
    """The other node's answers, one by one."""

    def __init__(self, connected: socket.socket, place: str) -> None:
        self._connected, self._place = connected, place
        self._decoder: LineDecoder[Ready | Busy | Rate] = LineDecoder((Ready, Busy, Rate), place, _ANSWERS, CHUNK_BYTES)

    def next(self) -> Ready | Busy | Rate:
        while True:
            answers = self._decoder.feed(_received(self._connected, CHUNK_BYTES))
            if answers:
                return answers[0]


def _send(connected: socket.socket, most_bytes: int) -> None:
    """Sends data for ENOUGH_S or `most_bytes`, then the line feed."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AHEAD_BYTES)
    chunk, until_s, left = b"0" * CHUNK_BYTES, time.monotonic() + ENOUGH_S, most_bytes - 1
    while left > 0 and time.monotonic() < until_s:
        connected.sendall(chunk[:left])
        left -= CHUNK_BYTES
    connected.sendall(b"\n")


def _round_trip(connected: socket.socket) -> float:
    start_s = time.monotonic()
    connected.sendall(b".")
    _received(connected, 1)
    return time.monotonic() - start_s


def _received(connected: socket.socket, most_bytes: int) -> bytes:
    data = connected.recv(most_bytes)
    if not data:
        raise ConnectionResetError("the connection closed")
    return data
