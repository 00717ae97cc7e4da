import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from multiedge.errors import MultiedgeError
from multiedge.serving.front.once import OnceById
from multiedge.serving.front.requests import RequestStore
from multiedge.serving.inference.contract import Busy, DeadlineExceeded, InferReply, InferRequest, Invalid, Unavailable
from tests.builders.front import request, wait_until

URL = "http://127.0.0.1:9/"


class Computation:
    """Adds 1, counts how often, and waits for `go`."""

    def __init__(self) -> None:
        self.count = 0
        self.go = threading.Event()
        self.go.set()
        self.error: MultiedgeError | None = None

    def __call__(self, asked: InferRequest) -> InferReply:
        self.count += 1
        assert self.go.wait(5.0)
        if self.error:
            raise self.error
        return InferReply({"y": asked.inputs["x"] + 1})


def encoded(asked: InferRequest, outcome: InferReply | MultiedgeError) -> bytes:
    return str(outcome).encode() if isinstance(outcome, MultiedgeError) else outcome.outputs["y"].tobytes()


@pytest.fixture
def store(tmp_path):
    opened = RequestStore(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def once(store):
    running = OnceById(store, encoded, lambda: None, most=4)
    yield running
    running.close()


def test_the_same_id_is_computed_once(once):
    compute = Computation()
    first, second = (once.infer(request(1.0, id="a"), compute) for _ in range(2))
    np.testing.assert_array_equal(first.outputs["y"], second.outputs["y"])
    assert compute.count == 1
    assert second.parameters["stored"] is True


def test_clients_that_ask_at_the_same_time_get_the_same_answer(once):
    compute = Computation()
    compute.go.clear()
    with ThreadPoolExecutor(8) as clients:
        futures = [clients.submit(once.infer, request(1.0, id="a"), compute) for _ in range(8)]
        time.sleep(0.05)
        compute.go.set()
        assert {float(each.result(5.0).outputs["y"][0, 0]) for each in futures} == {2.0}
    assert compute.count == 1


def test_a_client_whose_time_is_over_asks_again_and_gets_the_answer(once):
    compute = Computation()
    compute.go.clear()
    with pytest.raises(DeadlineExceeded, match="ask again with the same id"):
        once.infer(request(1.0, id="a", deadline_s=0.05), compute)
    compute.go.set()
    assert once.infer(request(1.0, id="a"), compute).outputs["y"][0, 0] == 2.0
    assert compute.count == 1


def test_a_client_that_goes_ends_no_computation(once):
    compute = Computation()
    compute.go.clear()
    with pytest.raises(DeadlineExceeded):
        once.infer(replace(request(1.0, id="a"), is_active=lambda: False), compute)
    compute.go.set()
    assert once.infer(request(1.0, id="a"), compute)
    assert compute.count == 1


def test_an_error_is_no_answer(once):
    compute = Computation()
    compute.error = Unavailable("no row has answered")
    with pytest.raises(Unavailable):
        once.infer(request(1.0, id="a"), compute)
    compute.error = None
    assert once.infer(request(1.0, id="a"), compute)
    assert compute.count == 2


def test_an_id_of_a_computation_that_goes_on_stands_for_its_inputs(once):
    compute = Computation()
    compute.go.clear()
    with pytest.raises(DeadlineExceeded):
        once.infer(request(1.0, id="a", deadline_s=0.01), compute)
    with pytest.raises(Invalid, match="other inputs"):
        once.infer(request(2.0, id="a"), compute)
    compute.go.set()


def test_too_many_computations_are_refused(once):
    compute = Computation()
    compute.go.clear()
    for number in range(4):
        with pytest.raises(DeadlineExceeded):
            once.infer(request(1.0, id=str(number), deadline_s=0.01), compute)
    with pytest.raises(Busy):
        once.infer(request(1.0, id="more"), compute)
    compute.go.set()


def test_a_callback_gets_the_result_or_the_error(once, store):
    compute = Computation()
    once.infer(request(1.0, id="a", callback=URL), compute, URL)
    compute.error = Unavailable("no row has answered")
    with pytest.raises(Unavailable):
        once.infer(request(1.0, id="b", callback=URL), compute, URL)
    bodies = {each.id: each.body for each in store.due_callbacks(time.time(), 9)}
    assert bodies == {"a": np.full((1, 2), 2.0, np.float32).tobytes(), "b": b"no row has answered"}


def test_requests_with_a_callback_are_computed_after_a_restart(tmp_path, store):
    compute = Computation()
    compute.go.clear()
    before = OnceById(store, encoded, lambda: None)
    with pytest.raises(DeadlineExceeded):
        before.infer(request(1.0, id="a", callback=URL, deadline_s=0.01), compute, URL)
    before.close()
    compute.error = Unavailable("the server ends")
    compute.go.set()
    wait_until(lambda: not before._running)
    assert [each.id for each in store.accepted()] == ["a"]
    after = OnceById(store, encoded, lambda: None)
    fresh = Computation()
    assert after.resume({"other": fresh}.get) == 0
    assert after.resume({"small": fresh}.get) == 1
    wait_until(lambda: not store.accepted())
    assert [each.id for each in store.due_callbacks(time.time(), 9)] == ["a"]
    after.close()
