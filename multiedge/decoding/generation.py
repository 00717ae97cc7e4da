"""The loop: tokens of a model, one after another, as pieces of text with their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from multiedge.decoding.contract import Logits, Sequence, StepModel, Tokens
from multiedge.decoding.drafting import NO_PROPOSALS, Proposals, Proposer
from multiedge.decoding.sampling import Sampler, Sampling
from multiedge.decoding.stopping import scan
from multiedge.decoding.tokenizer import TextTokenizer
from multiedge.defaults import DEFAULT_MAX_TOKENS
from multiedge.errors import ConfigError, describe


class Finish(Enum):
    """Why a text ended, in OpenAI's words: at a token or text that ends it, or at the most tokens."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class Limits:
    """Where a text ends.

    Attributes:
        max_tokens: After so many tokens at the latest.
        stops: Before the first of these texts.
        ignores_ends: Whether it goes on after tokens that end texts, so that every run has the same number of tokens.

    Raises ConfigError for less than one token, and for an empty text.
    """

    max_tokens: int = DEFAULT_MAX_TOKENS
    stops: tuple[str, ...] = ()
    ignores_ends: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens: expected at least 1, got {describe(self.max_tokens)}")
        if "" in self.stops:
            raise ConfigError("stop: expected texts that are not empty, got an empty one")


@dataclass(frozen=True)
class Piece:
    """What one token brings.

    Attributes:
        text: What it adds to the text; '' while a character, or what may be a stop text, is not complete.
        token: Its number.
        at_s: When it came, in seconds after the prompt was given.
        finish: Why the text ends with it; None if it goes on.
        step: Number of the model's step that it came of, from 0.
        proposed: Tokens that were proposed for that step.
    """

    text: str
    token: int
    at_s: float
    finish: Finish | None = None
    step: int = 0
    proposed: int = 0


@dataclass(frozen=True)
class Generation:
    """A text that a model has made.

    Attributes:
        prompt_tokens: Number of tokens of the prompt.
        tokens: Those that the model made, the one that ended the text included.
        text: Their text, without a stop text and special tokens.
        finish: Why it ended; None if the caller took no more.
        times_s: When each token came, in seconds after the prompt was given.
        steps: Steps of the model.
        proposed: Tokens that were proposed for them.
    """

    prompt_tokens: int
    tokens: tuple[int, ...]
    text: str
    finish: Finish | None
    times_s: tuple[float, ...] = field(repr=False)
    steps: int
    proposed: int = 0

    @classmethod
    def of(cls, prompt_tokens: int, pieces: Iterable[Piece]) -> Generation:
        """The text that the pieces make."""
        got = tuple(pieces)
        proposed = {piece.step: piece.proposed for piece in got}
        return cls(
            prompt_tokens,
            tuple(piece.token for piece in got),
            "".join(piece.text for piece in got),
            got[-1].finish if got else None,
            tuple(piece.at_s for piece in got),
            len(proposed),
            sum(proposed.values()),
        )

    @property
    def time_to_first_token_s(self) -> float | None:
        """Seconds from the prompt to the first token; None without one."""
        return self.times_s[0] if self.times_s else None

    @property
    def time_per_output_token_s(self) -> float | None:
        """Mean seconds from one token to the next, the first excluded; None if there are fewer than two."""
        if len(self.times_s) < 2:
            return None
        return (self.times_s[-1] - self.times_s[0]) / (len(self.times_s) - 1)

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens per second, the prompt's time included; None without a token."""
        return len(self.tokens) / self.times_s[-1] if self.times_s and self.times_s[-1] > 0 else None

    @property
    def steps_per_token(self) -> float | None:
        """Steps of the model for each token; None without a token."""
        return self.steps / len(self.tokens) if self.tokens else None

    @property
    def accepted_share(self) -> float | None:
        """Share of the proposed tokens that are in the text; None if none were proposed."""
        return (len(self.tokens) - self.steps) / self.proposed if self.proposed else None


class Turns:
    """What is computed at each step of texts of equal length, and the tokens that are taken of its logits.

    Args:
        prompts: Tokens, (batch, n).
        sampling: How tokens are chosen.
        count: How many follow each prompt.
        proposer: What proposes tokens.

    Attributes:
        left: How many tokens are still to come.
        step: Number of the step, from 0.
        proposed: Tokens that were proposed for it.
        length: Tokens of each text that the model keeps after it: those behind were proposed and not taken.
    """

    def __init__(self, prompts: Tokens, sampling: Sampling, count: int, proposer: Proposer = NO_PROPOSALS) -> None:
        self._sampler, self._proposer = Sampler(sampling, len(prompts)), proposer
        self._new = self._given = prompts
        self._proposed = prompts[:, :0]
        self.left, self.step, self.length = count, -1, 0

    @property
    def proposed(self) -> int:
        return int(self._proposed.shape[1])

    def next(self) -> Tokens:
        """The tokens of the next step, (batch, n). Logits are needed after each of the proposed ones and the one before."""
        self.step += 1
        self.length += self._given.shape[1]
        self._proposed = self._proposer.propose(self._new, self.left - 1)
        return np.concatenate([self._given, self._proposed], axis=1)

    def take(self, logits: Logits) -> Iterator[Tokens]:
        """The tokens that follow, (batch,) each, for logits (batch, proposed + 1, vocabulary): up to the first that was not
        proposed. All have to be taken before the next step."""
        taken: list[Tokens] = []
        for place in range(self.proposed + 1):
            taken.append(self._sampler.choose(logits[:, place]))
            self.left -= 1
            yield taken[-1]
            if place < self.proposed and (taken[-1] != self._proposed[:, place]).any():
                break
        self.length += len(taken) - 1
        self._new = np.stack(taken, axis=1)
        self._given = self._new[:, -1:]


def token_steps(sequence: Sequence, turns: Turns) -> Iterator[Tokens]:
    """The tokens that follow the prompts of `turns`: (batch,) each.

    What a step computes is computed when it is asked for, and not before.
    """
    while turns.left:
        given = turns.next()
        yield from turns.take(sequence.score(given, 1 + turns.proposed))
        sequence.cut(turns.length)


def generate(
    model: StepModel,
    tokenizer: TextTokenizer,
    prompt: Tokens,
    sampling: Sampling | None = None,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.monotonic,
    proposals: Proposals = NO_PROPOSALS,
) -> Iterator[Piece]:
    """The text that follows the tokens of a prompt, (n,), a piece per token as it comes.

    Args:
        model: What makes the tokens; a sequence of it is open while the iterator is.
        tokenizer: The model's.
        prompt: Its tokens.
        sampling: How tokens are chosen; the most likely ones unless stated otherwise.
        limits: Where the text ends.
        clock: Seconds.
        proposals: What proposes tokens.

    Yields:
        Pieces; the last one states why the text ends.

    Raises:
        ConfigError: For a prompt without tokens.
        ModelError: For what the model cannot compute.
    """
    if not prompt.size:
        raise ConfigError("prompt: expected at least one token, got none; write a word")
    limits, begin_s = limits or Limits(), clock()
    text = _Text(tokenizer, limits)
    with closing(model.open(1)) as sequence, closing(proposals.open(1)) as proposer:
        turns = Turns(prompt[None], sampling or Sampling(), limits.max_tokens, proposer)
        for tokens in token_steps(sequence, turns):
            piece = text.add(int(tokens[0]), clock() - begin_s)
            yield replace(piece, step=turns.step, proposed=turns.proposed)
            if piece.finish:
                return


class _Text:
    """A text that grows by tokens, up to where it ends."""

    def __init__(self, tokenizer: TextTokenizer, limits: Limits) -> None:
        self._limits, self._stream = limits, tokenizer.stream()
        self._ends = frozenset() if limits.ignores_ends else tokenizer.end_tokens
        self._count, self._held = 0, ""

    def add(self, token: int, at_s: float) -> Piece:
        self._count += 1
        is_end, is_last = token in self._ends, self._count == self._limits.max_tokens
        new = "" if is_end else self._stream.add(token)
        if is_end or is_last:
            new += self._stream.end()
        result = scan(self._held, new, self._limits.stops)
        self._held = result.held
        if result.is_stopped:
            return Piece(result.text, token, at_s, Finish.STOP)
        if is_end or is_last:
            return Piece(result.text + result.held, token, at_s, Finish.STOP if is_end else Finish.LENGTH)
        return Piece(result.text, token, at_s)
