"""A run in figures: counts, latencies, recoveries and errors, nothing that was not measured."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from multiedge.measurements import Fault, HostLoad, Item, Measurements
from multiedge.report.results import make_result
from multiedge.report.summary import MOST_ERRORS, host_line, summary

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
    found = figures(replace(RUN, items=(*ITEMS, failed)))["latency_s"]
    assert found["max"] == pytest.approx(1.0)
    assert found["mean"] == pytest.approx(0.55)


@pytest.mark.parametrize(("count", "backed"), [(10, []), (64, ["p50", "p90"]), (662, ["p50", "p90", "p99"])])
def test_a_percentile_has_a_value_only_where_the_samples_back_it(count: int, backed: list[str]) -> None:
    items = tuple(Item(number, 0.0, 0.0, 0.1 * (number + 1)) for number in range(count))
    found = figures(replace(RUN, items=items))["latency_s"]
    assert [name for name in ("p50", "p90", "p99") if found[name] is not None] == backed


def test_latencies_of_no_answers_are_unknown() -> None:
    assert figures(replace(RUN, items=()))["latency_s"] == dict.fromkeys(("p50", "p90", "p99", "mean", "max"))


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


def test_the_verdict_has_fields_and_words() -> None:
    found = figures(replace(RUN, faults=(Fault("crash", "d0", 0.5, 0.75), Fault("return", "d0", 0.9, None))))
    assert found["validity"] == "DEGRADED: crash of d0"
    assert found["verdict"]["verdict"] == "DEGRADED"
    assert found["verdict"]["faults"] == [{"kind": "crash", "device": "d0", "count": 1, "open": 0}]


def test_the_load_of_the_host_is_one_line() -> None:
    host = HostLoad(2, 10.0, 15.0, 1.0, 1.0, {"d0": 4.0, "d1": 2.0})
    assert host_line(host) == (
        "host: 2 processors: workers 30%, caller 5%, other work 45% (other virtual machines 5%), idle 20%"
    )


def test_it_is_plain_json() -> None:
    assert json.loads(json.dumps(figures(), allow_nan=False))["items"] == 10


def test_a_result_without_measurements_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the result of a run, got one without measurements"):
        summary(replace(make_result("run", RUN), measurements=None))
