"""The pattern of a recorded trace: one arrival a line, as seconds or as date and time."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from multiedge.errors import ConfigError, describe, did_you_mean
from multiedge.formats.documents import read_text


@dataclass(frozen=True)
class Replay:
    """The arrivals of a file of text or CSV, the first of which is due at the start.

    Attributes:
        file: Path. Lines are in the order of time; empty ones and those that begin with '#' are left out.
        column: Of a CSV, the name in its first line of the column with the times; '': the first column.
        speed: 2 replays the trace in half of its time.
    """

    file: str = ""
    column: str = ""
    speed: float = 1.0

    def __post_init__(self) -> None:
        if not self.file:
            raise ConfigError("pattern 'replay': expected a file with arrivals; give --option file=FILE")
        if not 0 < self.speed < float("inf"):
            raise ConfigError(f"pattern 'replay': speed: expected a number above 0, got {self.speed:g}")

    def times_s(self, seed: int) -> Iterator[float]:
        times_s = read_arrivals(self.file, self.column)
        return ((time_s - times_s[0]) / self.speed for time_s in times_s)

    def intervals(self) -> None:
        return None


def read_arrivals(file: str, column: str = "") -> list[float]:
    """Times of arrivals in seconds, ascending; ConfigError with the line of one that cannot be read, or is not in order."""
    lines = [(number, line) for number, line in enumerate(read_text(file).splitlines(), 1) if line.strip() and line[0] != "#"]
    reader = csv.reader(line for _, line in lines)
    rows = [(lines[reader.line_num - 1][0], row) for row in reader]  # a quoted field may have several lines
    place, begin = _column(file, [row for _, row in rows], column)
    times_s: list[float] = []
    for number, row in rows[begin:]:
        word = row[place].strip() if place < len(row) else ""
        time_s = _seconds(word)
        if time_s is None:
            raise ConfigError(f"{file}:{number}: expected seconds, or a date and time, got {describe(word)}")
        if times_s and time_s < times_s[-1]:
            raise ConfigError(f"{file}:{number}: expected a time not before that of the line above; sort the lines by time")
        times_s.append(time_s)
    if not times_s:
        raise ConfigError(f"{file}: expected at least one arrival, got none")
    return times_s


def _column(file: str, rows: Sequence[Sequence[str]], column: str) -> tuple[int, int]:
    """The place of the column, and the row with the first time."""
    names = [name.strip() for name in rows[0]] if rows else []
    if not column:
        return 0, 1 if names and _seconds(names[0]) is None and len(rows) > 1 else 0
    if column not in names:
        raise ConfigError(f"{file}: no column '{column}' in its first line{did_you_mean(column, names)}")
    return names.index(column), 1


def _seconds(word: str) -> float | None:
    """A number, or a date and time as seconds since 1970; None for another text."""
    try:
        seconds = float(word)
    except ValueError:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numpy's, of a zone, whose kind depends on its version: what it gives is UTC
                moment = np.datetime64(word.replace(" ", "T"), "ns")
            seconds = float((moment - np.datetime64(0, "ns")) / np.timedelta64(1, "s"))
        except ValueError:
            return None
    return seconds if np.isfinite(seconds) else None
