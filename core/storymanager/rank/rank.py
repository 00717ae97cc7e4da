"""The rank section of a job: how results are sorted, which are shown, and which files are written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.common.config import single_entry
from core.common.lock import locked
from core.common.log import LOGGER
from core.storymanager.rank.repeats import SUFFIX
from core.storymanager.rank.table import Table, read_table, table_of, write_table
from core.storymanager.visualization.picture import draw
from core.storymanager.visualization.visualization import METHODS, get_visualization_func
from core.testcasecontroller.testcase.testcase import Failure, Outcome
from multiedge.errors import did_you_mean
from multiedge.formats.fields import Field

_ALL = ("all",)
_COPIED = ("mota",)
"""Ianvs's own multi-edge examples sort by this metric of another example, which they do not compute."""
_MODES = ("selected_only",)
_SAVE_MODES = ("selected_and_all", "selected_only", "selected_and_all_and_picture")


@dataclass(frozen=True)
class Selection:
    """The paradigms and columns that are shown; ('all',) selects all of them."""

    paradigms: tuple[str, ...] = _ALL
    modules: tuple[str, ...] = _ALL
    hyperparameters: tuple[str, ...] = _ALL
    metrics: tuple[str, ...] = _ALL

    def of(self, table: Table, current: Table) -> Table:
        """The selected columns of `table`; 'all' selects those of the current run. Of rows that differ only in time and url
        the first is kept."""
        chosen = Table(
            _with_intervals(_chosen(self.metrics, current.metrics), current.metrics),
            _chosen(self.modules, current.modules),
            _chosen(self.hyperparameters, current.hyperparameters),
        )
        kept: dict[tuple[str | None, ...], dict[str, str]] = {}
        for row in table.rows:
            if self.paradigms == _ALL or row.get("paradigm") in self.paradigms:
                kept.setdefault(tuple(row.get(name) for name in chosen.columns[1:-2]), dict(row))
        return Table(chosen.metrics, chosen.modules, chosen.hyperparameters, tuple(kept.values()), table.sort_by)


def _with_intervals(chosen: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """The chosen metrics, each with its interval if there is one."""
    names = [name for metric in chosen for name in (metric, metric + SUFFIX) if name in known or not name.endswith(SUFFIX)]
    return tuple(dict.fromkeys(names))


def _chosen(wanted: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    return known if wanted == _ALL else wanted


@dataclass(frozen=True)
class Rank:
    """`sort_by` holds (metric, ascending) pairs."""

    sort_by: tuple[tuple[str, bool], ...] = ()
    method: str = "print_table"
    selection: Selection = Selection()
    save_mode: str = "selected_and_all"

    def check(self, workspace: str) -> None:
        """Raises ConfigError if there is a rank file that a run cannot be added to."""
        if os.path.exists(_all_file(workspace)):
            read_table(_all_file(workspace))

    def save(self, outcomes: Sequence[Outcome], workspace: str, replaced: Iterable[str] = ()) -> Table:
        """Writes the rank files of the job below `workspace`, with the rows of other runs, and returns the selected table.

        Can be called after each test case: rows of these outcomes, and those with a `replaced` url, are not kept from before.
        """
        folder, all_file = os.path.join(workspace, "rank"), _all_file(workspace)
        os.makedirs(folder, exist_ok=True)
        current = table_of(outcomes)
        with locked(folder):
            everything = current.after(read_table(all_file), replaced) if os.path.exists(all_file) else current
            everything = everything.sorted(self.sort_by)
            selected = self.selection.of(everything, current)
            if self.save_mode != "selected_only":
                write_table(everything, all_file)
            write_table(selected, os.path.join(folder, "selected_rank.csv"))
            if self.save_mode == "selected_and_all_and_picture":
                draw(selected, os.path.join(folder, "selected_rank.svg"))
        return selected

    def plot(self, selected: Table, failed: Sequence[Failure]) -> None:
        """Shows the leaderboard, and the failed test cases below it."""
        reasons = [(failure.algorithm.title, failure.reason) for failure in failed]
        get_visualization_func(self.method)(selected, reasons)


def _all_file(workspace: str) -> str:
    return os.path.join(workspace, "rank", "all_rank.csv")


def parse_rank(field: Field, metrics: Sequence[str]) -> Rank:
    """The rank section of a job file, whose test environment computes these metrics."""
    content = field.record(("sort_by", "visualization", "selected_dataitem", "save_mode"))
    return Rank(
        content["sort_by"].optional(lambda entries: _sort_keys(entries, metrics), ()),
        content["visualization"].optional(_method, METHODS[0]),
        content["selected_dataitem"].optional(_selection, Selection()),
        content["save_mode"].optional(lambda mode: mode.choice(_SAVE_MODES), _SAVE_MODES[0]),
    )


def _method(field: Field) -> str:
    content = field.record(("mode", "method"))
    content["mode"].optional(lambda mode: mode.choice(_MODES))
    return content["method"].optional(lambda method: method.choice(METHODS), METHODS[0])


def _sort_keys(field: Field, metrics: Sequence[str]) -> tuple[tuple[str, bool], ...]:
    keys = field.list_of(_sort_key)
    for entry, (metric, _) in zip(field.items(), keys, strict=True):
        if metric in _COPIED:
            LOGGER.warning("%s: no metric '%s' in the test environment; not sorted by it", entry.place, metric)
        elif metric not in metrics:
            raise entry.error(f"no metric '{metric}' in the test environment{did_you_mean(metric, metrics)}")
    return tuple(key for key in keys if key[0] in metrics)


def _sort_key(field: Field) -> tuple[str, bool]:
    """A metric, and whether small values come first: any other word than 'ascend' descends, as in Ianvs."""
    metric, direction = single_entry(field, "'metric: ascend' or 'metric: descend'")
    return metric, direction.name() == "ascend"


def _selection(field: Field) -> Selection:
    content = field.record(("paradigms", "modules", "hyperparameters", "metrics"))
    return Selection(**content.mapping_of(lambda names: names.list_of(Field.name, least=1)))
