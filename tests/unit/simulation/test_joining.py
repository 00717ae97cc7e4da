from dataclasses import dataclass, field

import pytest

from multiedge.simulation.event_loop import EventLoop
from multiedge.simulation.joining import JoiningServer
from multiedge.simulation.work import ALONE, StageBatch


@dataclass
class Request:
    item: int
    wanted: bool = True


@dataclass
class Task:
    """Records (item, start, stop) of what was computed and what was lost."""

    stage: int = 0
    batch: StageBatch = ALONE
    seconds: float = 1.0
    done: list[tuple[int, float, float]] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)

    def work_of(self, request: Request) -> float:
        return self.seconds

    def joins(self, request: Request) -> bool:
        return self.batch.most > 1

    def finished(self, request: Request, start_s: float, stop_s: float) -> None:
        self.done.append((request.item, start_s, stop_s))

    def lost(self, request: Request, start_s: float, stop_s: float) -> None:
        self.gone.append(request.item)


def test_the_oldest_item_runs_first_at_its_latest_stage() -> None:
    loop, log = EventLoop(), []
    server = JoiningServer[Request](loop, 1.0)
    early, late = Task(0, done=log), Task(1, done=log)
    for task, item in ((early, 0), (early, 3), (early, 1), (late, 2), (early, 2)):
        server.push(task, Request(item))
    loop.run()
    assert [item for item, *_ in log] == [0, 1, 2, 2, 3]
    assert len(late.done) == 5
    assert [start for _, start, _ in log] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_other_stages_run_while_one_waits_for_its_batch() -> None:
    loop = EventLoop()
    server = JoiningServer[Request](loop, 1.0)
    patient, other = Task(0, StageBatch(4, 2.5)), Task(1)
    server.push(patient, Request(0))
    server.push(other, Request(1))
    loop.run()
    assert other.done == [(1, 0.0, 1.0)]
    assert patient.done == [(0, 2.5, 3.5)]


def test_a_lost_run_begins_again_without_items_that_began_elsewhere() -> None:
    loop = EventLoop()
    server = JoiningServer[Request](loop, 1.0)
    task = Task(0, StageBatch(2, 0.0, ((2, 2.0),)))
    first, second, third = (Request(item) for item in range(3))
    server.push(task, first)
    server.push(task, second)
    server.push(task, third)

    def leave(_: None) -> None:
        server.set_speed(0.0)
        server.lose()
        second.wanted = False

    loop.at(1.5, leave, None)
    loop.at(5.0, server.set_speed, 0.5)
    loop.run()
    assert task.gone == [1, 2]
    assert task.done == [(0, 0.0, 1.0), (2, 5.0, 7.0)]


def test_a_slower_device_takes_longer_for_the_rest_of_a_run() -> None:
    loop = EventLoop()
    server, task = JoiningServer[Request](loop, 1.0), Task(seconds=2.0)
    server.push(task, Request(0))
    loop.at(1.0, server.set_speed, 0.5)
    loop.run()
    assert task.done == [(0, 0.0, pytest.approx(3.0))]
