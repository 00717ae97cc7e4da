"""Sequences on an executor: steps as items, and what is sent again after a fault."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from multiedge.backends.stateful import StatefulSession
from multiedge.errors import StageError
from multiedge.executors.flow.contract import Result, Tensors
from multiedge.executors.flow.sequences import OpenSequence, Sequences
from multiedge.states import SEQUENCE, Step
from tests.builders.sequences import TOTAL, Summing


class TwoStages:
    """An executor of two stages that sum what they get, one after the other."""

    has_room = True

    def __init__(self) -> None:
        self.raw = [Summing(), Summing()]
        self.stages = [StatefulSession(raw, [TOTAL], most=4) for raw in self.raw]
        self.results: deque[Result] = deque()
        self.refused = 0
        self.seen: list[Step] = []

    def submit(self, item: int, tensors: Tensors) -> None:
        self.seen.append(Step.of(tensors[SEQUENCE]))
        values = dict(tensors)
        try:
            if self.refused:
                self.refused -= 1
                raise StageError("the device has ended")
            for stage in self.stages:
                values["x"] = stage.run(values)["y"]
            self.results.append(Result(item, {"y": values["x"]}))
        except StageError as error:
            self.results.append(Result(item, None, str(error)))

    def poll(self, timeout_s: float) -> list[Result]:
        ready = list(self.results)
        self.results.clear()
        return ready

    def wake(self) -> None:
        pass

    def lose(self, stage: int) -> None:
        """Another process has the stage now."""
        self.raw[stage] = Summing()
        self.stages[stage] = StatefulSession(self.raw[stage], [TOTAL], most=4)


def value_of(sequence: OpenSequence, value: float = 1.0) -> float:
    return float(sequence.step({"x": np.full((1, 1), value, np.float32)})["y"][0, 0])


def test_each_step_follows_the_one_before() -> None:
    sequence = Sequences(TwoStages()).open()
    assert [value_of(sequence) for _ in range(4)] == [1.0, 3.0, 6.0, 10.0]
    assert sequence.length == sequence.steps == 4


def test_only_the_stage_that_lost_its_states_computes_again() -> None:
    executor = TwoStages()
    sequence = Sequences(executor).open()
    for _ in range(5):
        value_of(sequence)
    executor.lose(1)
    assert value_of(sequence) == 21.0
    assert (executor.raw[0].runs, executor.raw[1].runs) == (6, 6)
    assert sequence.replays == 1


def test_a_step_that_fails_once_is_sent_again() -> None:
    executor = TwoStages()
    sequence = Sequences(executor).open()
    value_of(sequence)
    executor.refused = 1
    assert value_of(sequence) == 3.0


def test_a_sequence_begins_anew_where_what_was_answered_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiedge.backends.stateful.KEPT_BYTES", 4)
    executor = TwoStages()
    sequence = Sequences(executor).open()
    for _ in range(3):
        value_of(sequence)
    executor.lose(1)
    assert value_of(sequence) == 10.0
    assert sequence.replays == 2


def test_a_step_that_fails_again_and_again_is_an_error_and_the_sequence_goes_on() -> None:
    executor = TwoStages()
    sequence = Sequences(executor).open()
    value_of(sequence)
    executor.refused = 100
    with pytest.raises(StageError, match="step 1: the device has ended"):
        value_of(sequence)
    executor.refused = 0
    assert value_of(sequence) == 3.0


def test_sequences_have_their_own_numbers_and_one_that_ended_is_freed_with_the_next_item() -> None:
    executor = TwoStages()
    sequences = Sequences(executor)
    one, two = sequences.open(), sequences.open()
    assert (value_of(one), value_of(two), value_of(one)) == (1.0, 1.0, 3.0)
    one.close()
    one.close()
    value_of(two)
    assert executor.stages[0].sequences == (1,)
    assert [step.ended for step in executor.seen] == [-1, -1, -1, 0]


class Slow(TwoStages):
    """The same, whose `poll` waits until `wake` is called if there is no result."""

    def __init__(self) -> None:
        super().__init__()
        self.woken = threading.Event()
        self.is_used = threading.Lock()

    def submit(self, item: int, tensors: Tensors) -> None:
        assert self.is_used.acquire(blocking=False)
        super().submit(item, tensors)
        self.is_used.release()

    def poll(self, timeout_s: float) -> list[Result]:
        assert self.is_used.acquire(blocking=False)
        if len(self.results) < 2:
            self.woken.wait(10.0)
            self.woken.clear()
        ready = super().poll(timeout_s) if len(self.results) > 1 else []
        self.is_used.release()
        return ready

    def wake(self) -> None:
        self.woken.set()


def test_a_sequence_sends_its_step_while_another_waits_for_its_own() -> None:
    """There are results only once both steps are there; the executor is used by one thread at a time."""
    sequences = Sequences(Slow())
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            values = list(pool.map(value_of, [sequences.open(), sequences.open()], timeout=20.0))
            assert values == [1.0, 1.0]
