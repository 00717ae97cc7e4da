"""How fast a connection to another node is: a few megabytes and a few round trips.

The sender's line `Probe` is answered by `Ready` or, while the other node measures, by `Busy`. Then follow single bytes that
come back, one after another, and bytes of data that do not, the last of which is a line feed. The sender sees how many were
acknowledged by the other machine, at any moment: so the result does not depend on when either process had a processor.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from multiedge.errors import NetworkError, one_line
from multiedge.formats.fields import Kind
from multiedge.formats.records import LineDecoder, encode_line
from multiedge.network.connection import connect
from multiedge.network.identity import NODE, Identity, parse_address, require_peer, require_tls
from multiedge.network.records import LinkState

PROBE_BYTES = 4 << 20
"""The most that is sent to one node."""
ROUNDS = 2
"""Other work of the two machines makes a connection seem slower, hardly faster: the best round counts."""
ENOUGH_S = 0.5
"""On a slow connection a round lasts so long."""
ROUND_TRIPS = 10
TIMEOUT_S = 10.0
CHUNK_BYTES = 32 << 10
SENT_AHEAD_BYTES, FAST_SENT_AHEAD_BYTES = 128 << 10, 1 << 20
"""How much the system may hold of what was sent. It goes on sending while this process has no processor; on a slow connection
it would do so for long after the end of a round."""
FAST_BYTES_PER_S = 4e6
LOOK_S = 0.001
_UNACKNOWLEDGED = termios.TIOCOUTQ if sys.platform == "linux" else None
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
            if isinstance(_answer(connected, place), Busy):
                return None
            rtt_s = min(_round_trip(connected) for _ in range(ROUND_TRIPS))
            rates = [_round(connected, most_bytes // ROUNDS) for _ in range(ROUNDS)]
            connected.sendall(b"\n")
    except OSError as error:
        raise NetworkError(f"{place}: the measurement ended early: {one_line(error) or 'the connection closed'}") from error
    return LinkState(peer, max((rate for rate in rates if rate is not None), default=None), rtt_s)


def answer_probe(connected: socket.socket) -> None:
    """The receiver's side, after the first line, of a node that is not busy. OSError if the sender goes away."""
    connected.settimeout(TIMEOUT_S)
    connected.sendall(encode_line(Ready()))
    for _ in range(ROUND_TRIPS):
        connected.sendall(_received(connected, 1))
    while not _received(connected, 2 * CHUNK_BYTES).endswith(b"\n"):
        pass


def rate_of(samples: Sequence[tuple[float, int]]) -> float | None:
    """Bytes per second from times and the bytes that had arrived by then; None for too few.

    What comes first is left out: a sender begins slowly, and a link that was idle lets some bytes pass faster. While a process
    has no processor the link may be idle: the samples on the upper convex hull are those when it was not. Of the slopes of
    its edges, the result is the one that a quarter of the bytes reach.
    """
    if len(samples) < LEAST_SAMPLES:
        return None
    hull = _upper_hull(samples[len(samples) // 4 :])
    edges = sorted(
        ((end - begin) / (stop_s - start_s), end - begin)
        for (start_s, begin), (stop_s, end) in pairwise(hull)
        if stop_s > start_s
    )
    quarter, reached = sum(count for _, count in edges) / 4, 0
    for slope, count in reversed(edges):
        reached += count
        if reached >= quarter:
            return slope
    return None


def _upper_hull(points: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """The corners of the least concave curve above the points, from left to right."""
    hull: list[tuple[float, int]] = []
    for x, y in points:
        while len(hull) > 1 and (y - hull[-1][1]) * (hull[-1][0] - hull[-2][0]) >= (hull[-1][1] - hull[-2][1]) * (
            x - hull[-1][0]
        ):
            hull.pop()
        hull.append((x, y))
    return hull


def _answer(connected: socket.socket, place: str) -> Ready | Busy:
    """The other node's answer to the first line."""
    decoder: LineDecoder[Ready | Busy] = LineDecoder((Ready, Busy), place, _ANSWERS, CHUNK_BYTES)
    while not (answers := decoder.feed(_received(connected, CHUNK_BYTES))):
        pass
    return answers[0]


def _round(connected: socket.socket, most_bytes: int) -> float | None:
    """Sends data for ENOUGH_S or `most_bytes`, until it has arrived; the rate at which it did."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AHEAD_BYTES)
    chunk, samples, sent, is_fast = b"0" * CHUNK_BYTES, [], 0, False
    start_s = now_s = time.monotonic()
    while sent < most_bytes and now_s - start_s < ENOUGH_S:
        connected.sendall(chunk[: most_bytes - sent])
        sent += min(CHUNK_BYTES, most_bytes - sent)
        arrived, now_s = sent - _on_way(connected), time.monotonic()  # in this order: a late time does no harm
        samples.append((now_s, arrived))
        if (
            not is_fast
            and arrived > max(SENT_AHEAD_BYTES, FAST_BYTES_PER_S * (now_s - start_s))
            and _UNACKNOWLEDGED is not None
        ):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FAST_SENT_AHEAD_BYTES)
            is_fast = True
    until_s = now_s + TIMEOUT_S
    while (left := _on_way(connected)) and (now_s := time.monotonic()) < until_s:
        samples.append((now_s, sent - left))
        time.sleep(LOOK_S)
    return rate_of(samples)


def _on_way(connected: socket.socket) -> int:
    """Bytes that were sent and not yet acknowledged; 0 where the system does not tell."""
    if _UNACKNOWLEDGED is None:
        return 0
    return int.from_bytes(fcntl.ioctl(connected, _UNACKNOWLEDGED, bytes(4)), sys.byteorder)


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
