"""When items are due."""

from __future__ import annotations

from itertools import islice, pairwise
from statistics import mean, pstdev

import pytest

from multiedge.arrivals import constant_times, gamma_times, poisson_times


def between(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def test_constant_times_are_evenly_spaced_from_the_start() -> None:
    assert list(islice(constant_times(4.0), 5)) == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_times_of_a_seed_are_always_the_same_and_those_of_another_differ() -> None:
    for times in (lambda seed: poisson_times(50.0, seed), lambda seed: gamma_times(50.0, 2.0, seed)):
        first, again, other = (list(islice(times(seed), 100)) for seed in (1, 1, 2))
        assert first == again != other
        assert first == sorted(first)


@pytest.mark.parametrize("cv", [0.25, 1.0, 3.0])
def test_times_between_gamma_arrivals_have_their_mean_and_variation(cv: float) -> None:
    gaps = between(list(islice(gamma_times(200.0, cv, 5), 60_000)))
    assert mean(gaps) == pytest.approx(1 / 200, rel=0.03)
    assert pstdev(gaps) / mean(gaps) == pytest.approx(cv, rel=0.05)
