"""Runs ranked: one group per model, its leaderboard and its trade-offs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from multiedge.metrics import MetricValue
from multiedge.report.page import render_page
from multiedge.report.results import RunResult
from multiedge.report.standings import board, board_rows, groups, latency_overlay, model_of, rank, trade_offs
from tests.builders.drawings import Drawing
from tests.builders.reports import sample, samples


def figures(name: str, **values: float | None) -> RunResult:
    """A run of figures alone."""
    return RunResult(name, {key: MetricValue(value, "", "higher", "") for key, value in values.items()})


def test_rank_is_by_speed_and_unknown_last():
    bare = RunResult("bare", {})
    assert [result.name for result in rank([bare, *samples()])] == [
        "exact",
        "exact with a fault",
        "manual",
        "equal_flops",
        "single",
        "bare",
    ]


def test_models_are_ranked_apart_and_numbered_through():
    small = sample("small", (0.01, 0.02))
    other = replace(small, plan=replace(small.plan, model="mobilenet"), configuration={"model": "mobilenet"})
    found = groups(rank([*samples(), other]))
    assert [(group.model, group.first, len(group.results)) for group in found] == [("mobilenet", 1, 1), ("vit_b_16", 2, 5)]
    text = render_page([*samples(), other])
    assert text.count('aria-label="Table of the leaderboard') == 2
    assert 'href="#run-6"' in text
    levels = [int(text[place + 2]) for place in range(len(text)) if text.startswith("<h", place) and text[place + 2].isdigit()]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_what_all_names_share_names_the_group():
    runs = [replace(samples()[0], name=f"vit, field, {name}", configuration={}) for name in ("exact", "manual")]
    assert (groups(runs)[0].model, groups(runs)[0].labels) == ("vit, field", ["exact", "manual"])
    assert groups(runs[:1])[0].labels == ["exact"]
    alone = replace(runs[0], name="exact")
    assert (groups([alone])[0].model, groups([alone])[0].labels) == ("vit_b_16", ["exact"])


def test_models_of_one_name_are_distinguished_by_their_hash():
    runs = [replace(samples()[0], plan=replace(samples()[0].plan, model_hash=digest)) for digest in ("aa", "bb", "aa")]
    assert [len(group.results) for group in groups(rank(runs))] == [2, 1]


def test_board_leaves_out_what_nobody_measured_and_names_it():
    columns, numbers, missing = board(samples())
    assert "peak_gpu_memory_bytes" in missing
    assert "failed" not in [column.name for column in columns]
    assert len(columns) == len(numbers)


def test_equal_runs_stay_in_the_order_given() -> None:
    assert [each.name for each in rank([figures("b", fps=1.0), figures("a", fps=1.0), figures("c", fps=None)])] == [
        "b",
        "a",
        "c",
    ]


def test_equal_names_get_numbers_in_the_order_of_the_runs() -> None:
    later, earlier = (replace(figures("parts", fps=2.0), created=created) for created in ("2026-01-02", "2026-01-01"))
    names = [each.name for each in rank([later, earlier, figures("other", fps=1.0)])]
    assert names == ["parts (2)", "parts (1)", "other"]
    assert [each.name for each in rank(rank([later, earlier]))] == ["parts (2)", "parts (1)"]
    taken = rank([figures("a", fps=3.0), figures("a", fps=2.0), figures("a (1)", fps=1.0)])
    assert [each.name for each in taken] == ["a (2)", "a (3)", "a (1)"]


def test_nothing_is_ranked_as_nothing() -> None:
    assert rank([]) == []
    assert groups([]) == []


@pytest.mark.parametrize(
    ("result", "model"),
    [
        pytest.param(sample("a", (0.1,)), "vit_b_16", id="the-plans-model"),
        pytest.param(replace(figures("a"), configuration={"model": "m.onnx"}), "m.onnx", id="the-configurations"),
        pytest.param(figures("a"), "", id="unknown"),
    ],
)
def test_what_identifies_the_model(result: RunResult, model: str) -> None:
    assert model_of(result) == model


def test_a_count_has_a_column_where_some_run_has_something_to_tell() -> None:
    runs = [figures("a", fps=1.0, failed=0.0, items=5.0), figures("b", fps=1.0, failed=2.0, items=5.0)]
    assert [column.name for column in board(runs)[0]] == ["fps", "failed"]
    assert [column.name for column in board(runs[:1])[0]] == ["fps"]


def test_a_column_without_any_value_goes_and_says_how_many_items_it_needs() -> None:
    too_few = MetricValue(None, "s", "lower", "", samples_needed=662)
    columns, numbers, missing = board(
        [RunResult("a", {"latency_p99_s": too_few, "peak_power_w": replace(too_few, samples_needed=None)})]
    )
    assert (columns, numbers) == ([], [])
    assert missing == ["latency_p99_s (needs 662 items)", "peak_power_w"]


def test_rows_of_a_group_go_on_counting() -> None:
    group = replace(groups(rank(samples()[:2]))[0], first=7)
    rows = board_rows(group)
    assert [(row["rank"], row["algorithm"]) for row in rows] == [(7, "exact"), (8, "equal_flops")]
    assert [row["verdict"] for row in rows] == ["VALID", "VALID"]
    assert rows[0]["fps"].value > rows[1]["fps"].value


def test_a_trade_off_needs_two_runs_that_measured_both() -> None:
    one = figures("a", fps=1.0, latency_mean_s=2.0, peak_memory_bytes=5.0)
    other = figures("b", fps=2.0, latency_mean_s=1.0, peak_memory_bytes=None)
    assert [title for title, _ in trade_offs([one, other])] == ["mean latency"]
    assert trade_offs([one]) == []


def test_points_of_trade_offs_carry_the_numbers_of_the_leaderboard() -> None:
    ((_, drawing), *_) = trade_offs(rank(samples()), first=4)
    assert sorted(title[:2] for title in Drawing(drawing).titles("g", "point")) == ["4.", "5.", "6.", "7.", "8."]


def test_an_overlay_shows_the_first_runs_only_and_needs_two() -> None:
    wide_and_narrow = Drawing(latency_overlay(samples(), most=3))
    assert len(wide_and_narrow.all("path", "curve")) == 2 * 3
    assert latency_overlay(samples()[:1]) == ""
    assert latency_overlay([figures("a"), figures("b")]) == ""


def test_a_user_s_metric_that_repeats_one_of_the_library_in_another_unit_has_no_column() -> None:
    repeated = {"peak_memory": MetricValue(109.0, "", "lower", "")}
    columns, _, missing = board([replace(each, results={**each.results, **repeated}) for each in samples()])
    names = [column.name for column in columns]
    assert "peak_memory_bytes" in names
    assert "peak_memory" not in [*names, *missing]
