"""Messages put together from the pieces in which a stream delivers them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import numpy as np
import pytest

from multiedge.transports.message import Address, Message
from multiedge.transports.streams import StreamEndpoint, frame
from tests.builders.endpoints import message, receive, sequences

GREETING = b"open sesame"


class Inbox(StreamEndpoint):
    """Receives only; counts how often its connections were dropped."""

    disconnects = 0

    def disconnect(self) -> None:
        self.disconnects += 1


@pytest.fixture(params=[b"", GREETING], ids=["open", "greeting"])
def inbox(request: pytest.FixtureRequest) -> Iterator[Inbox]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        end = Inbox(listener, "inbox", request.param)
        yield end
        end.close()


def connected(end: Inbox) -> socket.socket:
    connection = socket.create_connection(end._listener.getsockname())
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(end._greeting)
    return connection


def test_a_message_that_comes_byte_by_byte_is_whole(inbox: Inbox) -> None:
    sent = message(4, np.arange(7), np.array(["ü", ""], dtype=object))
    with connected(inbox) as sender:
        for byte in frame(sent):
            sender.sendall(bytes([byte]))
        (got,) = receive(inbox, 1)
    assert got.address == sent.address
    assert [array.tolist() for array in got.arrays] == [[0, 1, 2, 3, 4, 5, 6], ["ü", ""]]


@pytest.mark.parametrize("cut", [1, 27, 28, 29, 60, -1], ids=lambda cut: f"after-{cut}")
def test_messages_in_one_piece_or_cut_anywhere_are_separated(inbox: Inbox, cut: int) -> None:
    stream = b"".join(frame(message(number, np.full(number, number))) for number in range(5))
    with connected(inbox) as sender:
        sender.sendall(stream[:cut])
        early = sequences(receive(inbox, 1, 0.05))
        sender.sendall(stream[cut:])
        assert early + sequences(receive(inbox, 5 - len(early))) == [0, 1, 2, 3, 4]


def test_pieces_of_several_senders_are_not_mixed(inbox: Inbox) -> None:
    first, second = frame(message(1, np.full(100, 1.0))), frame(message(2, np.full(100, 2.0)))
    with connected(inbox) as one, connected(inbox) as two:
        for start in range(0, len(first), 100):
            one.sendall(first[start : start + 100])
            two.sendall(second[start : start + 100])
        arrived = {got.address.sequence: got.arrays[0] for got in receive(inbox, 2)}
    assert {number: set(array.tolist()) for number, array in arrived.items()} == {1: {1.0}, 2: {2.0}}


def test_half_a_message_is_dropped_with_its_sender_and_others_go_on(inbox: Inbox) -> None:
    with connected(inbox) as sender:
        sender.sendall(frame(message(0, np.zeros(100)))[:-1])
    with connected(inbox) as sender:
        sender.sendall(frame(message(1)))
        assert sequences(receive(inbox, 1)) == [1]


@pytest.mark.parametrize(
    "said", [b"", b"open", b"open sesamE", b"OPEN SESAME and more"], ids=["nothing", "part", "near", "other"]
)
def test_a_sender_without_the_greeting_is_refused(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        end = Inbox(listener, "inbox", GREETING)
        with socket.create_connection(listener.getsockname()) as stranger:
            stranger.sendall(said + bytes(frame(message(0))))
            assert receive(end, 1, 0.1) == []
        end.close()


def test_forgetting_drops_earlier_epochs_and_connections(inbox: Inbox) -> None:
    inbox.forget(3)
    assert inbox.disconnects == 1
    with connected(inbox) as sender:
        for epoch in (2, 3, 4):
            sender.sendall(frame(message(epoch, epoch=epoch)))
        assert sequences(receive(inbox, 2)) == [3, 4]


def test_the_largest_numbers_of_an_address_survive(inbox: Inbox) -> None:
    sent = Message(Address(2**32 - 1, 2**32 - 1, 2**32 - 1, 2**64 - 1))
    with connected(inbox) as sender:
        sender.sendall(frame(sent))
        assert receive(inbox, 1) == [sent]
