"""What the loop needs of a language model: sequences that take tokens and give the logits of the next one.

A whole model in this process and a pipeline of stages both follow it; the loop does not know which it has.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]


class Sequence(Protocol):
    """Tokens so far, and the states that the model has of them; `batch` rows of equal length."""

    @property
    def batch(self) -> int: ...

    @property
    def length(self) -> int:
        """Tokens of each row that the model has seen."""
        ...

    def step(self, tokens: Tokens) -> Logits:
        """Logits of the next token of each row, (batch, vocabulary), after the tokens so far and these, (batch, n).

        Raises ModelError if the model cannot take so many tokens.
        """
        ...

    def score(self, tokens: Tokens, last: int | None = None) -> Logits:
        """As `step`, with the logits after each of the last tokens, by default after all: (batch, last, vocabulary).

        Raises ModelError as well if the model gives fewer.
        """
        ...

    def cut(self, length: int) -> None:
        """Takes back the tokens behind the first `length`; the next step does so with states.

        Raises ModelError if there are fewer, or a state cannot be cut.
        """
        ...

    def close(self) -> None:
        """Frees the states. May be called twice."""
        ...


class StepModel(Protocol):
    """A language model. Several sequences may be open; each is used by one thread at a time."""

    @property
    def vocabulary(self) -> int | None:
        """Number of tokens that have logits; None if the model does not state it."""
        ...

    def open(self, batch: int = 1) -> Sequence:
        """A sequence without tokens."""
        ...

    def close(self) -> None: ...
