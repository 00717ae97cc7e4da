"""Timing: when it stops, what it leaves out, and how well a median is known."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import pytest

from multiedge.backends.ownership import without_probe
from multiedge.backends.timing import BLOCK_S, MOST_IN_A_ROW, Accuracy, median_error, time_in_turn


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = [abs(float(np.median(s)) - math.log(2)) <= 2 * median_error(s) for s in rng.exponential(size=(2000, 31))]
    assert np.mean(covered) >= 0.95


def test_few_samples_know_nothing_and_equal_ones_everything() -> None:
    assert median_error([1.0, 2.0]) == math.inf
    assert median_error([3.0] * 9) == 0.0


def test_more_samples_know_more() -> None:
    rng = np.random.default_rng(1)
    samples = rng.normal(size=2000)
    assert median_error(samples) < median_error(samples[:20])


def test_actions_take_turns_after_a_warm_up_that_is_not_counted() -> None:
    seen: list[str] = []

    def slow(name: str) -> None:
        seen.append(name)
        time.sleep(BLOCK_S)

    timings = time_in_turn([lambda: slow("a"), lambda: slow("b")], Accuracy(relative=10.0, least=5, warmup=2))
    assert seen == ["a", "a", "b", "b", *["a", "b"] * 5]
    assert [len(timing.wall_s) for timing in timings] == [5, 5]


def test_short_actions_run_in_a_row_and_the_first_of_each_row_is_not_counted() -> None:
    seen: list[str] = []
    accuracy = Accuracy(relative=10.0, least=5, warmup=1)
    timings = time_in_turn([lambda: seen.append("a"), lambda: seen.append("b")], accuracy)
    assert [len(timing.wall_s) for timing in timings] == [5 * MOST_IN_A_ROW] * 2
    assert seen[:2] == ["a", "b"]
    assert seen[2 : 2 + MOST_IN_A_ROW + 1] == ["a"] * (MOST_IN_A_ROW + 1)
    assert len(seen) == 2 + 2 * 5 * (MOST_IN_A_ROW + 1)


def test_the_budget_ends_it_but_not_before_the_least() -> None:
    accuracy = Accuracy(relative=0.0, budget_s=0.0, least=6, warmup=0)
    assert len(time_in_turn([lambda: time.sleep(0.001)], accuracy)[0].wall_s) == 6


def test_sleeping_takes_wall_time_and_hardly_cpu_time() -> None:
    timing = time_in_turn([lambda: time.sleep(0.01)], Accuracy(relative=1.0, least=5, warmup=0))[0]
    assert timing.median_s >= 0.01
    assert timing.cpu_median_s < timing.median_s / 2


def test_progress_is_reported() -> None:
    shares: list[float] = []
    time_in_turn(
        [lambda: None], Accuracy(relative=0.0, budget_s=9.0, least=5, most=5), lambda step, share: shares.append(share)
    )
    assert shares[-1] == pytest.approx(1.0)
    assert shares == sorted(shares)


def test_the_probe_is_taken_off_evenly() -> None:
    kernels = np.array([10.0, 2.0, 6.0])
    np.testing.assert_allclose(without_probe(kernels, 15.0), [9.0, 1.0, 5.0])
    np.testing.assert_allclose(without_probe(kernels, 36.0), [20.0, 4.0, 12.0])
    found = without_probe(kernels, 3.0)
    assert found.sum() == pytest.approx(3.0)
    assert (found > 0).all()


def test_runs_after_a_pause_are_timed_without_it() -> None:
    begins: list[float] = []
    accuracy = Accuracy(relative=0.0, least=5, most=5, warmup=1, pause_s=0.01)
    (timing,) = time_in_turn([lambda: begins.append(time.perf_counter())], accuracy)
    assert len(begins) == 6
    assert min(after - before for before, after in pairwise(begins[1:])) >= 0.01
    assert timing.median_s < 0.005
