"""Replies to a stream: in the order of the requests, several at a time, and an end whatever the client does."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from multiedge.serving.inference.ordered import in_order
from tests.builders.inference import until


@pytest.fixture
def pool():
    with ThreadPoolExecutor(16) as pool:
        yield pool


def test_replies_come_in_the_order_of_their_requests_however_long_each_takes(pool):
    def answer(request):
        time.sleep(0.02 if request % 3 == 0 else 0)
        yield f"{request}a"
        yield f"{request}b"

    replies = list(in_order(range(12), answer, pool, 4, lambda: True))
    assert replies == [f"{request}{part}" for request in range(12) for part in "ab"]


def test_as_many_are_computed_at_the_same_time_as_may_be(pool):
    running, most, lock = 0, 0, threading.Lock()

    def answer(request):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        yield request

    assert list(in_order(range(20), answer, pool, 3, lambda: True)) == list(range(20))
    assert 2 <= most <= 5


def test_a_reply_comes_before_the_next_request_does(pool):
    go_on = threading.Event()

    def requests():
        yield 1
        assert go_on.wait(5)
        yield 2

    replies = in_order(requests(), lambda request: [request], pool, 4, lambda: True)
    assert next(replies) == 1
    go_on.set()
    assert list(replies) == [2]


def test_a_client_that_ends_its_requests_with_an_error_ends_the_replies(pool):
    def requests():
        yield 1
        raise ConnectionError("it has gone")

    assert list(in_order(requests(), lambda request: [request], pool, 4, lambda: True)) == [1]


def test_a_client_that_takes_nothing_and_goes_leaves_no_thread_behind(pool):
    active = True
    replies = in_order(range(1000), lambda request: [request] * 100, pool, 2, lambda: active)
    assert next(replies) == 0
    replies.close()
    active = False
    until(lambda: pool._work_queue.empty())
