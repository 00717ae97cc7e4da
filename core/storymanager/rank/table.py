"""The leaderboard as text in columns, and its files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.storymanager.rank.repeats import SUFFIX, read_interval
from core.testcasecontroller.testcase.testcase import Outcome
from multiedge.errors import ConfigError
from multiedge.files import write_text
from multiedge.metrics import MetricValue, describe_metric
from multiedge.report.repeats import shared_ranks
from multiedge.report.units import number_of

MISSING = "NaN"


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
        """The rank of each row: its number. Where the rows are sorted by a metric with intervals, those that these do not
        separate share a rank."""
        metric, ascending = next((pair for pair in self.sort_by if pair[0] in self.metrics), ("", False))
        if not any(row.get(metric + SUFFIX) for row in self.rows):
            return list(range(1, len(self.rows) + 1))
        figures = {number: figure(row, metric) for number, row in enumerate(self.rows)}
        ranks = shared_ranks(figures, higher_is_better=not ascending)
        return [ranks[number] for number in range(len(self.rows))]

    @property
    def columns(self) -> tuple[str, ...]:
        return ("rank", "algorithm", *self.metrics, "paradigm", *self.modules, *self.hyperparameters, "time", "url")

    def lines(self) -> list[list[str]]:
        """The rows with their rank, in the order of the columns."""
        return [
            [str(rank), *(row.get(column) or MISSING for column in self.columns[1:])]
            for rank, row in zip(self.ranks, self.rows, strict=True)
        ]

    def after(self, older: Table) -> Table:
        """The rows of both tables, the older ones first; a column that only one table has is missing in the other's rows."""
        return Table(
            _union(self.metrics, older.metrics),
            _union(self.modules, older.modules),
            _union(self.hyperparameters, older.hyperparameters),
            (*older.rows, *self.rows),
        )

    def sorted(self, sort_by: Sequence[tuple[str, bool]]) -> Table:
        """Rows sorted by (metric, ascending) pairs, first by the first; missing values last, unknown metrics skipped."""
        rows = list(self.rows)
        for metric, ascending in reversed(sort_by):
            if metric in self.metrics:
                rows.sort(key=lambda row: _sort_key(row.get(metric, MISSING), 1 if ascending else -1))
        return Table(self.metrics, self.modules, self.hyperparameters, tuple(rows), tuple(sort_by))


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
    """The table in a rank file; ConfigError if it is none."""
    with open(path, encoding="utf-8", newline="") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    if header[:2] != ["rank", "algorithm"] or header[-2:] != ["time", "url"] or "paradigm" not in header:
        raise ConfigError(f"{path}: not a rank file that a run can be added to; move it away or name the job differently")
    middle = header.index("paradigm")
    between = header[middle + 1 : -2]
    modules = tuple(name for name in between if "-" not in name)
    rows = tuple({name: value for name, value in zip(header, line, strict=False) if value} for line in lines)
    return Table(tuple(header[2:middle]), modules, tuple(name for name in between if name not in modules), rows)


def write_table(table: Table, path: str) -> None:
    """Replaces the file atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.lines())
    write_text(path, text.getvalue())
