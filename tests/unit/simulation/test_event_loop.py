"""Events in simulated time, and servers whose speed changes during a job."""

from __future__ import annotations

from math import inf

import pytest

from multiedge.simulation.event_loop import EventLoop, Server
from tests.builders.tasks import Request, Task


def test_calls_come_in_the_order_of_time_then_of_their_making() -> None:
    loop, seen = EventLoop(), []
    for at_s, name in [(2.0, "late"), (1.0, "first"), (1.0, "second"), (0.0, "now")]:
        loop.at(at_s, lambda name: seen.append((loop.now_s, name)), name)
    loop.run()
    assert seen == [(0.0, "now"), (1.0, "first"), (1.0, "second"), (2.0, "late")]


def test_a_call_may_make_others_and_none_is_in_the_past() -> None:
    loop, seen = EventLoop(), []
    loop.at(5.0, lambda _: loop.at(1.0, lambda name: seen.append((loop.now_s, name)), "late"), "first")
    loop.run()
    assert seen == [(5.0, "late")]


def test_the_loop_stops_when_told_and_goes_on_where_it_stopped() -> None:
    loop, seen = EventLoop(), []
    for at_s in (1.0, 2.0, 3.0):
        loop.at(at_s, seen.append, at_s)
    loop.at(2.0, lambda _: loop.stop(), None)
    loop.run()
    assert (seen, loop.now_s) == ([1.0, 2.0], 2.0)
    loop.run()
    assert seen == [1.0, 2.0, 3.0]


class Bench:
    """A server with a record of what it finished: (item, stage, start, stop)."""

    def __init__(self, speed: float = 1.0) -> None:
        self.loop = EventLoop()
        self.server: Server[Request] = Server(self.loop, speed)
        self.done: list[tuple[int, int, float, float]] = []

    def push(self, item: int, work: float, *, stage: int = 0, wanted: bool = True) -> None:
        def finished(start_s: float, stop_s: float) -> None:
            self.done.append((item, stage, start_s, stop_s))

        self.server.push(Task(work, finished, stage=stage), Request(item, wanted))

    def at(self, at_s: float, **change: float | str) -> None:
        """Changes the speed, or loses the current job, at a time."""
        self.loop.at(
            at_s, lambda _: self.server.lose() if "lose" in change else self.server.set_speed(float(change["speed"])), None
        )

    def times(self) -> list[tuple[float, float]]:
        self.loop.run()
        return [(start, stop) for _, _, start, stop in self.done]


def test_jobs_run_one_after_another_at_the_servers_speed() -> None:
    bench = Bench(speed=2.0)
    bench.push(0, 4.0)
    bench.push(1, 1.0)
    assert bench.times() == [(0.0, 2.0), (2.0, 2.5)]


def test_earlier_items_go_first_then_earlier_stages() -> None:
    bench = Bench()
    for item, stage in [(9, 0), (2, 1), (1, 5), (2, 0)]:
        bench.push(item, 1.0, stage=stage)
    bench.loop.run()
    # The first one that was pushed has started already.
    assert [(item, stage) for item, stage, _, _ in bench.done] == [(9, 0), (1, 5), (2, 0), (2, 1)]


def test_a_job_that_is_not_wanted_any_more_is_passed_over() -> None:
    bench = Bench()
    bench.push(0, 1.0)
    bench.push(1, 5.0, wanted=False)
    bench.push(2, 1.0)
    assert bench.times() == [(0.0, 1.0), (1.0, 2.0)]


@pytest.mark.parametrize(
    ("changes", "stop_s"),
    [
        pytest.param([], 10.0, id="none"),
        pytest.param([(4.0, 0.5)], 4 + 6 / 0.5, id="half as fast for the rest"),
        pytest.param([(4.0, 3.0)], 4 + 6 / 3, id="three times as fast for the rest"),
        pytest.param([(4.0, 0.0), (9.0, 1.0)], 15.0, id="at rest for 5 s"),
        pytest.param([(4.0, inf)], 4.0, id="done immediately"),
        pytest.param([(4.0, 1.0)], 10.0, id="the same speed"),
        pytest.param([(2.0, 0.5), (6.0, 2.0)], 6 + (10 - 2 - 2) / 2, id="slower, then faster"),
        pytest.param([(10.0, 0.5)], 10.0, id="a change at the very end is too late"),
        pytest.param([(11.0, 0.5)], 10.0, id="a change after the end"),
    ],
)
def test_a_job_goes_on_at_the_new_speed(changes: list[tuple[float, float]], stop_s: float) -> None:
    """10 units of work at speed 1."""
    bench = Bench()
    bench.push(0, 10.0)
    for at_s, speed in changes:
        bench.at(at_s, speed=speed)
    assert bench.times() == [(0.0, pytest.approx(stop_s))]


@pytest.mark.parametrize(
    ("lost_s", "expected"),
    [
        pytest.param(4.0, (4.0, 14.0), id="halfway"),
        pytest.param(0.0, (0.0, 10.0), id="at the start"),
    ],
)
def test_a_lost_job_begins_again(lost_s: float, expected: tuple[float, float]) -> None:
    bench = Bench()
    bench.push(0, 10.0)
    bench.at(lost_s, lose="")
    assert bench.times() == [expected]


def test_a_server_that_stopped_in_the_middle_says_what_it_lost_and_begins_when_it_is_back() -> None:
    bench, lost = Bench(), []
    task = Task(
        10.0, lambda start, stop: bench.done.append((0, 0, start, stop)), lambda start, stop: lost.append((start, stop))
    )
    bench.server.push(task, Request(0))
    bench.at(4.0, speed=0.0)
    bench.at(4.0, lose="")
    bench.at(100.0, speed=1.0)
    assert bench.times() == [(100.0, 110.0)]
    assert lost == [(0.0, 4.0)]


def test_a_lost_task_that_is_not_wanted_any_more_does_not_begin_again() -> None:
    bench, request = Bench(), Request(0)
    bench.server.push(Task(10.0, lambda start, stop: bench.done.append((0, 0, start, stop))), request)
    bench.at(4.0, speed=0.0)
    bench.at(4.0, lose="")
    bench.loop.at(5.0, lambda _: setattr(request, "wanted", False), None)
    bench.at(6.0, speed=1.0)
    assert bench.times() == []


def test_losing_nothing_changes_nothing() -> None:
    bench = Bench()
    bench.at(1.0, lose="")
    bench.loop.at(2.0, lambda item: bench.push(item, 1.0), 0)
    assert bench.times() == [(2.0, 3.0)]


def test_a_server_at_rest_keeps_its_queue_and_takes_it_up_again() -> None:
    bench = Bench(speed=0.0)
    bench.push(0, 1.0)
    bench.push(1, 1.0)
    bench.loop.run()
    assert bench.done == []
    bench.at(7.0, speed=2.0)
    assert bench.times() == [(7.0, 7.5), (7.5, 8.0)]


def test_infinite_speed_takes_no_time_and_can_end() -> None:
    bench = Bench(speed=inf)
    bench.push(0, 5.0)
    bench.at(1.0, speed=1.0)
    bench.loop.at(2.0, lambda item: bench.push(item, 3.0), 1)
    assert bench.times() == [(0.0, 0.0), (2.0, 5.0)]


def test_no_work_takes_no_time() -> None:
    bench = Bench()
    for item in range(3):
        bench.push(item, 0.0)
    assert bench.times() == [(0.0, 0.0)] * 3


def test_a_finished_job_may_push_the_next_onto_the_same_server() -> None:
    bench = Bench()
    bench.server.push(Task(1.0, lambda _start, _stop: bench.push(0, 2.0, stage=1)), Request(0))
    bench.push(1, 1.0)
    bench.loop.run()
    assert [(item, stage, stop) for item, stage, _, stop in bench.done] == [(0, 1, 3.0), (1, 0, 4.0)]
