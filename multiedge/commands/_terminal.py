"""How commands print: tables and lines on stdout, progress on stderr. rich is imported when there is something to show."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, Timer
from typing import TYPE_CHECKING

from multiedge.errors import printable

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.progress import Progress
    from rich.table import Table

UNFINISHED = 0.999
"""The largest share of a bar: rich stops the time of one that is full, and the next step may start it anew."""
BAR_AFTER_S = 0.5
"""How long work lasts before it gets a bar."""


def new_console(least_columns: int = 0) -> Console:
    """A console on stdout of at least so many columns: a narrower terminal wraps lines, which loses nothing.

    Texts are printed as `PlainConsole` prints them.
    """
    from multiedge.report.console import PlainConsole

    return PlainConsole(width=max(least_columns, PlainConsole().width))


def new_table(title: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    # As wide as its title where there is room: rich would wrap the title to the width of the columns.
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_edge=False, min_width=len(title))


@dataclass(frozen=True)
class Column:
    """One column of a table that is made to fit: in a narrow terminal, columns of the highest `leaves` are left out first,
    those of 0 never."""

    heading: str
    cells: Sequence[str]
    leaves: int = 0
    is_number: bool = True


def print_columns(console: Console, title: str, columns: Sequence[Column]) -> None:
    """Prints a table of the columns that have content and fit the console, then names those that did not fit."""
    kept = [column for column in columns if any(cell not in ("", "-") for cell in column.cells)]
    left_out: list[str] = []
    while _width(console, kept) > console.width and any(column.leaves for column in kept):
        first = max(kept, key=lambda column: column.leaves)
        kept.remove(first)
        left_out.append(" ".join(first.heading.split()))
    console.print(_table(title, kept))
    if left_out:
        print_line(console, f"not shown in {console.width} columns: {', '.join(reversed(left_out))}")


def fits(console: Console, columns: Sequence[Column]) -> bool:
    """Whether a table of those columns that are never left out fits the console."""
    return _width(console, [column for column in columns if not column.leaves]) <= console.width


def _table(title: str, columns: Sequence[Column]) -> Table:
    table = new_table(title)
    for column in columns:
        is_first = column is columns[0]
        justify: JustifyMethod = "right" if column.is_number else "left"
        table.add_column(column.heading, justify=justify, no_wrap=not is_first, overflow="fold" if is_first else "ellipsis")
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    return table


def _width(console: Console, columns: Sequence[Column]) -> int:
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(width=10_000), _table("", columns)).maximum


def shorten(text: str, most: int) -> str:
    """The text in at most so many characters: the ends of names distinguish them, so the middle goes.

    >>> shorten("/encoder/layer.11/output/dense/MatMul", 20)
    '/encoder/…nse/MatMul'
    """
    head = (most - 1) // 2
    return text if len(text) <= most else f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


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
    bar = _LateBar(title)
    try:
        yield bar.update
    finally:
        bar.close()


class _LateBar:
    """The title as a plain line, which becomes a bar with the time if the work lasts: short work does not import the bar.

    A thread shows the bar, since long work may call `update` rarely.
    """

    def __init__(self, title: str) -> None:
        self._title, self._step, self._share = title, "", 0.0
        self._lock = Lock()
        self._closed = False
        self._bar: Progress | None = None
        print(f"{printable(title)} ...", end="\r", file=sys.stderr, flush=True)
        self._timer = Timer(BAR_AFTER_S, self._show)
        self._timer.daemon = True
        self._timer.start()

    def update(self, step: str, share: float) -> None:
        with self._lock:
            self._step, self._share = step, share
            self._draw()

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._closed = True
            if self._bar:
                self._bar.stop()
            else:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with self._lock:
            if self._closed:
                return
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.add_task(self._title, total=1.0)
            self._draw()
            self._bar.start()

    def _draw(self) -> None:
        if self._bar:
            description = f"{self._title}: {self._step}" if self._step else self._title
            self._bar.update(self._bar.task_ids[0], description=description, completed=min(self._share, UNFINISHED))


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
