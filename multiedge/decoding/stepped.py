"""A model whose steps are items: whole in this process, or a pipeline of stages. States are kept where they are computed.

An item has tokens, mask and positions of one step, and the tensor that says which step of which sequence it is
(`multiedge.states`); its outputs are the logits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.backends.loading import named_errors
from multiedge.decoding.contract import Logits, Sequence, StepModel, Tokens
from multiedge.decoding.inputs import StepSignature
from multiedge.errors import ConfigError, ModelError, StageError
from multiedge.states import NONE, SEQUENCE, Step

Item = Mapping[str, npt.NDArray[Any]]
Run = Callable[[Item], Item]
"""Computes one item and returns its outputs by name; StageError for one that failed."""
ATTEMPTS = 3
"""How often a step is tried."""


class SteppedModel:
    """A StepModel of what runs items. Safe between threads if `run` is.

    Args:
        run: Computes an item; called from the threads that use the sequences.
        signature: The inputs and outputs of items by what they hold.
        most: How many sequences may be open: so many have their states kept.
        name: What errors begin with.
        close: Called once by `close`.
        first: Number of the first sequence.
    """

    def __init__(
        self,
        run: Run,
        signature: StepSignature,
        most: int,
        name: str = "model",
        close: Callable[[], None] = lambda: None,
        first: int = 0,
    ) -> None:
        self.run, self.signature, self.name, self.most = run, signature, name, most
        self._close, self._numbers = close, count(first)
        self._lock = threading.Lock()
        self._open: set[int] = set()
        self._ended: deque[int] = deque()

    @property
    def vocabulary(self) -> int | None:
        return self.signature.vocabulary

    @property
    def has_room(self) -> bool:
        """Whether one more sequence may be open."""
        return len(self._open) < self.most

    def open(self, batch: int = 1) -> SteppedSequence:
        with self._lock:
            if not self.has_room:
                raise ConfigError(
                    f"{self.name}: expected at most {self.most} sequences at the same time, got more; end one, or keep the"
                    " states of more with --sequences"
                )
            number = next(self._numbers)
            self._open.add(number)
        return SteppedSequence(self, number, batch)

    def end(self, number: int) -> None:
        """Forgets a sequence; who keeps its states hears of it with the next item."""
        with self._lock:
            if number in self._open:
                self._open.remove(number)
                self._ended.append(number)

    def ended(self) -> int:
        """A sequence whose states are not needed any more; NONE if all that have ended are known."""
        with self._lock:
            return self._ended.popleft() if self._ended else NONE

    def close(self) -> None:
        self._close()


class SteppedSequence:
    """A sequence of it.

    `exchange` is for who has several sequences under way. A step that fails because a stage has lost its states is tried again
    after all steps before it: stages that still have theirs answer from memory, so that the tokens stay the same.
    """

    def __init__(self, model: SteppedModel, number: int, batch: int) -> None:
        self.batch, self.length = batch, 0
        self._model, self._number = model, number
        self._items: list[Item] = []
        self._is_cut = False

    def step(self, tokens: Tokens) -> Logits:
        return self._run(tokens, 1)[:, -1]

    def score(self, tokens: Tokens, last: int | None = None) -> Logits:
        return self._run(tokens, tokens.shape[1] if last is None else last)

    def cut(self, length: int) -> None:
        if length == self.length:
            return
        if self._model.signature.no_cut:
            raise ModelError(f"{self._model.name}: {self._model.signature.no_cut}")
        if not 0 <= length < self.length:
            raise ModelError(f"{self._model.name}: expected 0 to {self.length} tokens to be left, got {length}")
        self.length, self._is_cut = length, True

    def exchange(self, tokens: Tokens, last: int = 1) -> Generator[Item, Item, Logits]:
        """Makes one step with tokens (batch, n), after each of the last of which logits are asked for.

        Yields:
            Items; the outputs of each are to be sent, or the StageError of one that failed to be thrown.

        Returns:
            Logits, (batch, last, vocabulary).
        """
        self._items.append(self._item(tokens))
        self.length += tokens.shape[1]
        for attempt in range(1, ATTEMPTS + 1):
            try:
                outputs = yield self._items[-1]
                break
            except StageError:
                if attempt == ATTEMPTS:
                    raise
            yield from self._earlier()
        logits = np.asarray(outputs[self._model.signature.logits], np.float32)
        if logits.shape[1] < last:
            raise ModelError(f"{self._model.name}: expected logits after each of {last} tokens, got {logits.shape[1]}")
        return logits[:, logits.shape[1] - last :]

    def _earlier(self) -> Generator[Item, Item, None]:
        """All steps before the last one again; one that fails ends that, and the last one will say why."""
        with suppress(StageError):
            pending = deque(self._items[:-1])
            while pending:
                yield pending.popleft()

    def _item(self, tokens: Tokens) -> Item:
        if tokens.ndim != 2 or len(tokens) != self.batch or not tokens.size:
            raise ModelError(f"{self._model.name}: expected tokens of {self.batch} rows, got shape {list(tokens.shape)}")
        past = self.length if self._is_cut else NONE
        step = Step(self._number, len(self._items), self.batch, tokens.shape[1], self._model.ended(), past)
        self._is_cut = False
        return {**self._model.signature.item(tokens, self.length), SEQUENCE: step.array()}

    def close(self) -> None:
        self._model.end(self._number)

    def _run(self, tokens: Tokens, last: int) -> Logits:
        steps = self.exchange(tokens, last)
        item = next(steps)
        with named_errors(self._model.name):
            while True:
                try:
                    item = steps.send(self._model.run(item))
                except StageError as error:
                    item = steps.throw(error)
                except StopIteration as end:
                    return np.asarray(end.value)


def _check(model: SteppedModel, sequence: SteppedSequence) -> tuple[StepModel, Sequence]:
    """For the type checker: the classes follow the protocols."""
    return model, sequence
