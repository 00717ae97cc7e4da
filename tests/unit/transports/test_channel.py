"""Channels carry bytes as they were given, wait for nobody, and call the system seldom."""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest

from multiedge.network.identity import Identity
from multiedge.serving.hub.authority import Authority
from multiedge.transports.channel import CHUNK_BYTES, Channel, Steps, open_channel, set_up
from tests.builders.endpoints import SOON_S

LARGE = 600_000


class CountedSocket(socket.socket):
    """A socket that counts how often the system is called for bytes. What is sent while it holds waits for `release`."""

    calls = 0
    held: bytearray | None = None

    def send(self, data: memoryview) -> int:  # type: ignore[override]
        self.calls += 1
        if self.held is None:
            return super().send(data)
        self.held += data
        return len(data)

    def sendmsg(self, pieces: list[memoryview]) -> int:  # type: ignore[override]
        return super().sendmsg(pieces) if self.held is None else self.send(memoryview(b"".join(pieces)))

    def release(self, nbytes: int) -> None:
        assert self.held is not None
        super().send(self.held[:nbytes])
        del self.held[:nbytes]

    def recv_into(self, *args: object) -> int:  # type: ignore[override]
        self.calls += 1
        return super().recv_into(*args)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    folder = tmp_path_factory.mktemp("identities")
    authority, other = Authority.create(folder / "hub"), Authority.create(folder / "other")
    made = {name: authority.issue(folder / name, f"node:{name}") for name in ("a", "b")}
    return {**made, "stranger": other.issue(folder / "stranger", "node:a")}


@pytest.fixture
def sockets() -> Iterator[tuple[CountedSocket, CountedSocket]]:
    pair = tuple(CountedSocket(fileno=each.detach()) for each in socket.socketpair())
    for each in pair:
        each.setblocking(False)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    yield pair[0], pair[1]
    for each in pair:
        each.close()


@pytest.fixture
def over_tcp() -> Iterator[tuple[CountedSocket, CountedSocket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, CountedSocket() as one:
        one.connect(server.getsockname())
        with CountedSocket(fileno=server.accept()[0].detach()) as other:
            set_up(one)
            set_up(other)
            yield one, other


def opened(sockets: tuple[CountedSocket, CountedSocket], a: Identity | None, b: Identity | None) -> tuple[Channel, Channel]:
    """Both ends, after the handshake."""
    scratch = memoryview(bytearray(CHUNK_BYTES))
    ends = open_channel(sockets[0], a, scratch), open_channel(sockets[1], b, scratch, server_side=True)
    finish([end.shake_hands() for end in ends])
    return ends


def finish(steps: list[Steps]) -> None:
    """Lets both ends go on in turn until they are done."""
    for _ in range(20):
        steps = [each for each in steps if next(each, None) is not None]


def carried(source: Channel, target: Channel, pieces: list[bytes], piece_bytes: int = LARGE) -> bytes:
    """What arrives of the pieces, each of which is sent as soon as it can be."""
    waiting, data, idle = deque(memoryview(each) for each in pieces), bytearray(), 0
    place = memoryview(bytearray(piece_bytes))
    while idle < 2:
        count = source.send(waiting)
        while count and count >= len(waiting[0]):
            count -= len(waiting.popleft())
        if count:
            waiting[0] = waiting[0][count:]
        is_flushed, got = source.flush(), target.receive_into(place)
        data += place[:got]
        idle = 0 if got or waiting or not is_flushed else idle + 1
    return bytes(data)


def read_all(end: Channel, data: bytearray, *, until_idle: bool = False) -> None:
    """Reads until the other side has closed, or there is nothing for now."""
    place, idle = memoryview(bytearray(100)), 0
    while not until_idle or idle < 2:
        count = end.receive_into(place)
        data += place[:count]
        idle = 0 if count else idle + 1


@pytest.mark.parametrize("is_secure", [False, True])
@pytest.mark.parametrize("piece_bytes", [7, 16_384, LARGE])
def test_pieces_arrive_as_they_were_sent(
    sockets: tuple[CountedSocket, CountedSocket], identities: dict[str, Identity], is_secure: bool, piece_bytes: int
) -> None:
    a, b = opened(sockets, *((identities["a"], identities["b"]) if is_secure else (None, None)))
    assert (a.peer, b.peer) == (("node:b", "node:a") if is_secure else ("", ""))
    sizes = (1, 16_384, 5, LARGE, CHUNK_BYTES) if piece_bytes > 7 else (1, 300, 5)
    pieces = [np.random.default_rng(n).bytes(size) for n, size in enumerate(sizes)]
    assert carried(a, b, pieces, piece_bytes) == b"".join(pieces)
    assert carried(b, a, pieces[:1]) == pieces[0]


def test_a_large_message_over_tls_takes_few_calls_of_the_system(
    sockets: tuple[CountedSocket, CountedSocket], identities: dict[str, Identity]
) -> None:
    a, b = opened(sockets, identities["a"], identities["b"])
    before = sum(each.calls for each in sockets)
    carried(a, b, [bytes(LARGE)])
    assert sum(each.calls for each in sockets) - before <= 4 * LARGE / CHUNK_BYTES + 4


@pytest.mark.parametrize("first_bytes", [0, 3, 300, 20_000])
@pytest.mark.parametrize("is_secure", [False, True])
def test_a_message_in_small_packets_wakes_its_receiver_seldom(
    over_tcp: tuple[CountedSocket, CountedSocket], identities: dict[str, Identity], is_secure: bool, first_bytes: int
) -> None:
    """Whatever part of a record has arrived when the receiver says how much is to come."""
    a, b = opened(over_tcp, *((identities["a"], identities["b"]) if is_secure else (None, None)))
    sender, receiver = over_tcp
    sender.held, data, got, wakes = bytearray(), np.random.default_rng(0).bytes(50_000), bytearray(), 0
    a.send([memoryview(data)])
    while sender.held:
        sender.release(1000 if wakes else first_bytes + 1)
        if select.select([receiver], [], [], 0.0 if sender.held else SOON_S)[0]:
            wakes += 1
            read_all(b, got, until_idle=True)
        b.expect(len(data) - len(got))
    assert bytes(got) == data
    assert wakes <= 5


@pytest.mark.parametrize("is_secure", [False, True])
def test_who_takes_nothing_stops_the_sender_and_loses_nothing(
    sockets: tuple[CountedSocket, CountedSocket], identities: dict[str, Identity], is_secure: bool
) -> None:
    a, b = opened(sockets, *((identities["a"], identities["b"]) if is_secure else (None, None)))
    data = np.random.default_rng(0).bytes(20 << 20)
    rest, sent = memoryview(data), 0
    while count := a.send([rest[sent : sent + LARGE]]):
        sent += count
    assert 0 < sent < len(data)
    assert carried(a, b, [data[sent:]]) == data


@pytest.mark.parametrize("is_secure", [False, True])
def test_the_end_of_the_other_side_is_noticed_after_what_it_sent(
    sockets: tuple[CountedSocket, CountedSocket], identities: dict[str, Identity], is_secure: bool
) -> None:
    a, b = opened(sockets, *((identities["a"], identities["b"]) if is_secure else (None, None)))
    a.send([memoryview(b"last")])
    a.flush()
    read_all(a, bytearray(), until_idle=True)  # what is unread as a socket closes resets the connection
    sockets[0].close()
    with pytest.raises(EOFError):
        read_all(b, data := bytearray())
    assert data == b"last"


def test_a_stranger_is_refused_and_told_so(
    sockets: tuple[CountedSocket, CountedSocket], identities: dict[str, Identity]
) -> None:
    scratch = memoryview(bytearray(CHUNK_BYTES))
    a, b = (
        open_channel(sockets[0], identities["stranger"], scratch),
        open_channel(sockets[1], identities["b"], scratch, server_side=True),
    )
    with pytest.raises(OSError, match=r"CERTIFICATE_VERIFY_FAILED|certificate"):
        finish([a.shake_hands(), b.shake_hands()])
