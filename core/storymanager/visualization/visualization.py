"""Ways to show a leaderboard, by the names that job files use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from core.storymanager.rank.table import Table

Failed = Sequence[tuple[str, str]]
"""Test cases without results: title and reason."""


def print_table(table: Table, failed: Failed) -> None:
    """The leaderboard on stdout."""
    _render(table.columns, table.lines(), failed, sys.stdout)


_FUNCTIONS: dict[str, Callable[[Table, Failed], None]] = {"print_table": print_table}
METHODS = tuple(_FUNCTIONS)


def get_visualization_func(method: str) -> Callable[[Table, Failed], None]:
    return _FUNCTIONS[method]


def _render(columns: Sequence[str], rows: Sequence[Sequence[str]], failed: Failed, stream: TextIO) -> None:
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines = ["| " + " | ".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)) + " |" for cells in (columns, *rows)]
    if rows:
        print(rule, lines[0], rule, *lines[1:], rule, sep="\n", file=stream)
    if failed:
        print("failed, and not on the leaderboard:", file=stream)
        for title, reason in failed:
            print(f"  {title}: {reason}", file=stream)
