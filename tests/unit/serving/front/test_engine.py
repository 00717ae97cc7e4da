import threading
from concurrent.futures import Future

import numpy as np
import pytest

from multiedge.errors import PipelineError
from multiedge.serving.front.engine import Engine, EngineState, ItemFailed, RowFailed
from tests.builders.front import FakePipeline, wait_until

X = {"x": np.zeros((1, 2), np.float32)}
SOON_S = 5.0


def running(pipeline: FakePipeline, **options) -> Engine:
    engine = Engine("row", lambda: pipeline, **options)
    engine.start()
    wait_until(lambda: engine.is_running)
    return engine


def test_requests_of_many_threads_get_their_own_answers():
    engine = running(FakePipeline())
    futures: dict[int, Future] = {}

    def ask(number: int) -> None:
        futures[number] = engine.submit({"x": np.full((1, 2), number, np.float32)})

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: float(future.result(SOON_S).tensors["y"][0, 0]) for number, future in futures.items()} == {
        number: number + 1.0 for number in range(20)
    }
    assert engine.waiting == 0
    engine.close()


def test_an_item_that_fails_fails_alone():
    pipeline = FakePipeline()
    engine = running(pipeline)
    pipeline.refuses = "stage 0 failed"
    with pytest.raises(ItemFailed, match="stage 0 failed"):
        engine.submit(X).result(SOON_S)
    pipeline.refuses = ""
    assert engine.submit(X).result(SOON_S)
    engine.close()


def test_a_pipeline_that_has_ended_fails_what_it_had_and_is_parked():
    pipeline, reasons = FakePipeline(), []
    engine = running(pipeline, on_failed=reasons.append)
    pipeline.hangs = True
    future = engine.submit(X)
    wait_until(lambda: pipeline.computed == 1)
    pipeline.ended = "no device is left"
    with pytest.raises(RowFailed, match="no device is left"):
        future.result(SOON_S)
    wait_until(lambda: bool(reasons))
    assert engine.state is EngineState.PARKED
    assert reasons == ["no device is left"]
    assert not pipeline.is_open


def test_a_pipeline_that_cannot_start_is_reported():
    def fail() -> FakePipeline:
        raise PipelineError("needs tablet")

    reasons: list[str] = []
    engine = Engine("row", fail, reasons.append)
    engine.start()
    wait_until(lambda: reasons == ["needs tablet"])
    wait_until(lambda: engine.state is EngineState.PARKED)


def test_parking_answers_what_is_under_way_first():
    pipeline = FakePipeline(takes_s=0.05)
    engine = running(pipeline)
    future = engine.submit(X)
    engine.park()
    with pytest.raises(RowFailed, match="draining"):
        engine.submit(X).result(SOON_S)
    assert future.result(SOON_S)
    wait_until(lambda: engine.state is EngineState.PARKED)
    assert not pipeline.is_open


def test_a_parked_engine_starts_again():
    pipeline = FakePipeline()
    engine = running(pipeline)
    engine.park()
    wait_until(lambda: engine.state is EngineState.PARKED)
    engine.start()
    wait_until(lambda: engine.is_running)
    assert engine.submit(X).result(SOON_S)
    assert pipeline.opened == 2
    engine.close()


def test_an_engine_that_drains_goes_on_if_it_is_needed_again():
    pipeline = FakePipeline()
    pipeline.hangs = True
    engine = running(pipeline)
    engine.submit(X)
    wait_until(lambda: pipeline.computed == 1)
    engine.park()
    engine.start()
    pipeline.hangs = False
    assert engine.submit(X).result(SOON_S)
    assert pipeline.opened == 1
    engine.close()


def test_a_request_that_is_cancelled_before_its_turn_is_not_computed():
    pipeline = FakePipeline()
    pipeline.has_room = False
    engine = running(pipeline)
    future = engine.submit(X)
    assert future.cancel()
    pipeline.has_room = True
    assert engine.submit(X).result(SOON_S)
    assert pipeline.computed == 1
    engine.close()


def test_closing_fails_what_is_not_answered():
    pipeline = FakePipeline()
    pipeline.hangs = True
    engine = running(pipeline)
    future = engine.submit(X)
    engine.close()
    with pytest.raises(RowFailed, match="closed"):
        future.result(SOON_S)
    assert not pipeline.is_open
