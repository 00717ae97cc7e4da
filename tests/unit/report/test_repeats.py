"""Repeated runs as one result, and ranks that intervals do not separate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.measurements import Fault, Item
from multiedge.metrics import MetricValue
from multiedge.report.page import render_page
from multiedge.report.repeats import combined, ranks_by, shared_ranks
from multiedge.report.results import from_json, make_result, to_json
from multiedge.report.standings import board_rows, groups, rank
from tests.builders.reports import steady_run

RUNS = [make_result("run", steady_run(seconds=seconds, seed=1)) for seconds in (0.10, 0.12, 0.20)]


def test_a_single_round_stays_as_it_is() -> None:
    assert combined(RUNS[:1]) is RUNS[0]


def test_a_figure_is_the_median_with_its_interval_and_every_value() -> None:
    fps = [run.results["fps"].value for run in RUNS]
    found = combined(RUNS)
    assert found.repeats["fps"] == fps
    assert found.results["fps"].value == fps[1]
    low, high = found.results["fps"].interval
    assert low < fps[2] < fps[0] < high
    assert found.measurements is RUNS[1].measurements


def test_items_are_counted_over_all_rounds() -> None:
    assert (combined(RUNS).results["items"].value, combined(RUNS).results["items"].interval) == (300.0, None)


def test_a_figure_that_only_some_rounds_measured_is_unknown() -> None:
    bare = replace(RUNS[0].results["fps"], value=None, note="the timed window is empty")
    found = combined([*RUNS[:2], replace(RUNS[2], results={**RUNS[2].results, "fps": bare})])
    assert (found.results["fps"].value, found.results["fps"].note) == (None, "measured in 2 of 3 rounds")
    assert "fps" not in found.repeats


def test_one_bad_round_is_not_lost_among_good_ones() -> None:
    measured = replace(steady_run(), items=(*steady_run().items, Item(100, 0.0, 0.0, 1.0, "stage 0 failed")))
    faults = (Fault("crash", "nano", 1.0, None), Fault("crash", "nano", 2.0, 2.5))
    found = combined([*RUNS, make_result("run", replace(measured, faults=faults))])
    assert found.validity.verdict == "INVALID"
    assert "round 4: 1 item failed" in found.validity.reasons
    assert {fault.kind: (fault.count, fault.open) for fault in found.validity.faults} == {"device": (3, 3), "crash": (2, 1)}


def test_a_file_keeps_intervals_and_repeats() -> None:
    found = combined(RUNS)
    loaded = from_json(to_json(found))
    assert loaded.results["fps"].interval == pytest.approx(found.results["fps"].interval)
    assert loaded.repeats["fps"] == pytest.approx(found.repeats["fps"])


def figure(value: float | None, reach: float | None = None) -> MetricValue:
    interval = None if reach is None or value is None else (value - reach, value + reach)
    return MetricValue(value, "items/s", "higher", "", interval=interval)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ([figure(9.0), figure(8.0), figure(7.0)], [1, 2, 3]),
        ([figure(9.0), figure(9.0), figure(7.0)], [1, 1, 3]),
        ([figure(9.0, 0.6), figure(8.0, 0.6), figure(7.0, 0.6)], [1, 1, 2]),
        ([figure(9.0, 0.1), figure(8.0, 0.1), figure(7.0, 0.1)], [1, 2, 3]),
        ([figure(9.0, 5.0), figure(8.0), figure(7.0)], [1, 1, 2]),
        ([figure(9.0), None, figure(None)], [1, 2, 3]),
    ],
    ids=["single runs", "equal", "neighbours overlap", "apart", "one is uncertain", "unknown"],
)
def test_rows_that_the_intervals_do_not_separate_share_a_rank(figures: list[MetricValue | None], expected: list[int]) -> None:
    assert list(shared_ranks(dict(enumerate(figures))).values()) == expected


def test_where_less_is_better_the_lower_interval_is_first() -> None:
    assert shared_ranks({0: figure(7.0, 0.1), 1: figure(9.0, 0.1)}, higher_is_better=False) == {0: 1, 1: 2}


def test_a_further_criterion_separates_rows_that_the_first_one_does_not() -> None:
    accuracy = [figure(90.0, 0.0), figure(90.0, 0.0), figure(90.0, 0.0), figure(None), figure(None)]
    speed = [figure(8.0, 0.6), figure(9.0, 0.6), figure(5.0, 0.1), figure(50.0, 1.0), figure(40.0, 1.0)]
    ranks = ranks_by([(dict(enumerate(accuracy)), True), (dict(enumerate(speed)), True)])
    assert ranks == {0: 1, 1: 1, 2: 3, 3: 4, 4: 5}


def test_a_leaderboard_shows_shared_ranks_and_the_reach_of_intervals() -> None:
    slow = combined([make_result("slow", steady_run(seconds=seconds)) for seconds in (0.8, 0.81, 0.82)])
    close = combined([make_result("close", steady_run(seconds=seconds)) for seconds in (0.11, 0.12, 0.21)])
    (group,) = groups(rank([slow, close, combined(RUNS)]))
    assert [row["rank"] for row in board_rows(group)][:2] == [1, 1]
    assert group.shared == [True, True, False]
    assert render_page([slow, close, combined(RUNS)]).count('<span class="unit">rank 1</span>') == 2
    fps = next(column for column in group.columns if column.name == "fps")
    assert all("±" in cell for cell in fps.cells)
