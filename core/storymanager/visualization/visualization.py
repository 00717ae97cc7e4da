"""Ways to show a leaderboard, by the names that job files use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from core.storymanager.rank.repeats import SUFFIX
from core.storymanager.rank.table import Table, figure
from multiedge.report.leaderboard import render

Failed = Sequence[tuple[str, str]]
"""Test cases without results: title and reason."""


def print_table(table: Table, failed: Failed) -> None:
    """Prints the leaderboard to stdout, and the failed test cases below it."""
    columns = [name for name in table.columns if not name.endswith(SUFFIX)]
    rows = []
    for texts, row in zip(table.lines(), table.rows, strict=True):
        named = dict(zip(table.columns, texts, strict=True))
        repeated = {name: figure(row, name) for name in table.metrics if row.get(name + SUFFIX)}
        rows.append({name: repeated.get(name, named[name]) for name in columns})
    render(columns, rows, failed, sys.stdout)


_FUNCTIONS: dict[str, Callable[[Table, Failed], None]] = {"print_table": print_table}
METHODS = tuple(_FUNCTIONS)


def get_visualization_func(method: str) -> Callable[[Table, Failed], None]:
    """The function that a job file calls `method`, one of METHODS."""
    return _FUNCTIONS[method]
