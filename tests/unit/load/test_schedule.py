"""Schedules: as random as they claim, fixed by their seed, and bounded."""

from __future__ import annotations

import random

import numpy as np
import pytest

from multiedge.errors import ConfigError
from multiedge.load import PATTERNS
from multiedge.load.patterns import Constant, Gamma, Pattern, Poisson
from multiedge.load.schedule import dispersion, each_once, fit_probability, make_schedule
from multiedge.options import build

RATES = (10.0, 50.0, 100.0, 500.0, 1000.0, 2000.0)


@pytest.mark.parametrize("rate_per_s", RATES)
def test_poisson_requests_are_a_poisson_process_at_every_rate(rate_per_s: float) -> None:
    pattern = Poisson(rate_per_s)
    due_s = make_schedule(pattern, seed=1, samples=1, requests=40_000).due_s
    assert 0.9 < (dispersion(due_s) or 0) < 1.1
    assert (fit_probability(due_s, pattern.intervals()) or 0) > 0.01
    assert len(due_s) / due_s[-1] == pytest.approx(rate_per_s, rel=0.02)


def test_waiting_times_that_are_not_summed_are_one_burst_and_found_so() -> None:
    rng = random.Random(0)
    wrong = [rng.expovariate(100.0) for _ in range(1000)]
    assert (dispersion(wrong) or 0) > 20
    assert (fit_probability(wrong, Poisson(100.0).intervals()) or 0) < 1e-6


def test_bursts_are_no_poisson_process_and_found_so() -> None:
    due_s = make_schedule(Gamma(300.0, cv=2.0), seed=2, samples=1, requests=20_000).due_s
    assert (fit_probability(due_s, Poisson(300.0).intervals()) or 0) < 1e-6
    assert (dispersion(due_s) or 0) > 1.5
    same = make_schedule(Gamma(300.0, cv=1.0), seed=2, samples=1, requests=20_000).due_s
    assert (fit_probability(same, Poisson(300.0).intervals()) or 0) > 0.01


@pytest.mark.parametrize("count", [5, 50, 500])
def test_the_probability_is_that_of_a_library(count: int) -> None:
    kstest = pytest.importorskip("scipy.stats").kstest
    due_s = make_schedule(Gamma(300.0, cv=1.1), seed=2, samples=1, requests=count).due_s
    exact = kstest(np.diff(due_s), Poisson(300.0).intervals()).pvalue
    assert fit_probability(due_s, Poisson(300.0).intervals()) == pytest.approx(exact, abs=0.02)


def test_dispersion_of_even_requests_is_0_and_of_bursts_the_size_of_one() -> None:
    assert dispersion(make_schedule(Constant(1000.0), 0, 1, requests=5000).due_s + 5e-4) == pytest.approx(0.0, abs=1e-9)
    bursts = np.repeat(np.arange(0.005, 10, 0.1), 50)
    assert dispersion(bursts) == pytest.approx(45.0, rel=0.03)
    assert dispersion([0.0, 0.001]) is None
    assert dispersion([]) is None


def test_a_schedule_is_that_of_its_seed_alone() -> None:
    one, again, other = (make_schedule(Poisson(100.0), seed, 5, requests=200) for seed in (3, 3, 4))
    assert np.array_equal(one.due_s, again.due_s)
    assert np.array_equal(one.samples, again.samples)
    assert not np.array_equal(one.due_s, other.due_s)
    assert set(one.samples) == set(range(5))


def test_a_schedule_ends_by_requests_or_by_time_whichever_is_first() -> None:
    assert len(make_schedule(Constant(100.0), 0, 1, seconds=2.0)) == 200
    assert len(make_schedule(Constant(100.0), 0, 1, requests=30, seconds=2.0)) == 30
    assert make_schedule(Constant(100.0), 0, 1, requests=3).rate_per_s == pytest.approx(100.0)
    with pytest.raises(ConfigError, match="no request is due in this time; give more seconds or a higher rate"):
        make_schedule(Poisson(0.001), 0, 1, seconds=0.5)


def test_accuracy_sends_each_sample_once() -> None:
    assert each_once(make_schedule(Poisson(10.0), 1, 7, requests=7), 7).samples.tolist() == list(range(7))


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("poisson", {"rate_per_s": 0}, "expected a rate above 0 requests per second, got 0"),
        ("constant", {"rate_per_s": float("inf")}, "expected a rate above 0 requests per second, got inf"),
        ("gamma", {"rate_per_s": 1.0, "cv": 0}, "cv: expected 0.05 to 20, got 0"),
        ("poisson", {"rate_per_s": 1.0, "cv": 2.0}, "has no option 'cv'; patterns that have it: gamma"),
        ("replay", {"file": "a", "speed": 0}, "speed: expected a number above 0, got 0"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused(name: str, options: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        build(PATTERNS, name, options)


def test_every_pattern_of_the_table_is_a_pattern(tmp_path) -> None:
    (tmp_path / "trace.txt").write_text("1\n2\n")
    given = {"replay": {"file": str(tmp_path / "trace.txt")}}
    for name in PATTERNS.names():
        pattern: Pattern = build(PATTERNS, name, given.get(name, {"rate_per_s": 5.0}))
        assert len(make_schedule(pattern, 0, 1, requests=2)) == 2
