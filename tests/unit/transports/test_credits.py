"""Credits in bytes: a receiver holds at most half a window and one message, and no sender waits for ever."""

from __future__ import annotations

import random

import pytest

from multiedge.transports.credits import ReceiveWindow, SendWindow

WINDOW = 1000


@pytest.mark.parametrize(
    ("outstanding", "nbytes", "may_start"),
    [(0, 1, True), (0, 10_000, True), (499, 10_000, True), (500, 500, True), (500, 501, False), (1000, 1, False)],
)
def test_a_message_starts_below_half_a_window_or_where_it_fits(outstanding: int, nbytes: int, may_start: bool) -> None:
    window = SendWindow(WINDOW)
    window.start(outstanding)
    assert window.may_start(nbytes) is may_start


def test_what_the_receiver_has_taken_is_free_again() -> None:
    window = SendWindow(WINDOW)
    window.start(900)
    window.grant(600)
    assert window.may_start(700)


def test_a_report_of_more_than_was_sent_or_of_less_than_before_changes_nothing() -> None:
    window = SendWindow(WINDOW)
    window.start(1000)
    window.grant(5000)
    window.start(1000)
    window.grant(300)
    assert not window.may_start(1)


def test_the_receiver_reports_once_half_a_window_is_taken() -> None:
    window = ReceiveWindow(WINDOW)
    window.take(499)
    assert not window.must_report
    window.take(1)
    assert window.must_report
    assert window.report() == 500
    assert not window.must_report


@pytest.mark.parametrize("seed", range(20))
def test_every_message_arrives_and_the_receiver_never_holds_much(seed: int) -> None:
    """Whatever the sizes, and whenever the receiver takes and its reports arrive."""
    rng = random.Random(seed)
    sizes = [rng.choice([1, 10, 300, 999, 1000, 1001, 5000]) for _ in range(300)]
    sender, receiver = SendWindow(WINDOW), ReceiveWindow(WINDOW)
    held: list[int] = []
    left, reports = list(sizes), []
    for _ in range(100_000):
        if left and sender.may_start(left[0]) and rng.random() < 0.7:
            sender.start(left[0])
            held.append(left.pop(0))
            assert sum(held[:-1]) < WINDOW
        elif held and rng.random() < 0.5:
            receiver.take(held.pop(0))
            if receiver.must_report:
                reports.append(receiver.report())
        elif reports:
            sender.grant(reports.pop(0))
        if not left and not held:
            return
    raise AssertionError(f"{len(left)} messages were never sent")
