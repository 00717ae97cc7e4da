"""Messages over mutual TLS: who may send, what connections of old epochs become, and what a receiver holds at most."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from multiedge.errors import ConfigError
from multiedge.fleet import CALLER_NAME
from multiedge.network.identity import Identity
from multiedge.serving.hub.authority import Authority
from multiedge.transports import credits, secured, tls
from multiedge.transports.message import Message
from multiedge.transports.peers import read_address, set_place, write_address
from multiedge.transports.streams import HEAD
from multiedge.transports.tls import TlsEndpoint
from tests.builders.endpoints import SOON_S, message, receive, sequences


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    """Certificates of one CA, and 'stranger', which is of another."""
    folder = tmp_path_factory.mktemp("identities")
    authority, other = Authority.create(folder / "hub"), Authority.create(folder / "other")
    made = {name: authority.issue(folder / name, f"node:{name}") for name in ("a", "b")}
    made[CALLER_NAME] = authority.issue(folder / "anna", "client:anna")
    made["stranger"] = other.issue(folder / "stranger", "node:a")
    return made


Ends = Callable[..., TlsEndpoint]


@pytest.fixture
def ends(tmp_path: Path, identities: dict[str, Identity]) -> Iterator[Ends]:
    """Makes the endpoint of a name, by default with the certificate of that name."""
    made: list[TlsEndpoint] = []

    def make(name: str, identity: str | None = None) -> TlsEndpoint:
        set_place(tmp_path, name, "127.0.0.1", identities[identity or name])
        made.append(TlsEndpoint(tmp_path, name))
        return made[-1]

    yield make
    for end in made:
        end.close()


def until(holds: Callable[[], bool]) -> bool:
    """Whether it holds soon."""
    end_s = time.monotonic() + SOON_S
    while not holds() and time.monotonic() < end_s:
        time.sleep(0.01)
    return holds()


def connections_to(end: TlsEndpoint) -> int:
    """Open connections to the endpoint, seen from outside."""
    made = psutil.Process(os.getpid()).net_connections("tcp")
    return sum(each.laddr.port == end.address.port and each.status == psutil.CONN_ESTABLISHED for each in made)


def test_large_messages_arrive_whole_over_tls(ends: Ends) -> None:
    a, b = ends("a"), ends("b")
    arrays = [np.random.default_rng(n).integers(0, 255, 3_000_000 * n + 5, dtype=np.uint8) for n in range(4)]
    for number, array in enumerate(arrays):
        a.send("b", message(number, array))
    for got, array in zip(receive(b, 4), arrays, strict=True):
        np.testing.assert_array_equal(got.arrays[0], array)


def test_the_caller_is_known_by_its_certificate(ends: Ends) -> None:
    caller, a = ends(CALLER_NAME), ends("a")
    caller.send("a", message(0, np.zeros(1))._replace(source=CALLER_NAME))
    assert sequences(receive(a, 1)) == [0]


@pytest.mark.parametrize(("name", "identity"), [("a", "stranger"), ("a", "b"), (CALLER_NAME, "a")])
def test_who_has_another_certificate_sends_nothing(ends: Ends, name: str, identity: str) -> None:
    b = ends("b", "b")
    other = ends(name, identity)
    other.send("b", message(0, np.zeros(1))._replace(source=name))
    assert receive(b, 1, timeout_s=0.4) == []


def test_a_message_in_the_name_of_another_device_is_dropped(ends: Ends) -> None:
    a, b = ends("a"), ends("b")
    a.send("b", message(0, np.zeros(1))._replace(source="c"))
    assert receive(b, 1, timeout_s=0.3) == []


def test_who_answers_with_another_certificate_gets_nothing(tmp_path: Path, ends: Ends) -> None:
    a, b = ends("a"), ends("b", "a")
    write_address(tmp_path, "b", replace(b.address, identity="node:b"))
    a.send("b", message(0, np.zeros(1)))
    assert receive(b, 1, timeout_s=0.4) == []


def test_a_wrong_secret_opens_nothing(tmp_path: Path, ends: Ends) -> None:
    a, b = ends("a"), ends("b")
    write_address(tmp_path, "b", replace(b.address, secret="00" * secured.SECRET_BYTES))
    a.send("b", message(0, np.zeros(1)))
    assert receive(b, 1, timeout_s=0.3) == []


def test_a_message_waits_for_the_address_of_its_peer(tmp_path: Path, ends: Ends) -> None:
    a, b = ends("a"), ends("b")
    address = read_address(tmp_path, "b")
    assert address is not None
    (tmp_path / "inbox-b").unlink()
    a.send("b", message(0, np.zeros(1)))
    assert receive(b, 1, timeout_s=0.2) == []
    write_address(tmp_path, "b", address)
    assert sequences(receive(b, 1)) == [0]


def test_connections_of_an_old_epoch_are_closed_at_both_ends(ends: Ends) -> None:
    a, b = ends("a"), ends("b")
    a.send("b", message(0, np.zeros(1), epoch=1))
    receive(b, 1)
    assert connections_to(b) == 1
    b.forget(2)
    assert until(lambda: connections_to(b) == 0)
    a.send("b", message(1, np.zeros(1), epoch=1))
    assert receive(b, 1, timeout_s=0.2) == []
    a.forget(2)
    a.send("b", message(2, np.zeros(1), epoch=2))
    assert sequences(receive(b, 1)) == [2]


def test_a_message_of_the_next_epoch_that_comes_early_is_kept(ends: Ends) -> None:
    a, b = ends("a"), ends("b")
    a.send("b", message(0, np.zeros(1), epoch=1))
    a.forget(2)
    a.send("b", message(1, np.zeros(1), epoch=2))
    assert until(lambda: connections_to(b) == 1)
    time.sleep(0.05)
    b.forget(2)
    assert sequences(receive(b, 1)) == [1]


def test_idle_connections_and_garbage_keep_no_sender_out(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "MOST_GREETING", 4)
    a, b = ends("a"), ends("b")
    idle = [socket.create_connection((b.address.host, b.address.port)) for _ in range(20)]
    idle[-1].sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
    a.send("b", message(0, np.zeros(1)))
    assert sequences(receive(b, 1)) == [0]
    assert until(lambda: connections_to(b) <= 5)
    for each in idle:
        each.close()


def test_what_waits_at_a_receiver_is_bounded(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = ends("a"), ends("b")
    held: list[int] = []
    deliver = b._deliver

    def count(incoming: secured.Incoming, got: Message, nbytes: int) -> None:
        held.append(nbytes)
        deliver(incoming, got, nbytes)

    monkeypatch.setattr(b, "_deliver", count)
    for number in range(40):
        a.send("b", message(number, np.zeros(1 << 20, dtype=np.uint8)))
    assert until(lambda: len(held) >= 3)
    time.sleep(0.3)
    assert sum(held) <= credits.WINDOW_BYTES + (1 << 20)
    assert sequences(receive(b, 40)) == list(range(40))


def test_arrays_may_change_once_they_are_sent(ends: Ends) -> None:
    """Whether the connection is new, open, or has no room for more."""
    a, b = ends("a"), ends("b")
    array = np.empty(1 << 20, dtype=np.uint8)
    for number in range(40):
        array[:] = number
        a.send("b", message(number, array))
        if number == 3:
            assert until(lambda: connections_to(b) == 1)
            time.sleep(0.1)
    array[:] = 99
    assert [got.arrays[0].min() for got in receive(b, 40)] == list(range(40))


def test_a_message_for_an_open_connection_wakes_no_thread(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = ends("a"), ends("b")
    a.send("b", message(0, np.zeros(1)))
    receive(b, 1)
    woken: list[None] = []
    monkeypatch.setattr(a, "_step_soon", lambda: woken.append(None))
    for number in range(1, 10):
        a.send("b", message(number, np.zeros(100)))
    assert sequences(receive(b, 9)) == list(range(1, 10))
    assert woken == []


def test_what_is_no_message_ends_its_own_connection_alone(tmp_path: Path) -> None:
    a, b = TlsEndpoint(tmp_path, "a"), TlsEndpoint(tmp_path, "b")
    try:
        for garbage in (b"", b"\xff" * 40, bytes(36) + b"[1]"):
            with socket.create_connection((b.address.host, b.address.port)) as other:
                greeting = secured.GREETING.pack(bytes.fromhex(b.address.secret), 1, 1) + b"a"
                other.sendall(greeting + HEAD.pack(1, 0, 0, 0, len(garbage)) + garbage)
                assert other.recv(100) == secured.REPORT.pack(0)
                other.settimeout(SOON_S)
                with suppress(ConnectionResetError):
                    assert other.recv(100) == b""
        a.send("b", message(0, np.zeros(1)))
        assert sequences(receive(b, 1)) == [0]
    finally:
        a.close()
        b.close()


def test_listening_beyond_loopback_needs_a_certificate(tmp_path: Path) -> None:
    set_place(tmp_path, "a", "0.0.0.0", None)
    with pytest.raises(ConfigError, match=r"endpoint of 'a': 0.0.0.0 is not this machine alone, so TLS is needed"):
        TlsEndpoint(tmp_path, "a")


def test_times_of_arrival_are_on_the_clock_of_the_run(tmp_path: Path) -> None:
    a, b = TlsEndpoint(tmp_path, "a"), TlsEndpoint(tmp_path, "b")
    try:
        b.clock.offset_s = 1e6
        a.send("b", message(0, np.zeros(1)))
        (got,) = receive(b, 1)
        assert abs(got.due_s - b.clock()) < SOON_S
    finally:
        a.close()
        b.close()
