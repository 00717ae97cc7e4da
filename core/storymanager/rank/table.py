"""The leaderboard as text in columns, and its files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.storymanager.rank.repeats import SUFFIX, read_interval
from core.testcasecontroller.testcase.testcase import Outcome
from multiedge.errors import ConfigError
from multiedge.files import write_text
from multiedge.formats.documents import read_text
from multiedge.formats.fields import Kind
from multiedge.metrics import MetricValue, describe_metric
from multiedge.report.repeats import ranks_by
from multiedge.report.units import number_of

MISSING = "NaN"
RUN = "run"
"""The column that numbers the runs of a job. It is there once a job was run again; Ianvs has no such column."""
_RANK_FILE = Kind("rank file", ConfigError, "move it away or name the job differently")


@dataclass(frozen=True)
class Table:
    """Rows by column name, every value as text; the columns come in Ianvs's order."""

    metrics: tuple[str, ...]
    modules: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...] = ()
    sort_by: tuple[tuple[str, bool], ...] = ()

    @property
    def ranks(self) -> list[int]:
        """The rank of each row: its number. Where a metric of `sort_by` has intervals, rows that none of these separates
        share a rank."""
        metrics = [pair for pair in self.sort_by if pair[0] in self.metrics]
        if not any(row.get(metric + SUFFIX) for row in self.rows for metric, _ in metrics):
            return list(range(1, len(self.rows) + 1))
        ranks = ranks_by(
            [
                ({number: figure(row, metric) for number, row in enumerate(self.rows)}, not ascending)
                for metric, ascending in metrics
            ]
        )
        return [ranks[number] for number in range(len(self.rows))]

    @property
    def columns(self) -> tuple[str, ...]:
        run = (RUN,) if any(RUN in row for row in self.rows) else ()
        return ("rank", "algorithm", *self.metrics, "paradigm", *self.modules, *self.hyperparameters, *run, "time", "url")

    def lines(self) -> list[list[str]]:
        """The rows with their rank, in the order of the columns."""
        return [
            [str(rank), *(row.get(column) or MISSING for column in self.columns[1:])]
            for rank, row in zip(self.ranks, self.rows, strict=True)
        ]

    def after(self, older: Table, replaced: Iterable[str] = ()) -> Table:
        """The rows of other runs in `older`, then these; a column that only one table has is missing in the other's rows.

        If there are other rows, every row has the number of its run. Rows of `older` with the url of one of these, or with one
        that is `replaced`, are of this run, and are left out.
        """
        urls = {*(row["url"] for row in self.rows), *replaced}
        others = [row for row in older.rows if row.get("url") not in urls]
        written = [row.get(RUN, "1") for row in older.rows if row.get("url") in urls]
        number = written[0] if written else str(1 + max((int(row.get(RUN, "1")) for row in others), default=0))
        rows = [*({RUN: "1", **row} for row in others), *({**row, RUN: number} for row in self.rows)] if others else self.rows
        return Table(
            _union(self.metrics, older.metrics),
            _union(self.modules, older.modules),
            _union(self.hyperparameters, older.hyperparameters),
            tuple(rows),
        )

    def sorted(self, sort_by: Sequence[tuple[str, bool]]) -> Table:
        """Rows sorted by (metric, ascending) pairs, first by the first; missing values last, unknown metrics skipped. Rows of a
        lower rank come first."""
        rows = list(self.rows)
        for metric, ascending in reversed(sort_by):
            if metric in self.metrics:
                rows.sort(key=lambda row: _sort_key(row.get(metric, MISSING), 1 if ascending else -1))
        table = Table(self.metrics, self.modules, self.hyperparameters, tuple(rows), tuple(sort_by))
        by_rank = sorted(zip(table.ranks, rows, strict=True), key=lambda pair: pair[0])
        return replace(table, rows=tuple(row for _, row in by_rank))


NO_ROWS = Table((), (), ())


def table_of(outcomes: Iterable[Outcome]) -> Table:
    """The test cases that ran, in their order."""
    outcomes = list(outcomes)
    return Table(
        _union(*(outcome.metrics for outcome in outcomes)),
        _union(*(outcome.algorithm.modules for outcome in outcomes)),
        _union(*(outcome.algorithm.hyperparameters for outcome in outcomes)),
        tuple(_row(outcome) for outcome in outcomes),
    )


def figure(row: Mapping[str, str], metric: str) -> MetricValue:
    """A metric of a row with its interval, if there is one; its value is None where it is no number."""
    unit, direction, description = describe_metric(metric)
    interval = read_interval(row.get(metric + SUFFIX))
    return MetricValue(number_of(row.get(metric)), unit, direction, description, interval=interval)


def _row(outcome: Outcome) -> dict[str, str]:
    algorithm = outcome.algorithm
    return {
        "algorithm": algorithm.name,
        **{name: _text(value) for name, value in outcome.metrics.items()},
        "paradigm": algorithm.paradigm_type,
        **{kind: module.name for kind, module in algorithm.modules.items()},
        **algorithm.hyperparameters,
        "time": outcome.time,
        "url": outcome.url,
    }


def _text(value: Any) -> str:
    return MISSING if isinstance(value, float) and math.isnan(value) else str(value)


def _union(*groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))


def _sort_key(value: str, sign: int) -> tuple[int, float, str]:
    """Numbers first, then texts, then missing values; the direction applies to numbers only."""
    try:
        number = float(value)
    except ValueError:
        return (1, 0.0, value)
    return (2, 0.0, "") if math.isnan(number) else (0, sign * number, "")


def read_table(path: str) -> Table:
    """The table in a rank file; ConfigError if it is none, or damaged."""
    reader = csv.reader(io.StringIO(read_text(path, _RANK_FILE)), strict=True)
    try:
        header, *lines = list(reader) or [[]]
    except csv.Error as error:
        raise _unusable(f"{path}:{reader.line_num}", f"not valid CSV: {error}") from None
    if header[:2] != ["rank", "algorithm"] or header[-2:] != ["time", "url"] or "paradigm" not in header:
        raise _unusable(path, "not a rank file that a run can be added to")
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise _unusable(f"{path}: row {number}", f"expected {len(header)} values as the header names, got {len(line)}")
    middle = header.index("paradigm")
    between = [name for name in header[middle + 1 : -2] if name != RUN]
    modules = tuple(name for name in between if "-" not in name)
    rows = tuple({name: value for name, value in zip(header, line, strict=True) if value} for line in lines)
    if any(not row.get(RUN, "1").isdecimal() for row in rows):
        raise _unusable(path, f"expected whole numbers in the column '{RUN}'")
    return Table(tuple(header[2:middle]), modules, tuple(name for name in between if name not in modules), rows)


def _unusable(place: str, reason: str) -> ConfigError:
    return ConfigError(f"{place}: {reason}; {_RANK_FILE.remedy}")


def write_table(table: Table, path: str) -> None:
    """Replaces the file atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.lines())
    write_text(path, text.getvalue())
