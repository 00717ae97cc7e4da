import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from multiedge.errors import ConfigError, ModelError
from multiedge.network.records import NodeWork
from multiedge.serving.front.attempts import AttemptRules
from multiedge.serving.front.breaker import Phase
from multiedge.serving.front.model import Refused
from multiedge.serving.front.offload import OffloadMode, OffloadRules
from multiedge.serving.front.switch import OffloadSwitch
from multiedge.serving.inference.contract import Abandoned, DeadlineExceeded, Invalid, RequestError, Status, Unavailable
from tests.builders.front import BREAKER, DEVICE, QUICK, FakePipeline, fake_rows, request, wait_until


def value_of(reply) -> float:
    return float(reply.outputs["y"][0, 0])


def two(**options):
    """Rows 'first', which adds 1, and 'second', which adds 2."""
    return fake_rows({"first": FakePipeline(1.0), "second": FakePipeline(2.0)}, **options)


def test_the_chosen_row_answers_and_the_reply_says_which():
    with two() as held:
        reply = held.model.infer(request(5.0))
    assert value_of(reply) == 6.0
    assert (reply.parameters["row"], reply.parameters["attempts"]) == ("first", 1)
    assert reply.parameters["latency_ms"] > 0


def test_a_row_that_hangs_is_left_within_its_deadline():
    with two() as held:
        held.pipelines["first"].hangs = True
        begin_s = time.monotonic()
        reply = held.model.infer(request(5.0))
        took_s = time.monotonic() - begin_s
    assert (value_of(reply), reply.parameters["attempts"]) == (7.0, 2)
    assert 0.1 <= took_s < 0.5


def test_requests_avoid_a_row_that_hangs_until_it_answers_again():
    with two() as held:
        first = held.pipelines["first"]
        first.hangs = True
        assert held.model.infer(request()).parameters["attempts"] == 2
        wait_until(lambda: held.model.infer(request()).parameters["attempts"] == 1)
        first.hangs = False
        wait_until(lambda: held.model.infer(request()).parameters["row"] == "first")


def test_a_row_whose_attempts_are_late_is_not_tried_until_a_trial_answers():
    with two() as held:
        row = held.rows["first"]
        for _ in range(BREAKER.failures):
            row.late()
        assert not row.view().is_usable
        assert held.model.infer(request()).parameters["row"] == "second"
        wait_until(lambda: row.view().is_usable)
        assert held.model.infer(request()).parameters["row"] == "first"
        assert row.phase is Phase.CLOSED


def test_a_row_whose_pipeline_has_ended_is_opened_again():
    with two() as held:
        first = held.pipelines["first"]
        first.ended = "no device is left"
        wait_until(lambda: not held.rows["first"].engine.is_open)
        assert held.model.infer(request()).parameters["row"] == "second"
        time.sleep(0.06)
        held.model.tend()
        held.wait_open("first")
        assert held.model.infer(request()).parameters["row"] == "first"
        assert first.opened == 2


def test_requests_wait_for_a_row_that_comes_back():
    with fake_rows({"only": FakePipeline()}) as held:
        held.pipelines["only"].ended = "no device is left"
        wait_until(lambda: not held.rows["only"].engine.is_open)
        assert value_of(held.model.infer(request(1.0))) == 2.0


def test_an_item_that_no_row_can_compute_fails_at_once():
    with two() as held:
        for pipeline in held.pipelines.values():
            pipeline.refuses = "stage 0 failed: bad value"
        with pytest.raises(RequestError, match="bad value") as caught:
            held.model.infer(request())
        assert caught.value.status is Status.INTERNAL
        assert all(row.phase is Phase.CLOSED for row in held.rows.values())


def test_the_deadline_of_a_request_is_kept():
    with two() as held:
        for pipeline in held.pipelines.values():
            pipeline.hangs = True
        begin_s = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="time of the request is over"):
            held.model.infer(request(deadline_s=0.3))
        assert 0.3 <= time.monotonic() - begin_s < 0.6


def test_without_a_deadline_a_request_ends_after_the_patience_of_the_front_end():
    rules = replace(QUICK, attempts=replace(QUICK.attempts, patience_s=0.3))
    with fake_rows({"only": FakePipeline()}, rules) as held:
        held.pipelines["only"].hangs = True
        with pytest.raises(Unavailable, match=r"within 0\.3 s"):
            held.model.infer(request())


def test_a_request_whose_client_has_gone_ends():
    with fake_rows({"only": FakePipeline()}) as held:
        held.pipelines["only"].hangs = True
        with pytest.raises(Abandoned):
            held.model.infer(replace(request(), is_active=lambda: False))


def test_a_second_attempt_beside_a_slow_one_answers_first():
    attempts = AttemptRules(deadline_factor=100.0, hedge_factor=20.0, patience_s=5.0)
    with two(rules=replace(QUICK, attempts=attempts)) as held:
        held.pipelines["first"].takes_s = 1.0
        reply = held.model.infer(request(5.0))
        assert (value_of(reply), reply.parameters["attempts"]) == (7.0, 2)
        assert held.rows["first"].phase is Phase.CLOSED


def test_bounds_choose_the_row_and_what_none_keeps_is_refused():
    with two() as held:
        assert held.model.infer(request(row="second")).parameters["row"] == "second"
        with pytest.raises(Refused, match="no plan keeps max_latency_ms"):
            held.model.infer(request(max_latency_ms=1e-6))
        reply = held.model.infer(request(max_latency_ms=1e-6, otherwise="nearest"))
    assert reply.parameters["row"] == "first"


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (request(max_latency_ms="soon"), ConfigError, "max_latency_ms"),
        (replace(request(), inputs={"x": np.zeros((1, 3), np.float32)}), ModelError, "input 'x'"),
        (replace(request(), inputs={**request().inputs, "z": np.zeros(1)}), ModelError, "unknown input 'z'"),
        (replace(request(), inputs={**request().inputs, "offload": np.zeros(2)}), Invalid, "expected one BOOL"),
        (request(callback="http://127.0.0.1:1/"), Invalid, "with an id"),
        (request(id="a", callback="http://127.0.0.1:1/"), Invalid, "keeps no results"),
        (request(id="a", callback=3), Invalid, "expected an address"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_before_it_takes_a_slot(bad, error, message):
    with two() as held, pytest.raises(error, match=message):
        held.model.check(bad)


def with_local(switch: OffloadSwitch, **options):
    return fake_rows({"remote": FakePipeline(1.0), "local": FakePipeline(2.0)}, switch=switch, **options)


def stated(value: bool, x: float = 0.0):
    """A request with the boolean input."""
    plain = request(x)
    return replace(plain, inputs={**plain.inputs, "offload": np.array([value])})


def test_a_request_that_may_not_leave_is_answered_by_the_local_row():
    with with_local(OffloadSwitch(OffloadRules())) as held:
        rows = [held.model.infer(each).parameters["row"] for each in (request(offload=False), stated(False))]
    assert rows == ["local", "local"]


def test_the_input_of_a_request_turns_the_switch_and_pipelines_to_others_are_closed():
    switch = OffloadSwitch(OffloadRules(OffloadMode.REQUEST))
    with with_local(switch) as held:
        remote = held.pipelines["remote"]
        held.model.infer(stated(True))
        held.model.tend()
        assert remote.is_open
        held.model.infer(stated(False))
        time.sleep(0.06)
        held.model.tend()
        wait_until(lambda: held.model.sends_nothing)
        assert not remote.is_open
        assert held.model.infer(request()).parameters["row"] == "local"
        assert held.model.infer(stated(True))  # by the local row, until the pipeline is open again
        held.model.tend()
        held.wait_open("remote")
        assert held.model.infer(request(row="remote")).parameters["row"] == "remote"


def test_toggling_under_load_loses_nothing_and_keeps_each_request_on_one_side():
    switch = OffloadSwitch(OffloadRules(OffloadMode.REQUEST))
    with with_local(switch) as held, ThreadPoolExecutor(8) as clients:

        def ask(number: int) -> bool:
            reply = held.model.infer(stated(number // 4 % 2 == 0, number))
            held.model.tend()
            return value_of(reply) - number == {"remote": 1.0, "local": 2.0}[reply.parameters["row"]]

        assert all(clients.map(ask, range(400)))


def test_nothing_leaves_without_a_local_row():
    switch = OffloadSwitch(OffloadRules(OffloadMode.OFF))
    with two(switch=switch) as held, pytest.raises(Refused, match="uses other devices"):
        held.model.infer(request())


def test_the_charge_of_the_device_decides_where_a_request_does_not_state_it():
    work = {"remote": NodeWork(DEVICE, 0.001), "local": NodeWork(DEVICE, 0.1)}
    with fake_rows({"local": FakePipeline(1.0), "remote": FakePipeline(2.0)}, battery=lambda: 0.1) as held:
        for name, row in held.rows.items():
            row.row = replace(row.row, expected=replace(row.row.expected, work=(work[name],)))
        assert held.model.infer(request()).parameters["row"] == "remote"
        assert held.model.infer(request(battery=0.9)).parameters["row"] == "local"
