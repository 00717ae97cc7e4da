"""Two runs side by side: what changed, which way, and whether it is more than noise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from multiedge.metrics import MetricValue
from multiedge.report.compare import FEWEST_ITEMS, Difference, compare, noise_interval
from multiedge.report.results import RunResult, make_result
from tests.builders.reports import steady_run


def run(name: str = "a", *, repeats: Any = None, **options: Any) -> RunResult:
    return make_result(name, steady_run(**options), repeats=repeats)


def figures(direction: str = "lower", **values: float | None) -> RunResult:
    """A run of figures alone."""
    return RunResult("r", {name: MetricValue(value, "s", direction, "") for name, value in values.items()})


def differences(a: RunResult, b: RunResult) -> dict[str, Difference]:
    return {entry.name: entry for entry in compare(a, b)}


@pytest.mark.parametrize(
    ("value", "other", "direction", "change", "better"),
    [
        pytest.param(2.0, 4.0, "lower", -0.5, True, id="less-is-better"),
        pytest.param(2.0, 4.0, "higher", -0.5, False, id="less-is-worse"),
        pytest.param(5.0, 4.0, "higher", 0.25, True, id="more-is-better"),
        pytest.param(-3.0, -4.0, "higher", 0.25, True, id="negative-figures"),
        pytest.param(3.0, 0.0, "lower", None, False, id="no-change-in-percent-of-zero"),
        pytest.param(4.0, 4.0, "lower", 0.0, None, id="equal-is-neither"),
        pytest.param(0.0, 0.0, "lower", None, None, id="equal-zeros"),
        pytest.param(5.0, 4.0, "", 0.25, None, id="no-direction"),
    ],
)
def test_a_change_and_its_direction(
    value: float, other: float, direction: str, change: float | None, better: bool | None
) -> None:
    (entry,) = compare(figures(direction, load=value), figures(direction, load=other))
    assert (entry.value, entry.other, entry.better) == (value, other, better)
    assert entry.change == pytest.approx(change)


def test_equal_figures_are_within_any_noise() -> None:
    (entry,) = compare(figures(load=4.0), figures(load=4.0))
    assert entry.within_noise is True


def test_what_only_one_run_has_is_not_compared() -> None:
    assert compare(figures(a=1.0, b=None), figures(a=None, b=1.0, c=2.0)) == []
    assert [entry.name for entry in compare(figures(b=1.0, a=1.0), figures(a=1.0, b=2.0))] == ["b", "a"]


def test_the_same_system_twice_is_within_noise() -> None:
    changed = differences(run(seed=1), run(seed=2))
    for name in ("fps", "latency_mean_s"):
        assert changed[name].within_noise, name
        assert changed[name].note == "resampled from the run's items"


def test_a_faster_system_is_no_noise() -> None:
    changed = differences(run(seconds=0.08), run(seconds=0.1))
    assert changed["fps"].within_noise is False
    assert changed["fps"].better is True
    assert changed["fps"].change == pytest.approx(0.25, abs=0.02)
    assert changed["latency_mean_s"].better is True


def test_a_difference_below_the_spread_of_the_items_is_noise() -> None:
    """One per cent, where the items of a run spread by 20 % and a hundred of them are averaged."""
    assert differences(run(seconds=0.100, spread=0.2), run(seconds=0.101, spread=0.2, seed=3))["latency_mean_s"].within_noise


def test_the_interval_of_resampling_is_about_that_of_theory() -> None:
    """Independent latencies: 1.96 standard errors of the difference of two means of 400 items, each spread by 2 ms."""
    interval, _ = noise_interval("latency_mean_s", run(count=400, seed=1), run(count=400, seed=2))
    assert interval is not None
    half = (interval[1] - interval[0]) / 2
    assert half == pytest.approx(1.96 * math.sqrt(2 * 0.002**2 / 400), rel=0.25)


def test_the_same_seed_gives_the_same_interval() -> None:
    assert noise_interval("fps", run(seed=1), run(seed=2), seed=5) == noise_interval("fps", run(seed=1), run(seed=2), seed=5)


@pytest.mark.parametrize(
    ("a", "b", "name", "note"),
    [
        pytest.param(run(), run(seed=2), "utilisation", "one sample each: noise unknown", id="a-figure-of-the-whole-run"),
        pytest.param(run(count=5), run(seed=2), "fps", f"fewer than {FEWEST_ITEMS} items: noise unknown", id="few-items"),
        pytest.param(
            replace(run(), measurements=None), run(seed=2), "fps", "one sample each: noise unknown", id="figures-without-items"
        ),
        pytest.param(
            replace(run(), left_out={"items": 3, "events": 0}),
            run(seed=2),
            "fps",
            "one sample each: noise unknown",
            id="items-that-were-left-out",
        ),
        pytest.param(
            run(repeats={"utilisation": (1.0, 2.0)}),
            run(repeats={"utilisation": (1.0, 2.0, 3.0)}),
            "utilisation",
            "one sample each: noise unknown",
            id="two-repeats-are-too-few",
        ),
    ],
)
def test_noise_that_is_not_known_is_not_claimed(a: RunResult, b: RunResult, name: str, note: str) -> None:
    assert noise_interval(name, a, b) == (None, note)


def test_repeats_give_welchs_interval() -> None:
    """Means 2 and 5, variances 1 and 4 over 3 repeats each: error sqrt(5/3), 2.94 degrees of freedom, t = 3.222."""
    a, b = run(repeats={"fps": (1.0, 2.0, 3.0)}), run(repeats={"fps": (3.0, 5.0, 7.0)})
    interval, note = noise_interval("fps", a, b)
    assert interval == pytest.approx((-3.0 - 3.2217 * math.sqrt(5 / 3), -3.0 + 3.2217 * math.sqrt(5 / 3)), abs=0.01)
    assert note == "spread over 3 and 3 repeats"


@pytest.mark.parametrize(
    ("repeats", "within"),
    [
        pytest.param((9.9, 10.0, 10.4), True, id="overlapping"),
        pytest.param((12.0, 12.1, 12.2), False, id="apart"),
        pytest.param((10.0, 10.0, 10.0), True, id="without-any-spread-of-its-own"),
    ],
)
def test_repeats_are_believed_before_resampling(repeats: tuple[float, ...], within: bool) -> None:
    other = run("b", seed=2, repeats={"fps": (9.8, 10.1, 10.2)})
    changed = differences(run(seconds=0.08, repeats={"fps": repeats}), other)["fps"]
    assert changed.within_noise is within
    assert changed.note == "spread over 3 and 3 repeats"


def test_repeats_without_any_spread_differ_by_exactly_their_difference() -> None:
    a, b = run(repeats={"fps": (2.0, 2.0, 2.0)}), run(repeats={"fps": (1.5, 1.5, 1.5)})
    assert noise_interval("fps", a, b)[0] == (0.5, 0.5)
