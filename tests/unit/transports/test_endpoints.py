"""All transports keep the same promises."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from multiedge.transports import TRANSPORTS
from multiedge.transports.message import Endpoint, Message, log_row
from tests.builders.endpoints import SOON_S, message, receive, sequences


@pytest.fixture(params=TRANSPORTS.names())
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Endpoint, Endpoint]]:
    """Two ends, 'a' and 'b', of each transport."""
    ends = [TRANSPORTS.load(request.param)(tmp_path, name) for name in ("a", "b")]
    yield ends[0], ends[1]
    for end in ends:
        end.close()


def test_messages_arrive_in_order_with_their_arrays(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    sent = [message(n, np.arange(n + 1), np.full((2, n), n, dtype=np.float32)) for n in range(6)]
    for each in sent:
        a.send("b", each)
    for got, expected in zip(receive(b, 6), sent, strict=True):
        assert got.address == expected.address
        for array, original in zip(got.arrays, expected.arrays, strict=True):
            np.testing.assert_array_equal(array, original)
            assert not array.flags.writeable


def test_messages_may_grow_beyond_what_the_slot_had(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    for sequence, size in enumerate((10, 1_000_000, 10, 3_000_000)):
        array = np.full(size, sequence, dtype=np.uint8)
        a.send("b", message(sequence, array))
        (got,) = receive(b, 1)
        np.testing.assert_array_equal(got.arrays[0], array)
        b.release(got.address)


def test_arrays_stay_until_they_are_released(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    a.send("b", message(0, np.zeros(1000)))
    (first,) = receive(b, 1)
    for sequence in range(1, 5):
        a.send("b", message(sequence, np.full(1000, float(sequence))))
    later = receive(b, 4)
    assert float(first.arrays[0].max()) == 0.0
    assert [float(each.arrays[0][0]) for each in later] == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.timing
def test_wake_ends_a_wait_without_a_message(pair: tuple[Endpoint, Endpoint]) -> None:
    a, _ = pair
    timer = threading.Timer(0.05, a.wake)
    begin = time.monotonic()
    timer.start()
    assert a.receive(SOON_S) == []
    assert time.monotonic() - begin < SOON_S / 2
    timer.join()


def test_messages_of_forgotten_epochs_are_dropped(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    a.send("b", message(0, np.zeros(1), epoch=1))
    a.send("b", message(1, np.ones(1), epoch=2))
    b.forget(2)
    assert [got.address.epoch for got in receive(b, 1)] == [2]


def test_sending_to_nobody_is_no_error(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    a.send("gone", message(0, np.zeros(1)))
    a.send("b", message(1, np.zeros(1)))
    assert sequences(receive(b, 1)) == [1]


def test_who_takes_the_place_of_a_peer_is_reached_in_the_next_epoch(pair: tuple[Endpoint, Endpoint], tmp_path: Path) -> None:
    a, b = pair
    a.send("b", message(0, np.zeros(1)))
    receive(b, 1)
    b.close()
    again = type(b)(tmp_path, "b")  # type: ignore[call-arg]
    a.forget(2)
    a.send("b", message(1, np.zeros(1), epoch=2))
    assert sequences(receive(again, 1)) == [1]
    again.close()


def test_everything_of_a_message_arrives_and_not_its_arrays_alone(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    log = log_row("compute", 0, "a", 1.0, 1.25, 0, "")
    sent = Message(message(3).address, "the sender ü", (), "stage 1 failed: no memory", 1.5, 2.5, log)
    a.send("b", sent)
    (got,) = receive(b, 1)
    assert got._replace(due_s=2.5) == sent
    assert got.due_s >= 2.5


def test_both_ends_send_at_the_same_time(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    for sequence in range(3):
        a.send("b", message(sequence, np.zeros(100_000)))
        b.send("a", message(10 + sequence, np.zeros(100_000)))
    assert sequences(receive(a, 3)) == [10, 11, 12]
    assert sequences(receive(b, 3)) == [0, 1, 2]


def test_an_endpoint_sends_to_itself(pair: tuple[Endpoint, Endpoint]) -> None:
    """Two stages on one device."""
    a, _ = pair
    a.send("a", message(1, np.arange(3)))
    (got,) = receive(a, 1)
    assert got.arrays[0].tolist() == [0, 1, 2]


@pytest.mark.timing
def test_receiving_without_a_wait_returns_directly(pair: tuple[Endpoint, Endpoint]) -> None:
    a, _ = pair
    begin = time.monotonic()
    assert a.receive(0.0) == []
    assert a.receive(-1.0) == []
    assert time.monotonic() - begin < 0.5


def test_a_wait_lasts_as_long_as_asked(pair: tuple[Endpoint, Endpoint]) -> None:
    a, _ = pair
    begin = time.monotonic()
    assert a.receive(0.0505) == []
    assert time.monotonic() - begin >= 0.05


def test_releasing_what_was_never_received_does_nothing(pair: tuple[Endpoint, Endpoint]) -> None:
    a, _ = pair
    a.release(message(5).address)


def test_closing_twice_is_no_error(pair: tuple[Endpoint, Endpoint]) -> None:
    a, b = pair
    a.send("b", message(0))
    receive(b, 1)
    a.close()


@pytest.mark.parametrize("name", ["laptop of ours", "../up", "a/b", "ü", "n" * 300, "名" * 60], ids=repr)
@pytest.mark.parametrize("transport", TRANSPORTS.names())
def test_devices_of_any_name_reach_each_other(transport: str, name: str) -> None:
    with TemporaryDirectory(prefix="multiedge-") as root:  # not tmp_path: that of a parallel run is too long for a socket
        directory = Path(root) / "run"
        directory.mkdir()
        a, b = (TRANSPORTS.load(transport)(directory, each) for each in ("a", name))
        a.send(name, message(1))
        assert sequences(receive(b, 1)) == [1]
        for end in (a, b):
            end.close()
        assert [path.name for path in Path(root).iterdir()] == ["run"]
