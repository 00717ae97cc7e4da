"""How commands print: tables and lines on stdout, progress on stderr. rich is imported when there is something to show."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from multiedge.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def new_console(least_columns: int = 0) -> Console:
    """A console on stdout of at least so many columns: a narrower terminal wraps lines, which loses nothing.

    Texts are printed as `PlainConsole` prints them.
    """
    from multiedge.report.console import PlainConsole

    return PlainConsole(width=max(least_columns, PlainConsole().width))


def new_table(title: str) -> Table:
    from rich.table import Table

    return Table(title=title, title_justify="left")


def print_plain(text: str, end: str = "\n") -> None:
    """Prints the text on stdout without control characters other than line breaks."""
    print("\n".join(map(printable, text.split("\n"))), end=end)


def print_line(console: Console, text: str, style: str | None = None) -> None:
    """Prints the text without its control characters as one line: no markup, no colours of its own, no line breaks added."""
    console.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def share_bar(title: str) -> Iterator[Callable[[str, float], None]]:
    """Progress on stderr, if that is a terminal, while the context lasts; call what it yields with step and share done."""
    if not sys.stderr.isatty():
        yield lambda step, share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda step, share: bar.update(task, description=f"{title}: {step}", completed=share)


@contextmanager
def count_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Progress on stderr, if that is a terminal, while the context lasts; call what it yields with newly done items."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
