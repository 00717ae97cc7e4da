"""Which token comes next: pure functions from logits to probabilities, and from a random number to a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.errors import ConfigError, describe

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]
MOST_TEMPERATURE = 100.0


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: By which logits are divided; 0 takes the most likely token.
        top_k: Only so many of the most likely tokens are chosen from; 0 for all.
        top_p: Only the most likely tokens that together have this probability are chosen from (Holtzman et al., "The curious
            case of neural text degeneration", 2020).
        seed: The same seed gives the same tokens.

    Raises ConfigError for a value out of its range, and for one that has no effect because the most likely token is taken.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= MOST_TEMPERATURE:
            raise ConfigError(f"temperature: expected 0 to {MOST_TEMPERATURE:g}, got {describe(self.temperature)}")
        if self.top_k < 0:
            raise ConfigError(f"top_k: expected 0 (all tokens) or more, got {describe(self.top_k)}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p: expected more than 0 and at most 1, got {describe(self.top_p)}")
        if self.seed < 0:
            raise ConfigError(f"seed: expected 0 or more, got {describe(self.seed)}")
        if self.is_greedy and (self.top_k or self.top_p < 1):
            name = "top_k" if self.top_k else "top_p"
            raise ConfigError(
                f"{name}: has no effect at temperature 0, which takes the most likely token; raise the temperature"
            )

    @property
    def is_greedy(self) -> bool:
        """Whether the most likely token is taken."""
        return self.temperature == 0


class Sampler:
    """Chooses tokens of a batch, step by step. A row has random numbers of its own: it gets what it gets alone."""

    def __init__(self, sampling: Sampling, batch: int = 1) -> None:
        self._sampling = sampling
        self._generators = [np.random.default_rng((sampling.seed, row)) for row in range(batch)]

    def choose(self, logits: Floats) -> Integers:
        """The next token of each row, (batch,), for logits (batch, vocabulary)."""
        if self._sampling.is_greedy:
            return np.asarray(logits.argmax(axis=-1), np.int64)
        rows = zip(logits, self._generators, strict=True)
        return np.array([pick(probabilities(row, self._sampling), generator.random()) for row, generator in rows], np.int64)


def probabilities(logits: Floats, sampling: Sampling) -> npt.NDArray[np.float64]:
    """The probability of each token, (vocabulary,), for its logits: temperature first, then top-k, then top-p.

    >>> probabilities(np.log([0.5, 0.3, 0.2]), Sampling(temperature=1, top_k=2)).round(3).tolist()
    [0.625, 0.375, 0.0]
    """
    if sampling.is_greedy:
        return np.asarray(np.arange(logits.size) == logits.argmax(), np.float64)
    scaled = logits.astype(np.float64) / sampling.temperature
    if 0 < sampling.top_k < scaled.size:
        scaled = _only(scaled, np.argsort(-scaled, kind="stable")[: sampling.top_k])
    shares = _softmax(scaled)
    if sampling.top_p < 1:
        order = np.argsort(-shares, kind="stable")
        before = np.cumsum(shares[order]) - shares[order]  # the first token that reaches the sum is kept
        shares = _softmax(_only(scaled, order[before < sampling.top_p]))
    return shares


def pick(shares: npt.NDArray[np.float64], uniform: float) -> int:
    """The token for a random number of [0, 1): that in whose part of the summed probabilities it lies.

    >>> [pick(np.array([0.5, 0.0, 0.5]), number) for number in (0.0, 0.49, 0.5, 0.999)]
    [0, 0, 2, 2]
    """
    sums = np.cumsum(shares)
    last = int(np.flatnonzero(shares)[-1])  # rounding may leave the sum below the number
    return min(int(np.searchsorted(sums, uniform * sums[-1], side="right")), last)


def negative_log_likelihoods(logits: Floats, tokens: Integers) -> npt.NDArray[np.float64]:
    """What each of these tokens cost in nats, shape of `tokens`, for logits (..., vocabulary): the mean's exponential is the
    perplexity."""
    scores = logits.astype(np.float64)
    peak = scores.max(axis=-1, keepdims=True)
    sums = np.log(np.exp(scores - peak).sum(axis=-1)) + peak[..., 0]
    return np.asarray(sums - np.take_along_axis(scores, tokens[..., None], axis=-1)[..., 0])


def _only(scores: npt.NDArray[np.float64], kept: Integers) -> npt.NDArray[np.float64]:
    """The scores of the tokens that are kept; minus infinity for the others."""
    return np.where(np.isin(np.arange(scores.size), kept), scores, -np.inf)


def _softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares = np.exp(scores - scores.max())
    return np.asarray(shares / shares.sum())
