"""Figures for people: one scale per column, three digits, and nothing invented."""

from __future__ import annotations

import math

import numpy as np
import pytest

from multiedge.report.units import Scale, human, number_of, scale_for


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        (-0.5, -0.5),
        ("2.5", 2.5),
        (np.float32(0.5), 0.5),
        (0, 0.0),
        (None, None),
        ("", None),
        ("fast", None),
        (True, None),
        (math.nan, None),
        (math.inf, None),
        ("-inf", None),
        (-9223372036854775807, None),
        ("-9223372036854775807", None),
        ([1], None),
        (10**400, None),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_counts_as_a_number(value: object, number: float | None) -> None:
    assert number_of(value) == number


@pytest.mark.parametrize(
    ("values", "unit", "scale"),
    [
        pytest.param([0.0031, 0.0044], "s", Scale(1e-3, "ms", 2), id="milliseconds"),
        pytest.param([2e-9], "s", Scale(1e-6, "µs", 5), id="smaller-than-the-smallest-unit"),
        pytest.param([613 << 20, 413 << 20], "B", Scale(2.0**20, "MiB", 0), id="mebibytes"),
        pytest.param([1 << 50], "B", Scale(2.0**30, "GiB", 0), id="larger-than-the-largest-unit"),
        pytest.param([0.002, 0.003], "J/item", Scale(1e-3, "mJ/item", 2), id="per-item"),
        pytest.param([5000.0], "J", Scale(1e3, "kJ", 2), id="kilojoules"),
        pytest.param([3, 4], "items", Scale(1.0, "items", 0), id="whole"),
        pytest.param([3.0, 4.25], "items/s", Scale(1.0, "items/s", 2), id="not-whole"),
        pytest.param([0.25], "1", Scale(1.0, "", 3), id="share"),
        pytest.param([None, "x"], "s", Scale(1.0, "s", 0), id="nothing-known"),
        pytest.param([], "B", Scale(1.0, "B", 0), id="no-values"),
        pytest.param([0.0, 0.0], "s", Scale(1.0, "s", 0), id="zeros"),
        pytest.param([-0.004, -0.005], "s", Scale(1e-3, "ms", 2), id="negative"),
        pytest.param([1e-9, 5.0, 6.0], "s", Scale(1.0, "s", 6), id="six-places-at-most"),
    ],
)
def test_the_scale_of_a_column(values: list[object], unit: str, scale: Scale) -> None:
    assert scale_for(values, unit) == scale


@pytest.mark.parametrize(
    ("scale", "value", "text"),
    [
        (Scale(1e-3, "ms", 2), 0.0123, "12.30"),
        (Scale(1.0, "", 0), 1234567, "1,234,567"),
        (Scale(1.0, "", 2), None, "-"),
        (Scale(1.0, "", 2), "word", "-"),
        (Scale(2.0**20, "MiB", 0), 0, "0"),
    ],
)
def test_a_cell_of_a_column(scale: Scale, value: object, text: str) -> None:
    assert scale.text(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (0.999, "s", "999 ms"),
        (1.0, "s", "1 s"),
        (90.0, "s", "90 s"),
        (1234.5, "s", "1,234 s"),
        (0, "s", "0 s"),
        (-0.25, "s", "-250 ms"),
        (5, "items", "5 items"),
        (0.25, "1", "0.250"),
        (1023, "B", "1,023 B"),
        (1024, "B", "1.00 KiB"),
        (0.0, "B", "0 B"),
        (2.5, "W", "2.50 W"),
        (3, "", "3"),
        (None, "W", "not measured"),
        (math.inf, "s", "not measured"),
    ],
)
def test_one_figure_by_itself(value: object, unit: str, text: str) -> None:
    assert human(value, unit) == text
