"""Sequences stay on the row that has their states, and go on elsewhere if it fails."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from multiedge.backends.stateful import StatefulSession
from multiedge.decoding.inputs import StepSignature
from multiedge.errors import StageError
from multiedge.executors.flow.contract import Result
from multiedge.graph import Tensor
from multiedge.serving.front.row_sequences import MOST_KNOWN, ClientSequences, RowsModel, RowsSequence
from multiedge.serving.inference.contract import Busy, InferRequest, Unavailable
from multiedge.serving.signature import Signature
from multiedge.states import NONE, SEQUENCE, Step
from tests.builders.front import QUICK, FakePipeline, Rows, fake_rows
from tests.builders.sequences import TOTAL, Summing

STEPS = StepSignature(Tensor("x", "float32"), None, None, "y", None)
ENDS = Signature({"x": Tensor("x", "float32", (None, None)), SEQUENCE: Tensor(SEQUENCE, "int64", (None,))}, {"y": Tensor("y")})


class SummingPipeline(FakePipeline):
    """Sums what it gets in each sequence; a pipeline that is opened again knows nothing of before."""

    def __enter__(self) -> SummingPipeline:
        self.raw = Summing()
        self.session = StatefulSession(self.raw, [TOTAL], most=4)
        super().__enter__()
        return self

    def submit(self, item: int, tensors: Mapping[str, Any]) -> None:
        self.computed += 1
        self._items.append((item, dict(tensors), time.monotonic()))

    def _result(self, item: int, tensors: Any, now: float) -> Result:
        try:
            return Result(item, self.session.run(tensors), done_s=now)
        except StageError as error:
            return Result(item, None, str(error))

    def end(self) -> None:
        """As if it had no device left."""
        self.ended = "no device is left"
        self.wake()


class CuttingPipeline(SummingPipeline):
    """The same for sequences whose last values are taken back."""

    def __enter__(self) -> CuttingPipeline:
        self.values: list[float] = []
        super().__enter__()
        return self

    def _result(self, item: int, tensors: Any, now: float) -> Result:
        past = Step.of(tensors[SEQUENCE]).past
        self.values = [*self.values[: None if past == NONE else past], *tensors["x"][0]]
        return Result(item, {"y": np.array([[sum(self.values)]], np.float32)}, done_s=now)


def summing(stack: ExitStack, *names: str, kind: type[SummingPipeline] = SummingPipeline) -> Rows:
    held = stack.enter_context(fake_rows({name: kind() for name in names}))
    held.model._signature = ENDS
    return held


def model_of(held: Rows, most: int = 2) -> RowsModel:
    rules = QUICK.attempts
    return RowsModel("small", STEPS, dict.fromkeys(held.rows, most), held.model.rows_for_sequence, rules)


def total(sequence: RowsSequence, value: int = 1) -> float:
    return float(sequence.step(np.full((1, 1), value))[0])


def test_all_steps_of_a_sequence_go_to_the_row_on_which_it_began() -> None:
    with ExitStack() as stack:
        held = summing(stack, "first", "second")
        sequence = model_of(held).open()
        assert [total(sequence) for _ in range(3)] == [1.0, 2.0, 3.0]
        assert [pipeline.computed for pipeline in held.pipelines.values()] == [3, 0]
        assert sequence.length == 3


def test_a_sequence_for_which_the_best_row_has_no_room_begins_on_another() -> None:
    with ExitStack() as stack:
        held = summing(stack, "first", "second")
        model = model_of(held, most=1)
        sequences = [model.open(), model.open()]
        assert [total(sequence, value) for sequence, value in zip(sequences, (1, 5), strict=True)] == [1.0, 5.0]
        assert [pipeline.computed for pipeline in held.pipelines.values()] == [1, 1]
        with pytest.raises(Busy, match="'small' keeps as many sequences as its plans have room for"):
            model.open()
        sequences[0].close()
        assert total(model.open(), 7) == 7.0


def test_another_row_computes_the_steps_again_if_the_first_one_ends() -> None:
    with ExitStack() as stack:
        held = summing(stack, "first", "second")
        sequence = model_of(held).open()
        before = [total(sequence) for _ in range(3)]
        held.pipelines["first"].end()
        assert [*before, *(total(sequence) for _ in range(2))] == [1.0, 2.0, 3.0, 4.0, 5.0]
        assert held.pipelines["second"].computed == 5


def test_another_row_computes_the_steps_again_with_what_was_taken_back() -> None:
    with ExitStack() as stack:
        held = summing(stack, "first", "second", kind=CuttingPipeline)
        sequence = model_of(held).open()
        total(sequence)
        sequence.step(np.full((1, 3), 10))
        sequence.cut(2)
        assert (total(sequence, 5), sequence.length) == (16.0, 3)
        held.pipelines["first"].end()
        assert (total(sequence), sequence.length) == (17.0, 4)
        assert held.pipelines["second"].computed == 4


def test_a_row_alone_is_opened_again_and_computes_the_steps_again() -> None:
    with ExitStack() as stack:
        held = summing(stack, "first")
        sequence = model_of(held).open()
        assert total(sequence) == 1.0
        held.pipelines["first"].end()
        assert [total(sequence) for _ in range(2)] == [2.0, 3.0]
        assert held.pipelines["first"].opened == 2


def test_a_step_that_no_row_answers_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        held = summing(stack, "first")
        sequence = model_of(held).open()
        monkeypatch.setattr(SummingPipeline, "__enter__", _cannot_start)
        held.pipelines["first"].end()
        begin_s = time.monotonic()
        with pytest.raises(Unavailable, match="no row has answered within 2 s: row 'first'"):
            total(sequence)
        assert time.monotonic() - begin_s < QUICK.attempts.patience_s + 1


def _cannot_start(pipeline: SummingPipeline) -> SummingPipeline:
    raise StageError("no device is there")


def steps_of(held: Rows, *numbers: int, ended: int = -1, **parameters: str) -> list[tuple[str, float]]:
    """The row that computed each step of sequence 0, and its value."""
    replies = []
    for number in numbers:
        inputs = {"x": np.ones((1, 1), np.float32), SEQUENCE: Step(0, number, ended=ended).array()}
        reply = held.model.infer(InferRequest("small", inputs, parameters=parameters))
        replies.append((str(reply.parameters["row"]), float(reply.outputs["y"][0, 0])))
    return replies


def test_the_steps_that_a_client_sends_go_to_the_row_of_the_first() -> None:
    with ExitStack() as stack:
        held = summing(stack, "first", "second")
        assert steps_of(held, 0, row="second") == [("second", 1.0)]
        assert steps_of(held, 1, 2) == [("second", 2.0), ("second", 3.0)]
        assert steps_of(held, 0) == [("first", 1.0)]


def test_rows_of_sequences_that_ended_or_were_not_used_lately_are_forgotten() -> None:
    known = ClientSequences()
    for number in range(MOST_KNOWN + 1):
        known.computed(Step(number), "second")
    known.computed(Step(5, 1, ended=7), "second")
    with ExitStack() as stack:
        rows = list(summing(stack, "first", "second").rows.values())
        names = [[row.name for row in known.rows_of(Step(number, 1), rows)] for number in (0, 5, 7, MOST_KNOWN)]
    assert names == [["first", "second"], ["second"], ["first", "second"], ["second"]]
