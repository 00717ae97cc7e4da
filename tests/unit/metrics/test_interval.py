"""The interval of repeated runs."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence

import pytest

from multiedge.metrics.interval import Interval, interval_95, sample_interval_95

KINDS = (interval_95, sample_interval_95)
Kind = Callable[[Sequence[float]], Interval | None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("values", [[], [4.0]])
def test_one_run_has_no_interval(kind: Kind, values: list[float]) -> None:
    assert kind(values) is None


@pytest.mark.parametrize("kind", KINDS)
def test_equal_runs_have_an_interval_without_width(kind: Kind) -> None:
    assert kind([4.7, 4.7, 4.7]) == (4.7, 4.7)


def share_that_holds(kind: Kind, draw: Callable[[random.Random], list[float]], truth: float) -> float:
    chance = random.Random(0)
    intervals = [kind(draw(chance)) or (0.0, 0.0) for _ in range(2000)]
    return statistics.fmean(low <= truth <= high for low, high in intervals)


def test_nineteen_of_twenty_intervals_of_a_sample_hold_the_true_mean() -> None:
    with_negative = share_that_holds(sample_interval_95, lambda chance: [chance.gauss(0.0, 2.0) for _ in range(5)], 0.0)
    by_factors = share_that_holds(
        sample_interval_95, lambda chance: [10.0 * chance.lognormvariate(0.0, 0.5) for _ in range(5)], 10.0
    )
    assert [with_negative, by_factors] == pytest.approx([0.95, 0.95], abs=0.015)


def drifting(chance: random.Random) -> list[float]:
    """Runs on a host whose pace is a walk: the runs before and after these have other paces."""
    pace, values = 0.0, []
    for _ in range(5):
        pace = 0.8 * pace + chance.gauss(0.0, 0.1)
        values.append(10.0 * 2.718281828 ** (pace + chance.gauss(0.0, 0.02)))
    return values


def test_intervals_of_runs_hold_the_truth_more_often_where_the_pace_changes_slowly() -> None:
    assert share_that_holds(interval_95, drifting, 10.0) > share_that_holds(sample_interval_95, drifting, 10.0) + 0.1


def test_an_interval_of_runs_is_never_narrower_than_that_of_a_sample() -> None:
    chance = random.Random(1)
    for _ in range(200):
        runs = [chance.gauss(10.0, 1.0) for _ in range(4)]
        (low, high), (sample_low, sample_high) = interval_95(runs) or (0.0, 0.0), sample_interval_95(runs) or (0.0, 0.0)
        assert low <= sample_low * (1 + 1e-12)
        assert high >= sample_high * (1 - 1e-12)


def test_runs_without_a_slow_change_have_about_the_interval_of_a_sample() -> None:
    values = [10.0, 12.0, 9.0, 11.5, 10.5]
    assert interval_95(values) == pytest.approx(sample_interval_95(values))


def test_no_interval_of_positive_figures_reaches_zero() -> None:
    low, high = interval_95([1.0, 50.0]) or (0.0, 0.0)
    assert 0.0 < low < high


def test_figures_that_may_be_zero_have_an_interval_of_their_mean() -> None:
    low, high = sample_interval_95([0.0, 1.0, 2.0]) or (0.0, 0.0)
    assert (low + high) / 2 == pytest.approx(1.0)
