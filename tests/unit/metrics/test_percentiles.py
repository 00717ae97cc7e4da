"""Percentiles that were seen, and how many samples back them: by hand and by the binomial distribution itself."""

from __future__ import annotations

from math import comb

import pytest

from multiedge.metrics.percentiles import early_stopping_estimate, percentile, samples_needed, within_bound


@pytest.mark.parametrize(
    ("values", "p", "expected"),
    [
        pytest.param([7.0], 0.99, 7.0, id="one"),
        pytest.param([1.0, 2.0], 0.5, 2.0, id="half-of-two"),
        pytest.param([4.0, 1.0, 3.0, 2.0], 0.0, 1.0, id="smallest"),
        pytest.param([4.0, 1.0, 3.0, 2.0], 1.0, 4.0, id="largest"),
        pytest.param([float(n) for n in range(100, 0, -1)], 0.90, 91.0, id="p90-of-100"),
        pytest.param([float(n) for n in range(100, 0, -1)], 0.50, 51.0, id="p50-of-100"),
        pytest.param([5.0] * 9 + [float("inf")], 0.90, float("inf"), id="an-item-that-never-came"),
        pytest.param([2.0, 2.0, 2.0], 0.5, 2.0, id="ties"),
    ],
)
def test_a_percentile_is_a_sample_that_was_seen(values: list[float], p: float, expected: float) -> None:
    assert percentile(values, p) == expected


def test_the_samples_needed_are_mlperfs() -> None:
    assert [samples_needed(p) for p in (0.90, 0.95, 0.97, 0.99)] == [64, 130, 219, 662]


def backed(count: int, over: int, p: float) -> bool:
    """Whether `over` samples of `count` above a bound back the p-quantile at 99 %, term by term."""
    chance = sum(comb(count, k) * (1 - p) ** k * p ** (count - k) for k in range(over + 1))
    return chance <= 0.01


@pytest.mark.parametrize("p", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("over", [1, 2, 5])
def test_the_samples_needed_are_the_fewest_that_the_binomial_allows(p: float, over: int) -> None:
    needed = samples_needed(p, over)
    assert backed(needed, over, p)
    assert not backed(needed - 1, over, p)


def test_more_samples_above_a_bound_need_more_samples() -> None:
    needed = [samples_needed(0.9, over) for over in range(1, 8)]
    assert needed == sorted(set(needed))


def test_less_confidence_needs_fewer_samples() -> None:
    assert samples_needed(0.9, confidence=0.9) < samples_needed(0.9)


@pytest.mark.parametrize(
    ("count", "estimate"),
    [
        pytest.param(63, None, id="too-few"),
        pytest.param(64, 64.0, id="just-enough-is-the-largest"),
        pytest.param(samples_needed(0.90, 2) - 1, samples_needed(0.90, 2) - 1, id="not-yet-the-second-largest"),
        pytest.param(samples_needed(0.90, 2), samples_needed(0.90, 2) - 1, id="the-second-largest"),
    ],
)
def test_the_estimate_of_ascending_numbers(count: int, estimate: float | None) -> None:
    assert early_stopping_estimate([float(n) for n in range(1, count + 1)], 0.90) == estimate


def test_the_estimate_is_never_below_the_percentile() -> None:
    for count in (64, 100, 300, 1000):
        values = [float(n) for n in range(count)]
        estimate = early_stopping_estimate(values, 0.90)
        assert estimate is not None
        assert estimate >= percentile(values, 0.90)


@pytest.mark.parametrize(
    ("values", "is_backed"),
    [
        pytest.param([1.0] * 662, True, id="all-below"),
        pytest.param([1.0] * 661, False, id="too-few"),
        pytest.param([1.0] * 661 + [3.0], True, id="one-above"),
        pytest.param([1.0] * 660 + [3.0] * 2, False, id="two-above-need-more"),
        pytest.param([2.0] * 662, True, id="at-the-bound"),
        pytest.param([], False, id="none"),
        pytest.param([1.0] * 661 + [float("inf")], True, id="one-that-never-came"),
    ],
)
def test_a_bound_on_the_p99_of_two_seconds(values: list[float], is_backed: bool) -> None:
    assert within_bound(values, 2.0, 0.99) is is_backed
