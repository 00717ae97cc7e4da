"""Slots of a stage: who computes, who waits, and who is refused."""

from __future__ import annotations

import threading
import time

import pytest

from multiedge.serving.inference.contract import Abandoned, Busy, DeadlineExceeded
from multiedge.serving.inference.slots import Slots


def active() -> bool:
    return True


def gone() -> bool:
    return False


def test_a_request_beyond_those_that_may_wait_is_refused() -> None:
    slots = Slots("m", 1, 0)
    with slots.taken(active):
        assert slots.is_running
        with pytest.raises(Busy), slots.taken(active):
            pass
    assert not slots.is_running
    with slots.taken(active):
        pass


def test_a_request_whose_caller_goes_while_it_waits_is_not_computed() -> None:
    slots = Slots("m", 1, 1)
    with slots.taken(active), pytest.raises(Abandoned), slots.taken(gone):
        pass


def test_a_stage_is_stuck_while_every_slot_computes_for_callers_that_have_gone() -> None:
    slots = Slots("m", 2, 1)
    with slots.taken(gone):
        assert not slots.is_stuck
        with slots.taken(active):
            assert not slots.is_stuck
        with slots.taken(lambda: False):
            assert slots.is_stuck
    assert not slots.is_stuck


def test_a_slot_that_is_free_again_goes_to_a_request_that_waits() -> None:
    slots, got = Slots("m", 1, 1), threading.Event()

    def wait() -> None:
        with slots.taken(active):
            got.set()

    with slots.taken(active):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not got.wait(0.05)
    assert got.wait(5)
    thread.join()


@pytest.mark.timing
def test_a_request_whose_time_is_over_while_it_waits_is_not_computed() -> None:
    slots = Slots("m", 1, 1)
    with slots.taken(active):
        begin = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="before a slot of 'm' was free"), slots.taken(active, begin + 0.02):
            pass
        assert time.monotonic() - begin < 0.5


def test_a_caller_that_goes_since_its_time_is_over_is_told_so() -> None:
    slots, over_s = Slots("m", 1, 1), time.monotonic() + 0.02
    with slots.taken(lambda: True), pytest.raises(DeadlineExceeded), slots.taken(lambda: time.monotonic() < over_s, over_s):
        pass
