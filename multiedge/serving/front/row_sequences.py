"""Sequences of a model with states stay on one row of its deployment, whose stages have their states.

`RowsModel` is the language model of a deployment; `ClientSequences` knows the rows of sequences whose steps clients send.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from multiedge.decoding.contract import Logits, StepModel, Tokens
from multiedge.decoding.contract import Sequence as TokenSequence
from multiedge.decoding.inputs import StepSignature
from multiedge.decoding.stepped import Item, SteppedModel, SteppedSequence
from multiedge.errors import StageError
from multiedge.serving.front.attempts import AttemptRules
from multiedge.serving.front.engine import ItemFailed, RowFailed
from multiedge.serving.front.rows import ServingRow
from multiedge.serving.inference.contract import Busy, Unavailable
from multiedge.states import NONE, SEQUENCE, Step

FIRST_NUMBER = 1 << 62
"""Sequences of a RowsModel have numbers from here on, those of clients have numbers below."""
MOST_KNOWN = 1024
"""Sequences of clients whose row is known, those that were used last."""
LONGEST_PAUSE_S = 2.0
_Begun = tuple[ServingRow, SteppedSequence]


class RowsModel:
    """A StepModel whose sequences are computed by the rows of a deployment. Safe between threads.

    Args:
        name: Of the deployment.
        signature: The inputs and outputs of items by what they hold.
        most: How many sequences each row keeps, by its name.
        preferred: The rows that may answer now, the best one first; called for each new sequence.
        rules: How long a step waits for a row.
    """

    def __init__(
        self,
        name: str,
        signature: StepSignature,
        most: Mapping[str, int],
        preferred: Callable[[], Sequence[ServingRow]],
        rules: AttemptRules,
    ) -> None:
        self.name, self.rules = name, rules
        self._signature, self._most, self._preferred = signature, most, preferred
        self._models: dict[str, SteppedModel] = {}
        self._lock = threading.Lock()

    @property
    def vocabulary(self) -> int | None:
        return self._signature.vocabulary

    def open(self, batch: int = 1) -> RowsSequence:
        return RowsSequence(self, batch)

    def begin(self, batch: int, failures: Mapping[str, int]) -> _Begun:
        """A sequence on a row with room for it: the best one of those that have failed least. Busy if no row has room."""
        rows = sorted(self._preferred(), key=lambda row: failures.get(row.name, 0))
        with self._lock:
            for row in rows:
                model = self._models.get(row.name) or self._model_of(row)
                if model.has_room:
                    row.open()
                    return row, model.open(batch)
        raise Busy(f"'{self.name}' keeps as many sequences as its plans have room for; send the request later")

    def close(self) -> None:
        """The rows are closed by who has opened them."""

    def _model_of(self, row: ServingRow) -> SteppedModel:
        model = SteppedModel(partial(_run, row), self._signature, self._most[row.name], self.name, first=FIRST_NUMBER)
        self._models[row.name] = model
        return model


class RowsSequence:
    """A sequence of it. If its row fails, another one computes the steps so far once more, as they were, and goes on."""

    def __init__(self, model: RowsModel, batch: int) -> None:
        self.batch, self.length = batch, 0
        self._model = model
        self._given: list[tuple[int, Tokens]] = []
        self._row, self._sequence = model.begin(batch, {})

    def step(self, tokens: Tokens) -> Logits:
        return self.score(tokens, 1)[:, -1]

    def cut(self, length: int) -> None:
        self._sequence.cut(length)
        self.length = length

    def score(self, tokens: Tokens, last: int | None = None) -> Logits:
        self._given.append((self.length, tokens))
        pending = self._given[-1:]
        failures: Counter[str] = Counter()
        until_s = time.monotonic() + self._model.rules.patience_s
        while True:
            try:
                logits = self._computed(pending, tokens.shape[1] if last is None else last)
                break
            except RowFailed as error:
                failures[self._row.name] += 1
                self._move(failures, until_s, error)
                pending = self._given
        self.length += tokens.shape[1]
        return logits

    def close(self) -> None:
        self._sequence.close()

    def _computed(self, given: Sequence[tuple[int, Tokens]], last: int) -> Logits:
        """The logits after the last of the steps, each with the number of tokens before it: some were taken back."""
        for past, tokens in given[:-1]:
            self._sequence.cut(past)
            self._sequence.step(tokens)
        past, tokens = given[-1]
        self._sequence.cut(past)
        return self._sequence.score(tokens, last)

    def _move(self, failures: Mapping[str, int], until_s: float, error: RowFailed) -> None:
        """Begins anew on the row that failed least; after a pause on one that did, and not after `until_s`."""
        self._sequence.close()
        self._row, self._sequence = self._model.begin(self.batch, failures)
        count = failures.get(self._row.name, 0)
        pause_s = min(LONGEST_PAUSE_S, self._model.rules.pause_s * 2 ** (count - 1)) if count else 0.0
        if time.monotonic() + pause_s > until_s:
            raise Unavailable(f"no row has answered within {self._model.rules.patience_s:g} s: {error}") from error
        time.sleep(pause_s)
        self._row.open()


class ClientSequences:
    """The rows of sequences whose steps clients send. Safe between threads."""

    def __init__(self) -> None:
        self._rows: OrderedDict[int, str] = OrderedDict()
        self._lock = threading.Lock()

    def rows_of(self, step: Step, rows: Sequence[ServingRow]) -> Sequence[ServingRow]:
        """Of the rows that may compute a step, the one that has the states before it; all for the first step, and where that
        row is not known or may not be used: their error asks the client to begin anew."""
        with self._lock:
            known = self._rows.get(step.sequence) if step.step else None
        return [row for row in rows if row.name == known] or rows

    def computed(self, step: Step, row: str) -> None:
        """The row has the states after a step now."""
        with self._lock:
            self._rows.pop(step.ended, None)
            if step.sequence != NONE:
                self._rows[step.sequence] = row
                self._rows.move_to_end(step.sequence)
            while len(self._rows) > MOST_KNOWN:
                self._rows.popitem(last=False)


def _run(row: ServingRow, item: Item) -> Item:
    """The outputs of an item that the row computes. StageError if it could not, RowFailed if the row has ended."""
    # The plan is for a step of one token; a prompt takes longer, and says nothing about the row.
    is_usual = Step.of(np.asarray(item[SEQUENCE])).tokens == 1 and not row.engine.waiting
    begin_s = time.monotonic()
    try:
        answer = row.begin(item).result()
    except ItemFailed as error:
        raise StageError(str(error)) from error
    row.answered(answer.done_s - begin_s, in_time=True, was_alone=is_usual)
    return answer.tensors


def _check(model: RowsModel, sequence: RowsSequence) -> tuple[StepModel, TokenSequence]:
    """For the type checker: the classes follow the protocols."""
    return model, sequence
