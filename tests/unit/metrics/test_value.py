"""A metric is a function with a unit and a direction; what it returns becomes a figure, or an error that names it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from multiedge.errors import ConfigError, PlanError
from multiedge.measurements import Measurements
from multiedge.metrics.value import HIGHER, LOWER, Context, Figure, Metric, MetricValue, metric, weakest

EMPTY = Measurements((), (), 0.0, 1.0)


def returning(value: Any) -> Metric:
    def some_figure(measurements: Measurements, context: Context) -> Any:
        return value

    return Metric("s", LOWER, "what it is", some_figure)


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        pytest.param(2, MetricValue(2.0, "s", "lower", "what it is"), id="integer"),
        pytest.param(np.float32(0.5), MetricValue(0.5, "s", "lower", "what it is"), id="numpy"),
        pytest.param(None, MetricValue(None, "s", "lower", "what it is", method="none"), id="not-measured"),
        pytest.param(
            Figure(3.0, "why", "modelled", {"a": 3.0}),
            MetricValue(3.0, "s", "lower", "what it is", "why", "modelled", {"a": 3.0}),
            id="figure",
        ),
        pytest.param(
            Figure(None, "too few", samples_needed=64),
            MetricValue(None, "s", "lower", "what it is", "too few", "none", samples_needed=64),
            id="a-figure-of-nothing-was-not-measured",
        ),
        pytest.param(Figure(0.0), MetricValue(0.0, "s", "lower", "what it is"), id="zero-was-measured"),
    ],
)
def test_what_a_function_returns_as_a_value(returned: Any, value: MetricValue) -> None:
    made = returning(returned).of(EMPTY)
    assert made == value
    assert made.value is None or type(made.value) is float


@pytest.mark.parametrize("returned", ["fast", True, [1.0], {"value": 1.0}, Figure("fast"), 1j])  # type: ignore[arg-type]
def test_anything_else_is_refused_with_the_name_of_the_function(returned: Any) -> None:
    with pytest.raises(ConfigError, match=r"metric .*some_figure: expected a number, None or a Figure, got"):
        returning(returned).of(EMPTY)


def test_a_function_that_fails_does_not_cost_the_run() -> None:
    def failing(measurements: Measurements, context: Context) -> float:
        raise ZeroDivisionError("division\n  by zero")

    made = Metric("s", LOWER, "", failing).of(EMPTY)
    assert (made.value, made.method, made.note) == (None, "none", "failed: ZeroDivisionError: division by zero")
    with pytest.raises(ZeroDivisionError):
        Metric("s", LOWER, "", failing)(EMPTY)


def test_an_error_that_was_written_for_a_user_is_not_hidden() -> None:
    def refusing(measurements: Measurements, context: Context) -> float:
        raise PlanError("no plan fits")

    with pytest.raises(PlanError, match="no plan fits"):
        Metric("s", LOWER, "", refusing).of(EMPTY)


@pytest.mark.parametrize("direction", ["up", "", "Higher", None])
def test_a_metric_needs_a_direction(direction: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected the direction 'higher' or 'lower', got"):
        Metric("s", direction, "", lambda measurements, context: 1.0)


def test_the_decorator_keeps_what_the_function_computes() -> None:
    @metric("items", HIGHER, "items issued")
    def issued(measurements: Measurements, context: Context) -> float:
        return len(measurements.items) if context.plan is None else -1

    assert (issued.unit, issued.direction, issued.description) == ("items", "higher", "items issued")
    assert issued(EMPTY) == Figure(0)


@pytest.mark.parametrize(
    ("methods", "method"),
    [
        ([], "none"),
        (["measured"], "measured"),
        (["measured", "modelled", "measured"], "modelled"),
        (["modelled", "none"], "none"),
        (["measured", "guessed"], "guessed"),
    ],
)
def test_a_total_claims_the_method_of_its_weakest_member(methods: list[str], method: str) -> None:
    assert weakest(methods) == method
