"""Which token comes next: probabilities by temperature, top-k and top-p, and tokens that a seed decides."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.decoding.sampling import Sampler, Sampling, negative_log_likelihoods, pick, probabilities
from multiedge.errors import ConfigError

SHARES = np.array([0.1, 0.4, 0.2, 0.3])
LOGITS = np.log(SHARES).astype(np.float32)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), [0, 1, 0, 0]),
        (Sampling(temperature=1), [0.1, 0.4, 0.2, 0.3]),
        (Sampling(temperature=0.5), np.square(SHARES) / np.square(SHARES).sum()),
        (Sampling(temperature=1, top_k=1), [0, 1, 0, 0]),
        (Sampling(temperature=1, top_k=2), [0, 4 / 7, 0, 3 / 7]),
        (Sampling(temperature=1, top_k=9), [0.1, 0.4, 0.2, 0.3]),
        (Sampling(temperature=1, top_p=0.3), [0, 1, 0, 0]),
        (Sampling(temperature=1, top_p=0.5), [0, 4 / 7, 0, 3 / 7]),
        (Sampling(temperature=1, top_p=0.95), [0.1, 0.4, 0.2, 0.3]),
        (Sampling(temperature=1, top_k=3, top_p=0.5), [0, 4 / 7, 0, 3 / 7]),
    ],
)
def test_temperature_comes_first_then_the_most_likely_then_their_sum(sampling: Sampling, expected: object) -> None:
    np.testing.assert_allclose(probabilities(LOGITS, sampling), expected, atol=1e-6)


def test_of_equally_likely_tokens_the_first_ones_are_kept() -> None:
    np.testing.assert_allclose(probabilities(np.zeros(4), Sampling(temperature=1, top_k=2)), [0.5, 0.5, 0, 0])
    np.testing.assert_allclose(probabilities(np.zeros(4), Sampling(temperature=1, top_p=0.5)), [0.5, 0.5, 0, 0])


def test_large_logits_overflow_nothing() -> None:
    shares = probabilities(np.array([1e4, -1e4, 9_999.0], np.float32), Sampling(temperature=1))
    np.testing.assert_allclose(shares, [0.731059, 0, 0.268941], atol=1e-6)


def test_tokens_are_drawn_as_often_as_their_probabilities_say() -> None:
    sampler = Sampler(Sampling(temperature=1, seed=3), batch=1)
    drawn = [int(sampler.choose(LOGITS[None])[0]) for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(drawn) / 4000, SHARES, atol=0.03)


def test_a_token_without_probability_is_never_picked() -> None:
    shares = np.array([0.0, 0.3, 0.0, 0.7, 0.0])
    assert {pick(shares, number) for number in np.linspace(0, 1, 1001)[:-1]} == {1, 3}
    assert pick(shares, 0.9999999999999999) == 3


def test_a_row_gets_the_tokens_that_it_gets_alone() -> None:
    sampling = Sampling(temperature=2, seed=5)
    alone, together = Sampler(sampling, 1), Sampler(sampling, 3)
    first = [int(alone.choose(LOGITS[None])[0]) for _ in range(30)]
    rows = np.array([together.choose(np.stack([LOGITS] * 3)) for _ in range(30)])
    assert rows[:, 0].tolist() == first
    assert rows[:, 1].tolist() != first


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"temperature": -1}, "temperature: expected 0 to 100, got -1"),
        ({"temperature": float("nan")}, "temperature: expected 0 to 100, got nan"),
        ({"temperature": 1, "top_k": -1}, "top_k: expected 0 (all tokens) or more, got -1"),
        ({"temperature": 1, "top_p": 0}, "top_p: expected more than 0 and at most 1, got 0"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
        ({"top_k": 5}, "top_k: has no effect at temperature 0, which takes the most likely token; raise the temperature"),
        ({"top_p": 0.5}, "top_p: has no effect at temperature 0, which takes the most likely token; raise the temperature"),
    ],
)
def test_what_cannot_be_or_has_no_effect_is_refused(settings: dict[str, float], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Sampling(**settings)
    assert str(caught.value) == line


def test_perplexity_is_that_of_the_probabilities() -> None:
    costs = negative_log_likelihoods(np.stack([LOGITS, LOGITS + 7]), np.array([1, 3]))
    np.testing.assert_allclose(np.exp(-costs), [0.4, 0.3], rtol=1e-6)
