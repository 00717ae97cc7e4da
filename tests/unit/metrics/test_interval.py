"""The interval of repeated runs."""

from __future__ import annotations

import random
import statistics

import pytest

from multiedge.metrics.interval import interval_95


@pytest.mark.parametrize("values", [[], [4.0]])
def test_one_run_has_no_interval(values: list[float]) -> None:
    assert interval_95(values) is None


def test_equal_runs_have_an_interval_without_width() -> None:
    assert interval_95([4.0, 4.0, 4.0]) == (4.0, 4.0)


def test_nineteen_of_twenty_intervals_hold_the_true_mean() -> None:
    chance = random.Random(0)
    held = []
    for _ in range(2000):
        low, high = interval_95([chance.gauss(10.0, 2.0) for _ in range(5)]) or (0.0, 0.0)
        held.append(low <= 10.0 <= high)
    assert statistics.fmean(held) == pytest.approx(0.95, abs=0.015)
