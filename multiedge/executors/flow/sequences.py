"""Sequences of a running plan with states: each step is an item, and what a fault took away is made again.

The inputs of all steps stay here, as the ledger has those of items. If a step fails, the steps of its sequence are sent again
from the first: stages that still have their states answer what they answered then, and only one that lost them computes. If
that is not enough, they are sent once more under a new number, and every stage computes them.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count
from typing import Any, Protocol

from multiedge.errors import StageError
from multiedge.executors.flow.contract import Array, Result, Tensors
from multiedge.states import NONE, SEQUENCE, Step

WAIT_S, WAKE_S = 0.1, 0.001
"""How long a thread waits for results, and for another one to stop waiting, before it looks again."""


class RunsItems(Protocol):
    """What sequences need of an executor."""

    @property
    def has_room(self) -> bool: ...

    def submit(self, item: int, tensors: Tensors) -> None: ...

    def poll(self, timeout_s: float) -> list[Result]: ...

    def wake(self) -> None: ...


class Sequences:
    """The sequences of one executor, which is used by nothing else while there are any. Safe for use from several threads."""

    def __init__(self, executor: RunsItems) -> None:
        self._executor = executor
        self._change = threading.Condition()
        self._is_polled, self._submitting = False, 0
        self._items, self._numbers = count(), count()
        self._results: dict[int, Result] = {}
        self._abandoned: set[int] = set()
        self._ended: list[int] = []

    def open(self, batch: int = 1) -> OpenSequence:
        """A new sequence of `batch` rows."""
        return OpenSequence(self, batch)

    def new_number(self) -> int:
        """A number that no sequence has."""
        return next(self._numbers)

    def submit(self, tensors: Tensors, step: Step) -> int:
        """Sends the item of a step; its number."""
        with self._change:
            self._submitting += 1
            while self._is_polled:
                self._executor.wake()
                self._change.wait(WAKE_S)
            try:
                while not self._executor.has_room:
                    self._keep(self._executor.poll(WAIT_S))
                ended = self._ended.pop() if self._ended else NONE
                item = next(self._items)
                self._executor.submit(item, {**tensors, SEQUENCE: replace(step, ended=ended).array()})
            finally:
                self._submitting -= 1
                self._change.notify_all()
        return item

    def result(self, item: int) -> Result:
        """The answer to an item; waits for it."""
        with self._change:
            while item not in self._results:
                if self._is_polled or self._submitting:
                    self._change.wait(WAIT_S)
                else:
                    self._poll()
            return self._results.pop(item)

    def abandon(self, item: int) -> None:
        """The answer to an item is not asked for any more."""
        with self._change:
            if self._results.pop(item, None) is None:
                self._abandoned.add(item)

    def end(self, number: int) -> None:
        """The states of a sequence are freed with the next item."""
        with self._change:
            self._ended.append(number)

    def _poll(self) -> None:
        """Waits for results, for all threads; one that wants to send an item wakes this one."""
        self._is_polled = True
        self._change.release()
        try:
            results = self._executor.poll(WAIT_S)
        finally:
            self._change.acquire()
            self._is_polled = False
            self._change.notify_all()
        self._keep(results)

    def _keep(self, results: list[Result]) -> None:
        for result in results:
            if result.item in self._abandoned:
                self._abandoned.remove(result.item)
            else:
                self._results[result.item] = result


class OpenSequence:
    """One sequence, used by one thread at a time.

    Attributes:
        batch: Its rows.
        length: Tokens of each row so far.
        replays: How often its steps were sent again after a fault.
    """

    def __init__(self, sequences: Sequences, batch: int) -> None:
        self.batch, self.length, self.replays = batch, 0, 0
        self._sequences, self._number = sequences, sequences.new_number()
        self._steps: list[tuple[dict[str, Any], int, int]] = []
        self._is_open = True

    @property
    def steps(self) -> int:
        """Steps so far."""
        return len(self._steps)

    def step(self, tensors: Tensors, tokens: int = 1, past: int = NONE) -> dict[str, Array]:
        """The model's outputs at the next step.

        Args:
            tensors: The model's inputs without SEQUENCE; they are kept.
            tokens: Tokens of the step, by how much states grow.
            past: Tokens before the step, to which the states are cut; NONE for all.

        Returns:
            Outputs by name.

        Raises:
            StageError: If the step fails, also after the steps before it were sent again.
        """
        self._steps.append((dict(tensors), tokens, past))
        result = self._sequences.result(self._submit(len(self._steps) - 1))
        if result.tensors is None:
            result = self._replayed()
        if result.tensors is None:
            result = self._replayed(anew=True)
        if result.tensors is None:
            self._steps.pop()
            raise StageError(f"step {len(self._steps)}: {result.error}")
        self.length = tokens + (self.length if past == NONE else past)
        return result.tensors

    def close(self) -> None:
        """Frees the states. May be called twice."""
        if self._is_open:
            self._is_open = False
            self._sequences.end(self._number)
            self._steps.clear()

    def _submit(self, number: int) -> int:
        tensors, tokens, past = self._steps[number]
        return self._sequences.submit(tensors, Step(self._number, number, self.batch, tokens, past=past))

    def _replayed(self, *, anew: bool = False) -> Result:
        """The answer to the last step after all were sent again, under a new number if `anew`."""
        self.replays += 1
        if anew:
            self._sequences.end(self._number)
            self._number = self._sequences.new_number()
        items = []
        for number in range(len(self._steps)):
            items.append(self._submit(number))
            if len(items) > 1:
                self._sequences.abandon(items[-2])
        return self._sequences.result(items[-1])
