"""Traces of arrivals: which files are read, and what is said of the others."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from multiedge.errors import ConfigError
from multiedge.load.replay import Replay, read_arrivals


def write(folder: Path, text: str) -> str:
    (folder / "trace.csv").write_text(text)
    return str(folder / "trace.csv")


def test_the_first_arrival_is_due_at_the_start_and_a_speed_shortens_the_rest(tmp_path: Path) -> None:
    file = write(tmp_path, "# a trace\n100.5\n101.5\n\n103.5\n")
    assert list(Replay(file).times_s(0)) == [0.0, 1.0, 3.0]
    assert list(Replay(file, speed=2.0).times_s(0)) == [0.0, 0.5, 1.5]


def test_a_column_is_taken_by_its_name_and_may_hold_date_and_time(tmp_path: Path) -> None:
    lines = ["TIMESTAMP,ContextTokens", "2023-11-16 18:15:46.6805900,374", "2023-11-16 18:15:47.1805900,396"]
    file = write(tmp_path, "\n".join(lines))
    times_s = read_arrivals(file, "TIMESTAMP")
    assert times_s[1] - times_s[0] == pytest.approx(0.5, abs=1e-6)
    assert read_arrivals(file, "ContextTokens") == [374.0, 396.0]
    assert read_arrivals(file) == times_s


def test_a_time_with_a_zone_is_read_without_a_warning(tmp_path: Path) -> None:
    file = write(tmp_path, "2023-11-16T18:15:46Z\n2023-11-16T19:15:47+01:00\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        times_s = read_arrivals(file)
    assert times_s == [1700158546.0, 1700158547.0]


def test_a_quoted_field_may_have_several_lines(tmp_path: Path) -> None:
    text = 'time,prompt\n1,"first\nsecond\nthird"\n2,short\n'
    assert read_arrivals(write(tmp_path, text), "time") == [1.0, 2.0]
    with pytest.raises(ConfigError, match=r":6: expected seconds, or a date and time, got 'soon'"):
        read_arrivals(write(tmp_path, f"{text}soon,short\n"), "time")


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("1\n2\nsoon\n", "", ":3: expected seconds, or a date and time, got 'soon'"),
        ("1\n3\n2\n", "", ":3: expected a time not before that of the line above; sort the lines by time"),
        ("time,size\n1,2\n", "tim", "no column 'tim' in its first line; did you mean 'time'"),
        ("# nothing\n", "", "expected at least one arrival, got none"),
        ("time,size\n1\n,4\n", "time", ":3: expected seconds, or a date and time, got ''"),
        ("nan\n", "", ":1: expected seconds"),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_its_line(tmp_path: Path, text: str, column: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        read_arrivals(write(tmp_path, text), column)
