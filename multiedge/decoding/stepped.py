"""A model whose steps are items: whole in this process, or a pipeline of stages. States are kept where they are computed.

An item has tokens, mask and positions of one step, and the tensor that says which step of which sequence it is
(`multiedge.states`); its outputs are the logits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.backends.loading import named_errors
from multiedge.decoding.contract import Logits, ScoringSequence, StepModel, Tokens
from multiedge.decoding.inputs import StepSignature
from multiedge.errors import ConfigError, ModelError, StageError
from multiedge.states import NONE, SEQUENCE, Step

Item = Mapping[str, npt.NDArray[Any]]
Run = Callable[[Item], Item]
"""Computes one item and returns its outputs by name; StageError for one that failed."""
ATTEMPTS = 3
"""How often a step is tried."""


class SteppedModel:
    """A StepModel of what runs items.

    Args:
        run: Computes an item; called from the threads that use the sequences.
        signature: The inputs and outputs of items by what they hold.
        most: How many sequences may be open: so many have their states kept.
        name: What errors begin with.
        close: Called once by `close`.
    """

    def __init__(
        self,
        run: Run,
        signature: StepSignature,
        most: int,
        name: str = "model",
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.run, self.signature, self.name, self.most = run, signature, name, most
        self._close, self._numbers = close, count()
        self._open: set[int] = set()
        self._ended: deque[int] = deque()

    @property
    def vocabulary(self) -> int | None:
        return self.signature.vocabulary

    def open(self, batch: int = 1) -> SteppedSequence:
        if len(self._open) >= self.most:
            raise ConfigError(
                f"{self.name}: expected at most {self.most} sequences at the same time, got more; end one, or keep the states"
                " of more with --sequences"
            )
        number = next(self._numbers)
        self._open.add(number)
        return SteppedSequence(self, number, batch)

    def end(self, number: int) -> None:
        """Forgets a sequence; who keeps its states hears of it with the next item."""
        if number in self._open:
            self._open.remove(number)
            self._ended.append(number)

    def ended(self) -> int:
        """A sequence whose states are not needed any more; NONE if all that have ended are known."""
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

    def step(self, tokens: Tokens) -> Logits:
        return self._run(tokens)[:, -1]

    def score(self, tokens: Tokens) -> Logits:
        """Logits after each of the tokens, (batch, n, vocabulary); ModelError if the model gives no others than the last."""
        logits = self._run(tokens)
        if logits.shape[1] != tokens.shape[1]:
            raise ModelError(f"{self._model.name}: expected logits after {tokens.shape[1]} tokens, got {logits.shape[1]}")
        return logits

    def exchange(self, tokens: Tokens) -> Generator[Item, Item, Logits]:
        """Makes one step with tokens (batch, n).

        Yields:
            Items; the outputs of each are to be sent, or the StageError of one that failed to be thrown.

        Returns:
            Logits, (batch, n or 1, vocabulary).
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
        return np.asarray(outputs[self._model.signature.logits], np.float32)

    def _earlier(self) -> Generator[Item, Item, None]:
        """All steps before the last one again; one that fails ends that, and the last one will say why."""
        with suppress(StageError):
            pending = deque(self._items[:-1])
            while pending:
                yield pending.popleft()

    def _item(self, tokens: Tokens) -> Item:
        if tokens.ndim != 2 or len(tokens) != self.batch or not tokens.size:
            raise ModelError(f"{self._model.name}: expected tokens of {self.batch} rows, got shape {list(tokens.shape)}")
        step = Step(self._number, len(self._items), self.batch, tokens.shape[1], self._model.ended())
        return {**self._model.signature.item(tokens, self.length), SEQUENCE: step.array()}

    def close(self) -> None:
        self._model.end(self._number)

    def _run(self, tokens: Tokens) -> Logits:
        steps = self.exchange(tokens)
        item = next(steps)
        with named_errors(self._model.name):
            while True:
                try:
                    item = steps.send(self._model.run(item))
                except StageError as error:
                    item = steps.throw(error)
                except StopIteration as end:
                    return np.asarray(end.value)


def _check(model: SteppedModel, sequence: SteppedSequence) -> tuple[StepModel, ScoringSequence]:
    """For the type checker: the classes follow the protocols."""
    return model, sequence
