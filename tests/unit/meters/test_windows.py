"""Energy and peak power from samples, by hand."""

from __future__ import annotations

import random

import pytest

from multiedge.meters.windows import integrate_watts, largest_average_w


@pytest.mark.parametrize(
    ("at_s", "watts", "joules"),
    [
        pytest.param([], [], [], id="none"),
        pytest.param([5.0], [3.0], [0.0], id="one"),
        pytest.param([0.0, 2.0, 3.0], [1.0, 3.0, 3.0], [0.0, 4.0, 7.0], id="slope-then-level"),
        pytest.param([1.0, 1.0], [2.0, 8.0], [0.0, 0.0], id="two-at-one-moment"),
        pytest.param([0.0, 1.0], [4.0, 0.0], [0.0, 2.0], id="falling"),
    ],
)
def test_the_area_under_straight_lines(at_s: list[float], watts: list[float], joules: list[float]) -> None:
    assert integrate_watts(at_s, watts) == joules


@pytest.mark.parametrize(
    ("at_s", "joules", "window_s", "watts"),
    [
        pytest.param([], [], 1.0, None, id="none"),
        pytest.param([0.0], [0.0], 1.0, None, id="one"),
        pytest.param([1.0, 1.0], [0.0, 5.0], 1.0, None, id="no-time"),
        pytest.param([0.0, 2.0, 3.0], [0.0, 4.0, 7.0], 1.0, 3.0, id="the-steepest-second"),
        pytest.param([0.0, 2.0, 3.0], [0.0, 4.0, 7.0], 99.0, 7 / 3, id="a-window-longer-than-the-run"),
        pytest.param([0.0, 2.0, 3.0], [0.0, 4.0, 7.0], 0.5, 3.0, id="within-one-sample"),
        pytest.param([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 10.0, 10.0, 10.0], 2.0, 5.0, id="a-peak-shorter-than-the-window"),
        pytest.param([0.0, 1.0, 2.0, 3.0], [0.0, 2.0, 4.0, 6.0], 1.0, 2.0, id="level"),
        pytest.param([0.0, 1.0, 2.0, 3.0], [0.0, 4.0, 4.0, 8.0], 1.5, 8 / 3, id="a-window-that-ends-at-no-sample"),
    ],
)
def test_the_largest_average(at_s: list[float], joules: list[float], window_s: float, watts: float | None) -> None:
    assert largest_average_w(at_s, joules, window_s) == pytest.approx(watts)


def test_no_window_that_is_tried_one_by_one_draws_more() -> None:
    chance = random.Random(5)
    for _ in range(20):
        at_s = sorted(chance.uniform(0.0, 10.0) for _ in range(12))
        joules = integrate_watts(at_s, [chance.uniform(0.0, 9.0) for _ in at_s])
        peak = largest_average_w(at_s, joules, 2.0)
        assert peak is not None
        steps = [at_s[0] + (at_s[-1] - at_s[0] - 2.0) * step / 500 for step in range(501)]
        tried = [(_energy(at_s, joules, begin + 2.0) - _energy(at_s, joules, begin)) / 2.0 for begin in steps]
        assert max(tried) <= peak + 1e-9
        assert max(tried) == pytest.approx(peak, abs=0.1)


def _energy(at_s: list[float], joules: list[float], when: float) -> float:
    for left in range(len(at_s) - 1):
        if at_s[left] <= when <= at_s[left + 1]:
            share = (when - at_s[left]) / (at_s[left + 1] - at_s[left])
            return joules[left] + share * (joules[left + 1] - joules[left])
    return joules[-1]
