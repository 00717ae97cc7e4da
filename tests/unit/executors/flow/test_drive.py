import tracemalloc
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest

from multiedge.errors import ConfigError, PipelineError, StageError
from multiedge.executors.flow.contract import Record, Result, RunInterrupted
from multiedge.executors.flow.drive import UNANSWERED, ScenarioRun, run_scenario
from multiedge.executors.flow.scenarios import Scenario, scenario
from multiedge.measurements import Event, Fault
from tests.builders.flow import FakeClock


@dataclass
class OneSecondEach:
    """An executor that answers one item a second, up to `depth` under way."""

    clock: FakeClock
    on_this_machine = False
    depth: int = 2
    queue: deque = field(default_factory=deque)
    marked_s: float = 0.0
    seen: list = field(default_factory=list)

    @property
    def has_room(self):
        return len(self.queue) < self.depth

    @property
    def unanswered(self):
        return len(self.queue)

    def submit(self, item, tensors):
        assert self.has_room
        self.seen.append((item, tensors))
        self.queue.append((item, self.clock()))

    def poll(self, timeout_s):
        if timeout_s <= 0.0:
            return []
        if not self.queue:
            self.clock.now_s += timeout_s
            return []
        item, issued_s = self.queue.popleft()
        self.clock.now_s += 1.0
        return [Result(item, {}, "", issued_s, self.clock())]

    def mark(self):
        self.marked_s = self.clock()

    def record(self):
        now = self.clock()
        return Record(
            events=(Event("load", -1, 0, "d0", self.marked_s, now),),
            faults=(Fault("crash", "d0", self.marked_s + 1.0), Fault("leave", "d0", self.marked_s, now)),
        )


def run(items, how, **options):
    clock = FakeClock(1000.0)
    executor = OneSecondEach(clock)
    results, measured = run_scenario(executor, iter(items), how, clock=clock, **options)
    return executor, results, measured


def test_offline_everything_is_due_at_the_start():
    _, results, measured = run("abc", Scenario("Offline"))
    assert [result.item for result in results] == [0, 1, 2]
    assert [(item.due_s, item.issued_s, item.done_s) for item in measured.items] == [(0, 0, 1), (0, 0, 2), (0, 1, 3)]
    assert (measured.start_s, measured.stop_s) == (0.0, 3.0)


def test_a_stream_issues_an_item_when_the_one_before_is_answered():
    _, _, measured = run("abc", scenario("singlestream"))
    assert [(item.due_s, item.issued_s, item.done_s) for item in measured.items] == [(0, 0, 1), (1, 1, 2), (2, 2, 3)]


def test_a_server_issues_items_when_they_are_due_and_latency_counts_from_then():
    _, _, measured = run("ab", scenario("server", rate_per_s=0.1), seed=3)
    assert [item.issued_s for item in measured.items] == pytest.approx([item.due_s for item in measured.items])
    assert all(item.due_s > 0.0 for item in measured.items)


def test_warm_up_items_are_run_before_and_again_in_the_timed_window():
    executor, results, measured = run("abc", Scenario("Offline"), warmup_items=2)
    assert [item for item, _ in executor.seen] == [-1, -2, 0, 1, 2]
    assert [tensors for _, tensors in executor.seen] == ["a", "b", "a", "b", "c"]
    assert executor.marked_s == 1002.0
    assert (len(results), measured.warmup_items, measured.items[0].done_s) == (3, 2, 1.0)


def test_all_times_count_from_the_start_of_the_timed_window():
    _, _, measured = run("ab", Scenario("Offline"))
    assert (measured.events[0].start_s, measured.events[0].stop_s) == (0.0, 2.0)
    assert [(fault.detected_s, fault.recovered_s) for fault in measured.faults] == [(1.0, None), (0.0, 2.0)]


def test_progress_counts_new_results():
    counts = []
    run("abcd", Scenario("Offline"), progress=counts.append)
    assert sum(counts) == 4


def test_no_items_take_no_time():
    _, results, measured = run("", Scenario("Offline"))
    assert (results, measured.items, measured.wall_s) == ([], (), 0.0)


class Megabytes(OneSecondEach):
    """Answers each item with a new array of a megabyte."""

    def poll(self, timeout_s):
        return [
            Result(result.item, {"y": np.ones(1 << 20, np.uint8)}, "", result.issued_s, result.done_s)
            for result in super().poll(timeout_s)
        ]


def test_results_that_are_dropped_as_they_come_take_no_memory():
    clock = FakeClock(1000.0)
    stream = ScenarioRun(Megabytes(clock), iter(range(200)), Scenario("Offline"), clock=clock)
    tracemalloc.start()
    try:
        total = sum(len(result.require()["y"]) for result in stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (total, len(stream.measurements().items)) == (200 << 20, 200)
    assert peak < 8 << 20


def test_results_come_in_the_order_of_the_items_also_after_one_that_could_not_be_read():
    _, results, _ = run(["a", ConfigError("b.npz: is damaged"), "c"], Scenario("Offline"))
    assert [(result.item, result.error) for result in results] == [(0, ""), (1, "b.npz: is damaged"), (2, "")]


def test_an_item_that_cannot_be_submitted_fails_alone():
    class Refusing(OneSecondEach):
        def submit(self, item, tensors):
            if tensors == "b":
                raise StageError("item 1: input 'x' is missing")
            super().submit(item, tensors)

    clock = FakeClock(1000.0)
    results, measured = run_scenario(Refusing(clock), iter("abc"), Scenario("Offline"), clock=clock)
    assert [result.error for result in results] == ["", "item 1: input 'x' is missing", ""]
    assert len(measured.items) == 3


def interrupted_after(count, clock):
    """An executor and items, of which one is interrupted by Ctrl-C."""

    class Interrupted(OneSecondEach):
        left = count

        def poll(self, timeout_s):
            results = super().poll(timeout_s)
            self.left -= len(results)
            if self.left < 0:
                self.left = 1000
                self.queue.appendleft((results[0].item, results[0].issued_s))
                raise KeyboardInterrupt
            return results

    return Interrupted(clock)


def test_what_was_answered_before_an_interrupt_is_kept():
    clock = FakeClock(1000.0)
    with pytest.raises(RunInterrupted) as caught:
        run_scenario(interrupted_after(3, clock), iter("abcdefgh"), Scenario("Offline"), clock=clock)
    assert [(result.item, result.error) for result in caught.value.results] == [
        (0, ""),
        (1, ""),
        (2, ""),
        (3, UNANSWERED),
        (4, UNANSWERED),
    ]
    assert [item.error for item in caught.value.measurements.items] == ["", "", "", UNANSWERED, UNANSWERED]
    assert len(caught.value.measurements.faults) == 2


def test_items_that_were_left_under_way_are_not_taken_for_those_of_the_next_run():
    clock = FakeClock(1000.0)
    executor = interrupted_after(3, clock)
    with pytest.raises(RunInterrupted):
        run_scenario(executor, iter("abcdefgh"), Scenario("Offline"), clock=clock)
    results, _ = run_scenario(executor, iter("xy"), Scenario("Offline"), clock=clock)
    assert [result.item for result in results] == [0, 1]


def test_an_interrupt_before_the_timed_window_has_nothing_to_keep():
    clock = FakeClock(1000.0)
    executor = interrupted_after(0, clock)
    with pytest.raises(KeyboardInterrupt) as caught:
        run_scenario(executor, iter("abc"), Scenario("Offline"), warmup_items=1, clock=clock)
    assert not isinstance(caught.value, RunInterrupted)
    with pytest.raises(PipelineError, match="the timed window has not begun"):
        ScenarioRun(executor, iter("abc"), Scenario("Offline"), clock=clock).measurements()
