"""Items that depend on answers: each source waits for its own, and not for those of others."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from multiedge.errors import StageError
from multiedge.executors.flow.contract import Record, Result
from multiedge.executors.flow.feedback import Feedback, run_feedback
from tests.builders.flow import FakeClock


@dataclass
class Doubling:
    """Answers the first item under way with twice its value, a second each; a negative one fails."""

    clock: FakeClock = field(default_factory=FakeClock)
    on_this_machine = False
    depth: int = 2
    queue: deque[tuple[int, float, float]] = field(default_factory=deque)
    most: int = 0

    @property
    def has_room(self) -> bool:
        return len(self.queue) < self.depth

    def submit(self, item: int, tensors: Any) -> None:
        assert self.has_room
        self.queue.append((item, float(tensors["x"]), self.clock()))
        self.most = max(self.most, len(self.queue))

    def poll(self, timeout_s: float) -> list[Result]:
        item, value, issued_s = self.queue.popleft()
        self.clock.now_s += 1.0
        tensors = {"y": np.float32(2 * value)} if value >= 0 else None
        return [Result(item, tensors, "" if tensors else "stage 0 failed", issued_s, self.clock())]

    def mark(self) -> None:
        pass

    def record(self) -> Record:
        return Record()


def powers(count: int, got: list[float], start: float = 1.0) -> Feedback:
    value = start
    for _ in range(count):
        outputs = yield {"x": np.float32(value)}
        value = float(outputs["y"])
        got.append(value)


def run(executor: Doubling, *sources: Generator[Any, Any, None]) -> Any:
    return run_feedback(executor, sources, clock=executor.clock)


def test_each_item_is_made_of_the_answer_to_the_one_before() -> None:
    first, second = [], []
    measured = run(Doubling(), powers(3, first), powers(2, second, start=10.0))
    assert (first, second) == ([2, 4, 8], [20, 40])
    assert len(measured.items) == 5
    assert (measured.start_s, measured.stop_s) == (0.0, 5.0)


def test_sources_are_under_way_at_the_same_time_as_far_as_there_is_room() -> None:
    executor = Doubling(depth=2)
    run(executor, *(powers(4, []) for _ in range(3)))
    assert executor.most == 2


def test_an_item_is_due_once_it_is_there() -> None:
    measured = run(Doubling(), powers(3, []))
    assert [(item.due_s, item.done_s) for item in measured.items] == [(0, 1), (1, 2), (2, 3)]


def test_a_source_hears_of_an_item_that_failed() -> None:
    def careful(caught: list[str]) -> Feedback:
        try:
            yield {"x": np.float32(-1)}
        except StageError as error:
            caught.append(str(error))
        yield {"x": np.float32(1)}

    caught: list[str] = []
    measured = run(Doubling(), careful(caught))
    assert caught == ["item 0: stage 0 failed"]
    assert [item.error for item in measured.items] == ["stage 0 failed", ""]


def test_a_failure_that_no_source_handles_ends_the_run() -> None:
    with pytest.raises(StageError, match="item 0: stage 0 failed"):
        run(Doubling(), powers(2, [], start=-1.0))


def test_a_source_without_items_ends_nothing() -> None:
    got: list[float] = []
    run(Doubling(), powers(0, []), powers(1, got))
    assert got == [2]
