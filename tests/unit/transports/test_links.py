"""The emulated link: when a message may be taken, and the mailbox that holds it back until then."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from multiedge.fleet import Link
from multiedge.transports.links import DOWN_BYTES_PER_S, LinkShaper, Mailbox, is_down
from multiedge.transports.message import Address, Message


def held(sequence: int, due_s: float, source: str = "a", nbytes: int = 0) -> Message:
    return Message(Address(1, 0, 0, sequence), source, (np.zeros(nbytes, dtype=np.uint8),), due_s=due_s)


def order(messages: list[Message]) -> list[int]:
    return [each.address.sequence for each in messages]


@pytest.mark.parametrize(
    ("bandwidth", "down"),
    [
        pytest.param(0.0, True, id="zero"),
        pytest.param(DOWN_BYTES_PER_S, True, id="limit"),
        pytest.param(2 * DOWN_BYTES_PER_S, False, id="above-the-limit"),
        pytest.param(math.inf, False, id="unlimited"),
    ],
)
def test_a_link_without_bandwidth_is_down(bandwidth: float, down: bool) -> None:
    assert is_down(Link(bandwidth)) is down
    assert (LinkShaper("a", {"b": Link(bandwidth)}).due_s("b", 0, 1.0) == math.inf) is down


@pytest.mark.parametrize(
    ("link", "sends", "due"),
    [
        pytest.param(Link(1000.0), [(100, 0.0), (100, 0.0), (100, 0.0)], [0.1, 0.2, 0.3], id="bytes-one-after-another"),
        pytest.param(Link(1000.0, 0.5), [(100, 0.0), (100, 0.0)], [0.6, 0.7], id="latency-delays-but-does-not-occupy"),
        pytest.param(Link(1000.0), [(100, 0.0), (100, 5.0)], [0.1, 5.1], id="an-idle-link-is-free-now"),
        pytest.param(Link(1000.0), [(1000, 0.0), (100, 0.5)], [1.0, 1.1], id="a-busy-link-makes-the-next-wait"),
        pytest.param(Link(), [(1 << 40, 3.0)], [3.0], id="unlimited"),
        pytest.param(Link(latency_s=0.25), [(0, 3.0)], [3.25], id="latency-alone"),
        pytest.param(Link(1000.0), [(0, 3.0)], [3.0], id="an-empty-message-takes-no-time"),
    ],
)
def test_arrival_by_hand(link: Link, sends: list[tuple[int, float]], due: list[float]) -> None:
    shaper = LinkShaper("a", {"b": link})
    assert [shaper.due_s("b", nbytes, now_s) for nbytes, now_s in sends] == pytest.approx(due)


def test_links_to_different_peers_do_not_wait_for_each_other() -> None:
    shaper = LinkShaper("a", {"b": Link(100.0), "c": Link(100.0)})
    assert shaper.due_s("b", 1000, 0.0) == pytest.approx(10.0)
    assert shaper.due_s("c", 100, 0.0) == pytest.approx(1.0)


def test_a_peer_without_an_emulated_link_is_reached_now() -> None:
    assert LinkShaper("a", {}).due_s("b", 1 << 30, 7.5) == 7.5


def test_a_changed_link_holds_from_then_on() -> None:
    shaper = LinkShaper("a", {"b": Link(1000.0)})
    assert shaper.due_s("b", 1000, 0.0) == pytest.approx(1.0)
    shaper.change("b", Link(100.0))
    assert shaper.due_s("b", 100, 0.0) == pytest.approx(2.0), "what was sent before still occupies the link"


def test_a_link_may_be_added_later() -> None:
    shaper = LinkShaper("a", {})
    shaper.change("b", Link(100.0))
    assert shaper.due_s("b", 100, 0.0) == pytest.approx(1.0)


def test_a_link_that_comes_back_takes_messages_again() -> None:
    shaper = LinkShaper("a", {"b": Link(0.0)})
    assert shaper.due_s("b", 100, 0.0) == math.inf
    shaper.change("b", Link(100.0))
    assert shaper.due_s("b", 100, 4.0) == pytest.approx(5.0)


def test_order_is_kept_when_a_link_becomes_faster_or_jitters() -> None:
    shaper = LinkShaper("a", {"b": Link(latency_s=2.0)})
    first = shaper.due_s("b", 0, 0.0)
    shaper.change("b", Link(latency_s=0.1, jitter_s=0.1))
    due = [first, *(shaper.due_s("b", 0, 0.001 * number) for number in range(100))]
    assert all(earlier <= later for earlier, later in pairwise(due))


def test_jitter_stays_within_its_range() -> None:
    shaper = LinkShaper("a", {"b": Link(latency_s=0.5, jitter_s=0.2)}, seed=3)
    delays = [shaper.due_s("b", 0, 10.0 * number) - 10.0 * number for number in range(300)]
    assert 0.3 <= min(delays) < 0.35
    assert 0.65 < max(delays) <= 0.7


def test_jitter_larger_than_the_latency_never_delivers_before_sending() -> None:
    shaper = LinkShaper("a", {"b": Link(latency_s=0.1, jitter_s=5.0)})
    assert all(shaper.due_s("b", 0, 100.0 * number) >= 100.0 * number for number in range(100))


def test_loss_repeats_bytes_and_latency_as_often_as_expected() -> None:
    """Half of all messages are lost, each time: two attempts on average."""
    shaper = LinkShaper("a", {"b": Link(1000.0, latency_s=0.3, loss=0.5)}, seed=1)
    delays = [shaper.due_s("b", 100, 1000.0 * number) - 1000.0 * number for number in range(2000)]
    attempts = [delay / 0.4 for delay in delays]
    assert attempts == pytest.approx([round(each) for each in attempts]), "every attempt takes 0.1 s and 0.3 s"
    assert sum(attempts) / len(attempts) == pytest.approx(2.0, rel=0.05)


def test_the_same_seed_gives_the_same_losses_and_another_pair_others() -> None:
    lossy = Link(1000.0, 0.1, jitter_s=0.05, loss=0.3)

    def due(device: str, peer: str, seed: int) -> list[float]:
        shaper = LinkShaper(device, {peer: lossy}, seed)
        return [shaper.due_s(peer, 100, 0.0) for _ in range(20)]

    assert due("a", "b", 1) == due("a", "b", 1)
    assert len({tuple(due(*which)) for which in (("a", "b", 1), ("a", "b", 2), ("b", "a", 1), ("a", "c", 1))}) == 4


def test_a_mailbox_gives_what_is_due_in_the_order_of_time() -> None:
    box = Mailbox()
    for due in (3.0, 1.0, 2.0):
        box.put(held(int(due), due))
    assert box.next_due_s() == 1.0
    assert order(box.take(2.5)) == [1, 2]
    assert box.next_due_s() == 3.0
    assert order(box.take(9.0)) == [3]


def test_an_empty_mailbox_has_nothing_due_ever() -> None:
    box = Mailbox()
    assert box.next_due_s() == math.inf
    assert box.take(math.inf) == []


def test_messages_that_are_due_together_keep_the_order_of_arrival() -> None:
    """Arrays cannot be compared, so ties must not reach the messages."""
    box = Mailbox()
    for sequence in (5, 3, 4):
        box.put(held(sequence, 1.0, nbytes=3))
    assert order(box.take(1.0)) == [5, 3, 4]


def test_a_cleared_mailbox_holds_nothing() -> None:
    box = Mailbox()
    box.put(held(1, 1.0))
    box.clear()
    assert box.take(2.0) == []


def test_what_waited_for_a_dead_link_arrives_one_after_another_when_it_is_back() -> None:
    box = Mailbox()
    box.put(held(1, math.inf, nbytes=100))
    box.put(held(2, math.inf, nbytes=100))
    box.restore("a", Link(1000.0, latency_s=1.0), 5.0)
    assert [(each.address.sequence, each.due_s) for each in box.take(10.0)] == [
        (1, pytest.approx(6.1)),
        (2, pytest.approx(6.2)),
    ]


def test_a_link_that_is_back_restores_its_own_messages_only() -> None:
    box = Mailbox()
    box.put(held(1, math.inf, source="c"))
    box.put(held(2, 7.0))
    box.put(held(3, math.inf))
    box.restore("a", Link(), 5.0)
    assert [(each.address.sequence, each.due_s) for each in box.take(8.0)] == [(3, 5.0), (2, 7.0)]
    assert box.next_due_s() == math.inf


def test_a_link_that_is_still_down_restores_nothing() -> None:
    box = Mailbox()
    box.put(held(1, math.inf))
    box.restore("a", Link(0.0), 5.0)
    assert box.next_due_s() == math.inf


def test_what_arrives_is_given_out_if_it_is_due_and_held_if_not() -> None:
    box = Mailbox()
    assert order(box.sort([held(1, 1.0), held(2, 5.0), held(3, 2.0)], 2.5)) == [1, 3]
    assert order(box.sort([held(4, 2.0)], 2.5)) == [4]
    assert order(box.sort([held(5, 9.0), held(6, 5.5)], 6.0)) == [2, 6]
    assert box.next_due_s() == 9.0
