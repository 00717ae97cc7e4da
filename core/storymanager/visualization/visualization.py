"""Ways to show a leaderboard, by the names that job files use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from core.storymanager.rank.table import Table
from multiedge.report.leaderboard import render

Failed = Sequence[tuple[str, str]]
"""Test cases without results: title and reason."""


def print_table(table: Table, failed: Failed) -> None:
    """Prints the leaderboard to stdout, and the failed test cases below it."""
    render(table.columns, table.lines(), failed, sys.stdout)


_FUNCTIONS: dict[str, Callable[[Table, Failed], None]] = {"print_table": print_table}
METHODS = tuple(_FUNCTIONS)


def get_visualization_func(method: str) -> Callable[[Table, Failed], None]:
    """The function that a job file calls `method`, one of METHODS."""
    return _FUNCTIONS[method]
