"""Tokens that a small model proposes, so that the model itself computes several of them in one step.

A step of one token and a step of a few take a pipeline about as long: each is one turn through all stages. A proposed token is
taken where the model chooses the same one; behind the first that differs, proposals are dropped, and states are cut. So the
tokens are those that the model makes without a draft, with a seed too (Leviathan, Kalman and Matias, "Fast inference from
transformers via speculative decoding", 2023; their way to accept more tokens where they are drawn makes other tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from multiedge.decoding.contract import Sequence, StepModel, Tokens
from multiedge.errors import require_least


class Proposer(Protocol):
    """What proposes the tokens of one text."""

    def propose(self, tokens: Tokens, most: int) -> Tokens:
        """Tokens that may follow, (batch, up to `most`), where the text has grown by these, (batch, n), since the last call."""
        ...

    def close(self) -> None: ...


class Proposals(Protocol):
    """Who proposes tokens: a draft, or nobody."""

    def open(self, batch: int = 1) -> Proposer:
        """For a text of so many rows."""
        ...

    def close(self) -> None: ...


class NoProposals:
    """Every token takes one step of the model."""

    def open(self, batch: int = 1) -> NoProposals:
        return self

    def propose(self, tokens: Tokens, most: int) -> Tokens:
        return tokens[:, :0]

    def close(self) -> None:
        """There is nothing to close."""


NO_PROPOSALS = NoProposals()


@dataclass(frozen=True)
class Draft:
    """A small model that proposes the tokens that it finds most likely.

    Attributes:
        model: It has the tokens of the model, and states that can be cut.
        tokens: How many it proposes for a step of the model.
        vocabulary: Only tokens below this are proposed; None for all of its own.

    Raises ConfigError for less than one token.
    """

    model: StepModel
    tokens: int
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        require_least("draft_tokens", self.tokens, 1)

    def open(self, batch: int = 1) -> Proposer:
        return _Drafted(self.model.open(batch), self.tokens, self.vocabulary)

    def close(self) -> None:
        self.model.close()


class _Drafted:
    """The draft's sequence of one text. It may have seen proposals that were not taken: they are cut off first."""

    def __init__(self, sequence: Sequence, count: int, vocabulary: int | None) -> None:
        self._sequence, self._count, self._vocabulary = sequence, count, vocabulary
        self._length = 0

    def propose(self, tokens: Tokens, most: int) -> Tokens:
        # All but the last of the new tokens are proposals that were taken, so those that the draft has seen stay.
        seen = max(0, min(tokens.shape[1] - 1, self._sequence.length - self._length))
        self._sequence.cut(self._length + seen)
        self._length += tokens.shape[1]
        given, proposed = tokens[:, seen:], [tokens[:, :0]]
        for _ in range(min(self._count, most)):
            given = self._sequence.step(given)[:, : self._vocabulary].argmax(axis=-1)[:, None]
            proposed.append(given)
        return np.concatenate(proposed, axis=1)

    def close(self) -> None:
        self._sequence.close()


def _check(none: NoProposals, draft: Draft) -> tuple[Proposals, Proposals]:
    """For the type checker: the classes follow the protocol."""
    return none, draft
