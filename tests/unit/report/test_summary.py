"""A run in figures: counts, latencies, recoveries and errors, nothing that was not measured."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from multiedge.measurements import Fault, Item, Measurements
from multiedge.report.results import make_result
from multiedge.report.summary import MOST_ERRORS, latencies, summary

ITEMS = tuple(Item(number, 0.0, 0.0, 0.1 * (number + 1)) for number in range(10))
RUN = Measurements(ITEMS, (), 0.0, 1.0, warmup_items=2, settings={"scenario": "Offline", "executor": "inline"})


def figures(run: Measurements = RUN) -> dict:
    return summary(make_result("run", run))


def test_counts_rate_and_time() -> None:
    found = figures()
    assert {name: found[name] for name in ("items", "completed", "failed", "lost", "duplicated")} == {
        "items": 10,
        "completed": 10,
        "failed": 0,
        "lost": 0,
        "duplicated": 0,
    }
    assert found["fps"] == pytest.approx(10.0)
    assert (found["wall_s"], found["warmup_items"]) == (1.0, 2)
    assert found["settings"]["executor"] == "inline"


def test_latencies_are_of_items_that_were_answered() -> None:
    failed = Item(10, 0.0, 0.0, 50.0, "stage 0 failed")
    found = latencies(replace(RUN, items=(*ITEMS, failed)))
    assert found["max"] == pytest.approx(1.0)
    assert found["mean"] == pytest.approx(0.55)
    assert 0.4 < found["p50"] < 0.7
    assert found["p50"] <= found["p90"] <= found["p99"] <= found["max"]


def test_latencies_of_no_answers_are_unknown() -> None:
    assert latencies(replace(RUN, items=())) == dict.fromkeys(("p50", "p90", "p99", "mean", "max"))


def test_errors_are_listed_by_item_and_no_more_than_a_screen() -> None:
    items = tuple(Item(number, 0.0, 0.0, 1.0, f"error {number}") for number in range(MOST_ERRORS + 5))
    found = figures(replace(RUN, items=items))
    assert found["errors"][0] == {"item": 0, "error": "error 0"}
    assert len(found["errors"]) == MOST_ERRORS
    assert found["failed"] == MOST_ERRORS + 5


def test_recoveries_have_their_duration_or_none() -> None:
    faults = (Fault("crash", "d0", 0.5, 0.75, "worker ended"), Fault("slow", "d1", 0.6, None, "stage 1"))
    recovered, open_ = figures(replace(RUN, faults=faults))["recoveries"]
    assert recovered == {"kind": "crash", "device": "d0", "detected_s": 0.5, "recovery_s": 0.25, "detail": "worker ended"}
    assert open_["recovery_s"] is None


def test_every_metric_has_value_unit_direction_and_note() -> None:
    metrics = figures()["metrics"]
    assert set(metrics["fps"]) == {"value", "unit", "direction", "note"}
    assert all(figure["unit"] for figure in metrics.values())


def test_it_is_plain_json() -> None:
    assert json.loads(json.dumps(figures(), allow_nan=False))["items"] == 10


def test_a_result_without_measurements_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the result of a run, got one without measurements"):
        summary(replace(make_result("run", RUN), measurements=None))
