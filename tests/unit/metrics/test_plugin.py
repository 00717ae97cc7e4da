"""Metrics as values, and metrics from a package outside."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from multiedge.errors import ConfigError
from multiedge.measurements import Item, Measurements
from multiedge.metrics import HIGHER, LOWER, METRICS, Context, Figure, Metric, compute, describe_metric, known_metrics, metric
from multiedge.metrics.run import fps
from multiedge.report.leaderboard import make_columns, order_columns

RUN = Measurements((Item(0, 0.0, 0.0, 1.0), Item(1, 0.0, 0.5, 3.0)), (), 0.0, 4.0)


@metric("J", LOWER, "joules of a coffee machine")
def coffee(measurements: Measurements, context: Context) -> Figure:
    return Figure(float(len(measurements.items)), "two cups", by_device={"kitchen": 2.0})


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package that registers the attribute `coffee` as the metric 'coffee_j'."""
    package = ModuleType("coffee_package")
    vars(package)["coffee"] = coffee
    monkeypatch.setitem(sys.modules, "coffee_package", package)
    point = SimpleNamespace(name="coffee_j", value="coffee_package:coffee")
    monkeypatch.setattr("multiedge.registry.entry_points", lambda group: [point] if group == "multiedge.metrics" else [])
    known_metrics.cache_clear()
    yield package
    known_metrics.cache_clear()


def test_it_is_computed_and_described_with_ours_and_comes_last() -> None:
    figures = compute(RUN)
    assert list(figures) == list(METRICS.names())
    assert list(figures)[-1] == "coffee_j"
    assert (figures["coffee_j"].value, figures["coffee_j"].note, figures["coffee_j"].unit) == (2.0, "two cups", "J")
    assert figures["coffee_j"].by_device == {"kitchen": 2.0}
    assert describe_metric("coffee_j") == ("J", "lower", "joules of a coffee machine")
    assert describe_metric("coffee_ms") == ("ms", "lower", "joules of a coffee machine")


def test_tables_order_it_before_figures_that_no_metric_has() -> None:
    names = ["url", "a_note", "coffee_j", "fps", "algorithm"]
    assert order_columns(names) == ["algorithm", "fps", "coffee_j", "a_note", "url"]


def test_a_column_takes_unit_direction_and_description_from_figures_of_another_installation() -> None:
    value = Metric("K", HIGHER, "temperature of the tea", lambda run, context: 3.0).of(RUN)
    other = Metric("K", HIGHER, "temperature of the tea", lambda run, context: 4.0).of(RUN)
    (column,), _ = make_columns(["tea"], [[value], [other]])
    assert (column.unit, column.description, column.best) == ("K ↑", "temperature of the tea", {1})


@pytest.mark.parametrize("result", [2, 2.0, np.float32(2.0), Figure(2.0)])
def test_numbers_are_figures(result: float | Figure) -> None:
    found = Metric("1", LOWER, "", lambda run, context: result).of(RUN)
    assert (found.value, type(found.value), found.method) == (2.0, float, "measured")


def test_none_is_not_measured() -> None:
    found = Metric("1", LOWER, "", lambda run, context: None).of(RUN)
    assert (found.value, found.method) == (None, "none")


@pytest.mark.parametrize("result", ["2", True, [2.0], Figure("2")])
def test_anything_else_is_refused_by_name(outside: ModuleType, result: object) -> None:
    def odd(measurements: Measurements, context: Context) -> object:
        return result

    vars(outside)["coffee"] = metric("1", LOWER, "")(odd)
    with pytest.raises(ConfigError, match=r"^metric .*odd: expected a number, None or a Figure, got [^\n]*$"):
        compute(RUN)


def test_an_error_of_its_own_does_not_cost_the_other_figures(outside: ModuleType) -> None:
    vars(outside)["coffee"] = metric("1", LOWER, "")(lambda run, context: {}["cup\nsize"])
    figures = compute(RUN)
    assert figures["fps"].value == fps(RUN).value == 0.5
    assert (figures["coffee_j"].value, figures["coffee_j"].note) == (None, r"failed: KeyError: 'cup\nsize'")


def test_a_function_without_the_decorator_is_refused(outside: ModuleType) -> None:
    vars(outside)["coffee"] = lambda run, context: 1.0
    with pytest.raises(ConfigError, match=r"metric 'coffee_j' \(coffee_package:coffee\): expected a Metric"):
        compute(RUN)


def test_a_direction_is_higher_or_lower() -> None:
    with pytest.raises(ConfigError, match="expected the direction 'higher' or 'lower', got 'up'"):
        metric("1", "up", "")(lambda run, context: 1.0)
