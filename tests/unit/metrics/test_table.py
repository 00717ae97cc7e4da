"""Metrics by name: the library's, those of packages from outside, and what is known of any other name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from multiedge import registry
from multiedge.errors import ConfigError
from multiedge.measurements import Item, Measurements
from multiedge.metrics import compute
from multiedge.metrics.table import METRICS, describe_metric, known_metrics, load_metric
from multiedge.metrics.value import HIGHER, LOWER, metric

RUN = Measurements((Item(0, 0.0, 0.0, 1.0), Item(1, 0.0, 0.0, 2.0)), (), 0.0, 4.0)


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Registers metrics of a package from outside by name."""

    def register(**metrics: Any) -> None:
        module = ModuleType("outside_metrics")
        vars(module).update(metrics)
        monkeypatch.setitem(sys.modules, "outside_metrics", module)
        points = tuple(SimpleNamespace(name=name, value=f"outside_metrics:{name}") for name in metrics)
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "multiedge.metrics" else ())
        known_metrics.cache_clear()

    yield register
    known_metrics.cache_clear()


@metric("items/s", HIGHER, "items answered within a second")
def prompt_fps(measurements, context):
    return sum(item.latency_s <= 1.0 for item in measurements.items) / measurements.wall_s


def test_every_metric_has_a_unit_a_direction_and_a_description() -> None:
    for name, known in known_metrics().items():
        assert known.unit, name
        assert known.direction in (HIGHER, LOWER), name
        assert known.description, name


def test_the_names_of_units_are_those_of_their_metrics() -> None:
    suffixes = {"_s": "s", "_bytes": ("B", "B/item"), "_w": "W", "_j": ("J", "J/item")}
    for name, known in known_metrics().items():
        for suffix, units in suffixes.items():
            if name.endswith(suffix):
                assert known.unit in units, name


def test_figures_come_in_the_order_that_was_asked_for() -> None:
    assert list(compute(RUN, ["latency_max_s", "fps"])) == ["latency_max_s", "fps"]
    assert list(compute(RUN)) == list(METRICS.names())
    assert compute(RUN, []) == {}


def test_an_unknown_metric_names_the_near_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown metric 'fsp'; did you mean 'fps'\?"):
        compute(RUN, ["fsp"])


def test_a_metric_from_outside_is_computed_described_and_listed_like_any_other(outside: Callable[..., None]) -> None:
    outside(prompt_fps=prompt_fps)
    assert compute(RUN, ["prompt_fps"])["prompt_fps"].value == 0.25
    assert list(compute(RUN))[-1] == "prompt_fps"
    assert describe_metric("prompt_fps") == ("items/s", "higher", "items answered within a second")


def test_a_metric_from_outside_that_fails_costs_only_itself(outside: Callable[..., None]) -> None:
    @metric("s", LOWER, "never")
    def broken(measurements, context):
        raise KeyError("missing")

    outside(broken=broken)
    figures = compute(RUN)
    assert figures["broken"].note == "failed: KeyError: 'missing'"
    assert figures["fps"].value == 0.5


def test_what_is_registered_but_is_no_metric_is_named(outside: Callable[..., None]) -> None:
    outside(plain=lambda run: 1.0)
    with pytest.raises(ConfigError, match=r"metric 'plain' \(outside_metrics:plain\): expected a Metric, which the decorator"):
        load_metric("plain")


def test_a_name_of_the_library_cannot_be_taken(outside: Callable[..., None]) -> None:
    outside(fps=prompt_fps)
    with pytest.raises(ConfigError, match=r"metric 'fps' is registered twice: .*\.run:fps and outside_metrics:fps"):
        compute(RUN)


@pytest.mark.parametrize(
    ("name", "unit", "direction"),
    [
        pytest.param("fps", "items/s", "higher", id="ours"),
        pytest.param("latency_mean_ms", "ms", "lower", id="ours-in-another-unit"),
        pytest.param("peak_memory_mb", "MB", "lower", id="memory-in-megabytes"),
        pytest.param("peak_memory", "", "lower", id="ours-without-its-unit"),
        pytest.param("energy_per_item", "", "lower", id="energy"),
        pytest.param("accuracy", "1", "higher", id="of-answers"),
        pytest.param("max_absolute_error", "", "lower", id="an-error-in-the-outputs-unit"),
        pytest.param("load_s", "s", "", id="a-unit-alone"),
        pytest.param("threads", "", "", id="nothing-known"),
        pytest.param("", "", "", id="no-name"),
    ],
)
def test_what_is_known_of_a_name(name: str, unit: str, direction: str) -> None:
    described = describe_metric(name)
    assert (described.unit, described.direction) == (unit, direction)
    assert bool(described.description) is bool(direction)
