"""Links in simulated time: messages in turn, and changes of speed and delay while one is on its way."""

from __future__ import annotations

import pytest

from multiedge.simulation.event_loop import EventLoop
from multiedge.simulation.links import LinkServer
from tests.builders.tasks import Request, Task

Arrival = tuple[int, float, float, float]
"""Item, when its message began, when it left, when it arrived."""


class Bench:
    """A link of 10 bytes/s and 0.5 s, and the messages that arrived."""

    def __init__(self) -> None:
        self.loop = EventLoop()
        self.link: LinkServer[Request] = LinkServer(self.loop, 10.0, 0.5)
        self.arrived: list[Arrival] = []

    def push(self, item: int, nbytes: float, *, stage: int = 0, wanted: bool = True) -> None:
        def finished(start_s: float, stop_s: float) -> None:
            self.arrived.append((item, start_s, stop_s, self.loop.now_s))

        self.link.push(Task(nbytes, finished, stage=stage), Request(item, wanted))

    def change(self, at_s: float, speed: float, delay_s: float = 0.5) -> None:
        self.loop.at(at_s, lambda _: self.link.change(speed, delay_s), None)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_messages_go_in_turn_by_item_and_arrive_after_the_delay(bench: Bench) -> None:
    bench.push(5, 10.0)
    bench.push(7, 20.0)
    bench.push(6, 10.0)
    bench.loop.run()
    assert bench.arrived == [(5, 0.0, 1.0, 1.5), (6, 1.0, 2.0, 2.5), (7, 2.0, 4.0, 4.5)]


def test_a_message_is_sent_while_the_one_before_it_is_still_on_its_way(bench: Bench) -> None:
    bench.push(0, 10.0)
    bench.loop.at(1.0, lambda _: bench.push(1, 1.0), None)
    bench.loop.run()
    assert bench.arrived == [(0, 0.0, 1.0, 1.5), (1, 1.0, 1.1, 1.6)]


def test_messages_that_are_not_wanted_any_more_are_left_out_and_those_without_bytes_take_no_time(bench: Bench) -> None:
    bench.push(0, 10.0)
    bench.push(1, 10.0, wanted=False)
    bench.push(2, 0.0)
    bench.push(3, 0.0)
    bench.loop.run()
    assert bench.arrived == [(0, 0.0, 1.0, 1.5), (2, 1.0, 1.0, 1.5), (3, 1.0, 1.0, 1.5)]


@pytest.mark.parametrize(
    ("changes", "arrived"),
    [
        pytest.param([(1.0, 5.0)], [(0, 0.0, 3.0, 3.5), (1, 3.0, 5.0, 5.5)], id="slower"),
        pytest.param([(1.0, 20.0)], [(0, 0.0, 1.5, 2.0), (1, 1.5, 2.0, 2.5)], id="faster: what waits begins earlier"),
        pytest.param([(1.0, 10.0, 2.0)], [(0, 0.0, 2.0, 4.0), (1, 2.0, 3.0, 5.0)], id="another delay alone"),
        pytest.param([(1.0, 0.0), (6.0, 10.0)], [(0, 0.0, 7.0, 7.5), (1, 7.0, 8.0, 8.5)], id="down, then up"),
        pytest.param([(1.0, 0.0), (3.0, 0.0, 1.0), (6.0, 10.0)], [(0, 0.0, 7.0, 7.5), (1, 7.0, 8.0, 8.5)], id="down twice"),
        pytest.param([(2.2, 0.0), (6.0, 10.0)], [(0, 0.0, 2.0, 2.5), (1, 2.0, 6.8, 7.3)], id="down after the first has left"),
        pytest.param([(1.0, 0.0)], [], id="down for good"),
        pytest.param([(1.0, 10.0)], [(0, 0.0, 2.0, 2.5), (1, 2.0, 3.0, 3.5)], id="no change"),
    ],
)
def test_a_change_holds_for_the_message_on_the_link_and_those_that_wait(
    bench: Bench, changes: list[tuple[float, ...]], arrived: list[Arrival]
) -> None:
    for change in changes:
        bench.change(*change)
    bench.push(0, 20.0)
    bench.push(1, 10.0)
    bench.loop.run()
    assert [pytest.approx(each) for each in arrived] == bench.arrived


def test_a_link_that_is_down_from_the_start_carries_what_waits_when_it_comes_up(bench: Bench) -> None:
    bench.link.change(0.0, 0.5)
    bench.push(0, 10.0)
    bench.change(4.0, 10.0)
    bench.loop.run()
    assert bench.arrived == [(0, 4.0, 5.0, 5.5)]
