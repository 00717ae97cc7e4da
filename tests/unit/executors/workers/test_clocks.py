"""How far another machine's clock is, from pings: the shortest round trip tells."""

from __future__ import annotations

import random

import pytest

from multiedge.executors.workers.clocks import LEAST_CHANGE_S, SAMPLES, ClockOffset


def test_nothing_is_known_before_the_first_answer() -> None:
    clock = ClockOffset()
    assert clock.best_s is clock.round_trip_s is clock.news() is None


@pytest.mark.parametrize("offset_s", [0.0, 5000.0, -123456.0])
def test_the_error_is_at_most_half_the_shortest_round_trip(offset_s: float) -> None:
    rng, clock, now_s = random.Random(1), ClockOffset(), 100.0
    for _ in range(SAMPLES):
        there_s, back_s = rng.uniform(0.001, 0.05), rng.uniform(0.001, 0.05)
        clock.add(now_s, now_s + there_s - offset_s, now_s + there_s + back_s)
        now_s += 0.5
    assert clock.best_s is not None
    assert clock.round_trip_s is not None
    assert abs(clock.best_s - offset_s) <= clock.round_trip_s / 2 + 1e-9


def test_a_correction_is_told_when_it_is_worthwhile() -> None:
    clock = ClockOffset()
    clock.add(10.0, 0.0, 10.4)
    assert clock.news() == pytest.approx(10.2)
    assert clock.news() is None
    clock.add(11.0, 1.0, 11.02)
    assert clock.news() == pytest.approx(10.01)
    clock.add(12.0, 2.0 + LEAST_CHANGE_S / 4, 12.0199)
    assert clock.news() is None


def test_a_clock_that_drifts_is_followed() -> None:
    clock = ClockOffset()
    clock.add(0.0, 0.0, 0.001)
    for number in range(1, SAMPLES + 1):
        clock.add(float(number), number - 0.01, number + 0.005)
    assert clock.best_s == pytest.approx(0.0125)
