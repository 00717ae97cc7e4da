"""What the driver needs of the thing under test: a Target; and items whose answers are known."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np

from multiedge.executors.flow.contract import Executor, Tensors
from tests.chaos.schedule import FaultEvent, Kind, Schedule


class Work(Protocol):
    """Items by number, and the oracle of their answers."""

    def item(self, number: int, poison: Kind | None) -> Tensors:
        """The item's inputs; those of a poison item do to the stages what its kind says."""
        ...

    def is_right(self, number: int, answer: Tensors) -> bool:
        """Whether `answer` is that of this item and of no other near it."""
        ...


class Running(Protocol):
    """A started pipeline, and the hand that harms it. All calls come from one thread, between two polls of the executor."""

    executor: Executor
    work: Work

    def inject(self, event: FaultEvent) -> bool:
        """Makes the fault happen; False if it does not apply now, for instance because no process runs."""
        ...

    def restore(self, event: FaultEvent) -> None:
        """Ends a fault that lasts."""
        ...


class Target(Protocol):
    """Something that runs pipelines."""

    name: str
    kinds: frozenset[Kind]
    """The kinds that apply to it; poison items too."""

    def open(self, folder: Path, schedule: Schedule) -> AbstractContextManager[Running]:
        """Starts a pipeline whose files are in the empty `folder`. It is closed when the block ends."""
        ...

    def left(self) -> frozenset[str]:
        """What is there now and must be gone after a run, in words: processes, folders, networks, sockets."""
        ...


class Numbers:
    """Vectors of the item's number; the synthetic chain adds 1 per stage."""

    CRASH, HANG, MEMORY = -1.0, -2.0, -3.0
    """The value of an item that does so, for the description of the first stage."""

    def __init__(self, stages: int, width: int = 4096) -> None:
        self._stages, self._width = stages, width

    def item(self, number: int, poison: Kind | None) -> Tensors:
        if poison is Kind.POISON_INPUT:
            return {"t0": np.full(self._width, "poison")}
        values = {Kind.POISON_CRASH: self.CRASH, Kind.POISON_HANG: self.HANG, Kind.POISON_MEMORY: self.MEMORY}
        return {"t0": np.full(self._width, values.get(poison, float(number)) if poison else float(number), dtype=np.float32)}

    def is_right(self, number: int, answer: Tensors) -> bool:
        made = answer[f"t{self._stages}"]
        return bool(made.shape == (self._width,) and (made == number + self._stages).all())


class Answers:
    """Inputs whose answers were computed beforehand; neighbouring items have different ones."""

    def __init__(self, inputs: list[Tensors], answers: list[Tensors], poison: Tensors) -> None:
        self._inputs, self._answers, self._poison = inputs, answers, poison

    def item(self, number: int, poison: Kind | None) -> Tensors:
        return self._poison if poison else self._inputs[number % len(self._inputs)]

    def is_right(self, number: int, answer: Tensors) -> bool:
        expected = self._answers[number % len(self._answers)]
        return answer.keys() == expected.keys() and all(
            np.allclose(answer[name], expected[name], rtol=1e-5, atol=1e-6) for name in expected
        )
