"""What a faulty executor does wrong is seen: the driver is itself under test here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from multiedge.executors.flow.contract import Record, Result, Tensors
from multiedge.measurements import RETURN, Fault
from tests.builders.flow import FakeClock
from tests.chaos import driver
from tests.chaos.report import Report, joined
from tests.chaos.schedule import FaultEvent, Kind, Schedule
from tests.chaos.target import Numbers, Running

STEP_S = 0.125


@dataclass
class FakeExecutor:
    """Answers one item at each poll, a step of the clock later; `habit` changes or drops answers."""

    clock: FakeClock
    waiting: list[tuple[int, Tensors]] = field(default_factory=list)
    faults: tuple[Fault, ...] = ()

    @property
    def has_room(self) -> bool:
        return len(self.waiting) < 3

    @property
    def unanswered(self) -> int:
        return len(self.waiting)

    def mark(self) -> None:
        pass

    def record(self) -> Record:
        return Record(faults=self.faults)

    def submit(self, item: int, tensors: Tensors) -> None:
        self.waiting.append((item, tensors))

    def poll(self, timeout_s: float) -> list[Result]:
        self.clock.now_s += STEP_S
        item, tensors = self.waiting.pop(0)
        return self.answer(item, tensors)

    def answer(self, item: int, tensors: Tensors) -> list[Result]:
        if tensors["t0"].dtype.kind == "U":
            return [Result(item, None, "refused", done_s=self.clock())]
        return [Result(item, {"t2": tensors["t0"] + 2}, done_s=self.clock())]


class Loses(FakeExecutor):
    def answer(self, item: int, tensors: Tensors) -> list[Result]:
        return [] if item == 4 else super().answer(item, tensors)


class Repeats(FakeExecutor):
    def answer(self, item: int, tensors: Tensors) -> list[Result]:
        return super().answer(item, tensors) * (2 if item == 4 else 1)


class Confuses(FakeExecutor):
    """Gives an item the answer of the one before."""

    def answer(self, item: int, tensors: Tensors) -> list[Result]:
        return super().answer(item, {"t0": tensors["t0"] - 1} if item == 4 else tensors)


class AnswersPoison(FakeExecutor):
    def answer(self, item: int, tensors: Tensors) -> list[Result]:
        return super().answer(item, {"t0": np.zeros(4096, np.float32)})


class GivesUp(FakeExecutor):
    def answer(self, item: int, tensors: Tensors) -> list[Result]:
        return [Result(item, None, "no device is left to run it", done_s=self.clock())]


class Pauses(FakeExecutor):
    def answer(self, item: int, tensors: Tensors) -> list[Result]:
        self.clock.now_s += 20.0 if item == 4 else 0.0
        return super().answer(item, tensors)


@dataclass
class FakeTarget:
    """Also keeps what was injected and restored, with the time."""

    kind: type[FakeExecutor]
    clock: FakeClock = field(default_factory=FakeClock)
    done: list[tuple[str, float]] = field(default_factory=list)
    leftover: frozenset[str] = frozenset()
    faults: tuple[Fault, ...] = ()
    name: str = "fake"
    kinds: frozenset[Kind] = frozenset(Kind)

    @contextmanager
    def open(self, folder: Path, schedule: Schedule) -> Iterator[Running]:
        self.executor, self.work = self.kind(self.clock, faults=self.faults), Numbers(2)
        yield self  # type: ignore[misc]
        self.leftover = frozenset(["process 7"]) if self.leftover else frozenset()

    def inject(self, event: FaultEvent) -> bool:
        self.done.append((f"+{event.kind.value}", round(self.clock() - 100, 1)))
        return event.kind is not Kind.CUT

    def restore(self, event: FaultEvent) -> None:
        self.done.append((f"-{event.kind.value}", round(self.clock() - 100, 1)))

    def left(self) -> frozenset[str]:
        return self.leftover


def under(target: FakeTarget, *events: FaultEvent, seconds: float = 2.0) -> Report:
    return driver.run(target, Schedule(0, seconds, events), target.clock)


def test_a_good_run_has_no_problem_and_every_item_is_counted() -> None:
    report = under(FakeTarget(FakeExecutor), FaultEvent(0.5, Kind.POISON_INPUT))
    assert report.problems(5.0) == []
    assert (report.items, report.right, report.own_errors) == (report.right + 1, report.right, 1)
    assert report.right > 15
    assert report.silence_s == pytest.approx(STEP_S)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (Loses, "1 of 18 items lost"),
        (Repeats, "1 of 18 items answered twice"),
        (Confuses, "1 of 18 items answered wrongly"),
        (GivesUp, "18 items failed that should not: item 0, 0.12 s: no device is left to run it"),
        (Pauses, "no answer for 20.1 s, expected at most 5 s"),
    ],
)
def test_a_faulty_executor_is_seen(kind: type[FakeExecutor], problem: str) -> None:
    seconds = 22.0 if kind is Pauses else 2.0
    assert problem in under(FakeTarget(kind), seconds=seconds).problems(5.0)


def test_an_answer_to_a_poison_item_is_wrong() -> None:
    report = under(FakeTarget(AnswersPoison), FaultEvent(1.0, Kind.POISON_CRASH))
    assert (report.wrong, report.own_errors) == (17, 0)  # also the ordinary items that got its answer


def test_errors_are_allowed_with_their_reason_once_a_part_has_changed() -> None:
    report = under(FakeTarget(GivesUp), FaultEvent(0.0, Kind.CHANGED_PART))
    assert (report.refused, report.unexpected) == (report.items, ())


def test_faults_begin_and_end_on_time_and_those_that_do_not_apply_are_not_counted() -> None:
    target = FakeTarget(FakeExecutor)
    events = (FaultEvent(0.5, Kind.STOP, 1, 0.6), FaultEvent(0.7, Kind.CUT, 1, 0.1), FaultEvent(1.5, Kind.LEAVE, 0, 9.0))
    report = under(target, *events)
    assert report.injected == {"stop": 1, "leave": 1}
    assert [what for what, _ in target.done] == ["+stop", "+cut", "-stop", "+leave", "-leave"]
    assert [at_s for _, at_s in target.done] == pytest.approx([0.5, 0.7, 1.1, 1.5, 2.0], abs=0.15)


def test_a_pause_is_of_the_fault_before_it_until_the_next_fault() -> None:
    injected = [("kill", 1.2), ("cut", 3.0), ("kill", 9.0)]
    assert driver.pauses(injected, [0.0, 1.0, 1.25, 2.5, 2.75, 4.5, 4.75]) == {"kill": (1.25,), "cut": (1.5,)}


def test_what_is_left_behind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "GONE_S", 0.0)
    target = FakeTarget(FakeExecutor, leftover=frozenset(["folder before"]))
    assert under(target).problems(5.0) == ["left behind: process 7"]


def test_recoveries_are_of_failures_and_several_runs_are_one() -> None:
    faults = (Fault("crash", "d0", 1.0, 1.5), Fault("hang", "d1", 2.0), Fault(RETURN, "d0", 3.0, 3.1))
    report = under(FakeTarget(FakeExecutor, faults=faults))
    both = joined("both", [report, replace(report, recoveries_s={"crash": (2.0,)}, silence_s=4.0)])
    assert report.recoveries_s == {"crash": (0.5,)}
    assert report.faults == {"crash": 1, "hang": 1}
    assert both.recoveries_s == {"crash": (0.5, 2.0)}
    assert (both.items, both.silence_s, both.recovery_s(1)) == (2 * report.items, 4.0, 2.0)
