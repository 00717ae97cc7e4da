"""The leaderboard as text, against readable files, and its rules one by one."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import pytest

from multiedge.metrics import MetricValue
from multiedge.report.leaderboard import make_column, make_columns, markdown, order_columns, render

GOLDEN = Path(__file__).parents[2] / "golden" / "report"

TOO_FEW = MetricValue(None, "s", "lower", "", "n<662: 80 samples do not back a p99", "none", samples_needed=662)
ROWS = [
    {
        "rank": 1,
        "algorithm": "exact",
        "fps": 2.345,
        "latency_p90_s": 0.41,
        "latency_p99_s": TOO_FEW,
        "peak_memory_bytes": 613 << 20,
        "peak_power_w": None,
        "accuracy_top1": 0.8125,
        "paradigm": "multiedgeinference",
        "basemodel-strategy": "throughput",
        "time": "2026-01-31 10:00:00",
        "url": "/somewhere/long",
    },
    {
        "rank": 2,
        "algorithm": "manual",
        "fps": 1.5,
        "latency_p90_s": 0.61,
        "latency_p99_s": TOO_FEW,
        "peak_memory_bytes": 413 << 20,
        "peak_power_w": -9223372036854775807,
        "accuracy_top1": math.nan,
        "paradigm": "multiedgeinference",
        "basemodel-strategy": "manual",
        "time": "2026-01-31 10:05:00",
        "url": "/somewhere/else",
    },
]
FAILED = [("equal_flops", "no plan fits: device 'nano' needs 1.9 GiB and has 1.5 GiB")]


def printed(**options):
    stream = io.StringIO()
    render(None, ROWS, stream=stream, **options)
    return stream.getvalue()


def test_plain_leaderboard_is_the_golden_one():
    assert printed(failed=FAILED, title="vit-b16 on three devices") == (GOLDEN / "leaderboard.txt").read_text(encoding="utf-8")


def test_only_a_modules_hyperparameters_stand_beside_the_algorithm():
    text = markdown(None, [{"rank": 1, "algorithm": "a", "fps": 1.0, "top-1": 0.5, "basemodel-cut": "h1"}])
    assert text.startswith("| rank | algorithm | cut | fps")
    assert "| top-1 |" in text


def test_markdown_leaderboard_is_the_golden_one():
    assert markdown(None, ROWS) == (GOLDEN / "leaderboard.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 100, 160])
def test_no_line_is_wider_than_the_page(width):
    text = printed(width=width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("algorithm") == text.count("rank") >= 1


def test_order_does_not_depend_on_the_order_of_rows():
    names = [*ROWS[0], "zeta", "alpha"]
    assert order_columns(names) == order_columns(reversed(names))
    assert order_columns(names)[:3] == ["rank", "algorithm", "fps"]
    assert order_columns(names)[-1] == "url"


def test_rows_of_text_as_rank_files_hold_them():
    columns, shared = make_columns(["rank", "algorithm", "fps", "url"], [["1", "a", "2.5", "/u"], ["2", "b", "NaN", "/u"]])
    assert [column.name for column in columns] == ["rank", "algorithm", "fps"]
    assert columns[2].cells == ("2.50", "-")
    assert shared == {}


def test_the_old_mark_for_not_measured_is_no_figure():
    assert make_column("peak_power_w", [-9223372036854775807, "-9223372036854775807", math.inf, 3.0]).cells == (
        "-",
        "-",
        "-",
        "3",
    )


def test_equal_metrics_stay_and_equal_settings_are_said_once():
    rows = [{"algorithm": name, "fps": 2.0, "threads": 1} for name in "ab"]
    columns, shared = make_columns(None, rows)
    assert [column.name for column in columns] == ["algorithm", "fps"]
    assert shared == {"threads": "1"}


def test_best_follows_the_direction():
    assert make_column("fps", [1.0, 3.0, 2.0]).best == {1}
    assert make_column("latency_mean_s", [1.0, None, 2.0]).best == {0}
    assert make_column("fps", [1.0, 1.0]).best == frozenset()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_narrow_terminal_gets_more_tables_and_whole_words():
    stream = Terminal()
    render(None, ROWS, stream=stream, title="board", width=60)
    text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("algorithm") > 1
    assert text.count("board") == 1
    assert all(heading in text for heading in ("latency_p99", "peak_memory", "accuracy_top1"))


def test_terminal_gets_a_rich_table():
    stream = Terminal()
    render(None, ROWS, FAILED, stream, title="board", width=160)
    assert "\x1b[" in stream.getvalue()
    assert "failed: equal_flops" in stream.getvalue()


def test_nothing_but_failures():
    stream = io.StringIO()
    render(["rank", "algorithm"], [], FAILED, stream)
    assert stream.getvalue().startswith("no results\nfailed: equal_flops")


def test_bars_in_words_do_not_break_markdown():
    assert "a\\|b" in markdown(None, [{"algorithm": "a|b", "fps": 1.0}])


def test_small_figures_are_not_rounded_away():
    assert make_column("plan_gap", [0.5, 0.002, 0.0]).cells == ("0.5000", "0.0020", "0.0000")


@pytest.mark.parametrize("values", [["h1", None], [4, None]])
def test_a_hyperparameter_that_a_row_does_not_have_is_not_set(values):
    assert make_column("basemodel-cut", values).cells == (str(values[0]), "not set")


def test_names_from_files_bring_no_control_characters_to_the_terminal():
    stream = io.StringIO()
    row = {"algorithm": "a\x1b[31m", "fps": 1.0}
    render(["algorithm", "fps"], [row], stream=stream, title="g[/red]\x1b[31m\nx", failed=[("case\x1b[2J", "it broke")])
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().startswith("g[/red][31m x\n\n")
