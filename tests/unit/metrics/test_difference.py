"""The one comparison of outputs: what differs, by how much, and what is equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from multiedge.metrics.difference import Difference, difference

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("expected", "actual", "apart"),
    [
        pytest.param([], [], (0.0, 0.0), id="empty"),
        pytest.param([1.0, -4.0], [1.0, -4.0], (0.0, 4.0), id="equal"),
        pytest.param([1.0, -4.0], [1.5, -4.25], (0.5, 4.0), id="the-largest-of-two"),
        pytest.param([0.0], [-0.0], (0.0, 0.0), id="signed-zeros"),
        pytest.param([NAN, 1.0], [NAN, 1.0], (0.0, 1.0), id="equal-nans"),
        pytest.param([INF, -INF], [INF, -INF], (0.0, 0.0), id="equal-infinities"),
        pytest.param([1.0], [NAN], (INF, 1.0), id="a-nan-that-was-not-expected"),
        pytest.param([NAN], [1.0], (INF, 0.0), id="a-nan-that-is-missing"),
        pytest.param([INF], [-INF], (INF, 0.0), id="opposite-infinities"),
        pytest.param([INF, 2.0], [3.0, 2.0], (INF, 2.0), id="an-infinity-that-is-missing"),
        pytest.param([1e308, -1e308], [-1e308, 1e308], (INF, 1e308), id="further-apart-than-float64-can-say"),
        pytest.param(3.0, 2.5, (0.5, 3.0), id="scalars"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_floats(expected: Any, actual: Any, apart: tuple[float, float]) -> None:
    assert difference(np.array(expected), np.array(actual)) == Difference(*apart)


@pytest.mark.parametrize(
    ("dtype", "expected", "actual", "apart"),
    [
        pytest.param("uint8", [1, 200], [2, 100], (100.0, 200.0), id="unsigned-do-not-wrap"),
        pytest.param("int8", [-128], [127], (255.0, 128.0), id="signed-do-not-overflow"),
        pytest.param("bool", [True, False], [True, True], (1.0, 1.0), id="booleans"),
        pytest.param("float16", [1.0], [1.5], (0.5, 1.0), id="halves"),
        pytest.param("complex64", [3 + 4j], [3 + 0j], (4.0, 5.0), id="complex"),
        pytest.param("int64", [2**62], [2**62], (0.0, float(2**62)), id="large-integers"),
        pytest.param("int64", [2**53 + 1], [2**53], (1.0, float(2**53 + 1)), id="integers-that-float64-cannot-tell-apart"),
    ],
)
def test_other_numbers(dtype: str, expected: list[Any], actual: list[Any], apart: tuple[float, float]) -> None:
    assert difference(np.array(expected, dtype=dtype), np.array(actual, dtype=dtype)) == Difference(*apart)


@pytest.mark.parametrize(
    ("actual", "absolute"),
    [(["a", "ü"], 0.0), (["a", "u"], INF), (["a", ""], INF)],
    ids=["equal", "other", "empty"],
)
def test_texts_are_equal_or_infinitely_different(actual: list[str], absolute: float) -> None:
    expected = np.array(["a", "ü"], dtype=object)
    assert difference(expected, np.array(actual, dtype=object)) == Difference(absolute, 1.0)


def test_numbers_of_different_types_are_compared_by_value() -> None:
    assert difference(np.array([1, 2]), np.array([1.0, 2.5], dtype=np.float32)) == Difference(0.5, 2.0)


def test_eight_bit_floats_are_numbers_too() -> None:
    import ml_dtypes

    expected = np.array([1.0, 2.0], dtype=ml_dtypes.float8_e4m3fn)
    assert difference(expected, expected) == Difference(0.0, 2.0)


@pytest.mark.parametrize(
    ("absolute", "scale", "relative"), [(0.5, 2.0, 0.25), (0.0, 0.0, 0.0), (0.1, 0.0, INF), (INF, 1.0, INF)]
)
def test_a_relative_difference_is_of_the_largest_magnitude_expected(absolute: float, scale: float, relative: float) -> None:
    assert Difference(absolute, scale).relative == relative
