"""The leaderboard as text: a rich table on a terminal, fixed-width columns when piped, and markdown.

Rows are mappings of column name to value, or values in the order of `columns`; a value may be a number, a text, None, or a
MetricValue, which shows 'n<662' where it has too few samples. The caller sorts the rows. Columns keep the given order, or
that of `order_columns`, except that hyperparameters ('basemodel-strategy') come after the algorithm. A setting that is the
same in every row is printed once below the table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from multiedge.errors import printable
from multiedge.metrics import MetricValue, describe_metric, known_metrics
from multiedge.metrics.table import Description
from multiedge.report.units import MISSING, Scale, number_of, scale_for

if TYPE_CHECKING:
    from rich.table import Table

FIRST = ("rank", "algorithm")
LAST = ("paradigm", "basemodel", "time", "url")
HYPERPARAMETER = "basemodel-"
"""Ianvs names hyperparameters after their module: 'basemodel-strategy'."""
NOT_SET = "not set"
"""A hyperparameter that a row does not have, since nothing is measured there."""
IN_FILES_ONLY = ("time", "url")
"""Columns of the rank files that are not printed: they are long, and of use to programs only."""

ARROWS = {"higher": "↑", "lower": "↓"}
_SUFFIXES = {"s": "_s", "B": "_bytes", "W": "_w", "J": "_j", "J/item": "_j", "ms": "_ms", "MB": "_mb"}


@dataclass(frozen=True)
class Column:
    """One column, ready to print: `cells` are texts, `best` the numbers of the rows with the best figure."""

    name: str
    heading: str
    unit: str
    cells: tuple[str, ...]
    is_number: bool
    best: frozenset[int] = frozenset()
    description: str = ""

    @property
    def width(self) -> int:
        return max(len(text) for text in (self.heading, self.unit, *self.cells))


Row = Mapping[str, Any] | Sequence[Any]


def order_columns(names: Iterable[str]) -> list[str]:
    """Rank and algorithm, the library's metrics in the order of their table, others by name, then what identifies the run."""
    known = set(names)
    metrics = [name for name in known_metrics() if name in known]
    others = sorted(known.difference(FIRST, LAST, metrics))
    return [*(n for n in FIRST if n in known), *metrics, *others, *(n for n in LAST if n in known)]


def make_column(name: str, values: Sequence[Any]) -> Column:
    """The column as text: figures in one scale, missing ones as '-' or as the number of samples that they need."""
    unit, direction, description = described(name, values)
    figures = [value.value if isinstance(value, MetricValue) else value for value in values]
    if name not in known_metrics() and any(number_of(figure) is None and not _is_missing(figure) for figure in figures):
        missing = NOT_SET if _is_hyperparameter(name) else MISSING
        words = tuple(missing if _is_missing(figure) else " ".join(str(figure).splitlines()) for figure in figures)
        return Column(name, _bare(name), "", words, False)
    scale = scale_for(figures, unit)
    missing = NOT_SET if _is_hyperparameter(name) else ""
    cells = tuple(_cell(value, scale, missing) for value in values)
    heading = _bare(name).removesuffix(_SUFFIXES.get(unit, "\0"))
    shown = f"{scale.unit} {ARROWS.get(direction, '')}".strip()
    return Column(name, heading, shown, cells, True, _best(figures, direction), description)


def _cell(value: Any, scale: Scale, missing: str) -> str:
    """The text of one figure; `missing`, if it is not '', for one that is not there."""
    figure = value.value if isinstance(value, MetricValue) else value
    if isinstance(value, MetricValue) and figure is None:
        return _short_note(value)
    if missing and _is_missing(figure):
        return missing
    return scale.text(figure) + (_spread(value, scale) if isinstance(value, MetricValue) else "")


def _spread(value: MetricValue, scale: Scale) -> str:
    """How far the interval of repeated runs reaches from the figure; '' if that is less than the last digit shows."""
    if value.interval is None or value.value is None:
        return ""
    reach = scale.text(max(value.interval[1] - value.value, value.value - value.interval[0]))
    return f" ±{reach}" if float(reach.replace(",", "")) > 0 else ""


def described(name: str, values: Iterable[Any]) -> Description:
    """Unit, direction and description as the values state them, otherwise by the name: a run may come from an installation
    with metrics that this one does not have."""
    for value in values:
        if isinstance(value, MetricValue):
            return Description(value.unit, value.direction, value.description)
    return describe_metric(name)


def _is_hyperparameter(name: str) -> bool:
    return name.startswith(HYPERPARAMETER)


def _bare(name: str) -> str:
    return name.removeprefix(HYPERPARAMETER)


def _is_missing(value: Any) -> bool:
    """True for None, '', NaN, infinity and Ianvs's former mark for them, as numbers or as text."""
    if value is None or value == "":
        return True
    if isinstance(value, bool) or number_of(value) is not None:
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _short_note(value: MetricValue) -> str:
    return MISSING if value.samples_needed is None else f"n<{value.samples_needed}"


def _best(figures: Sequence[Any], direction: str) -> frozenset[int]:
    numbers = {row: number for row, figure in enumerate(figures) if (number := number_of(figure)) is not None}
    if len(set(numbers.values())) < 2 or direction not in ARROWS:
        return frozenset()
    best = (max if direction == "higher" else min)(numbers.values())
    return frozenset(row for row, number in numbers.items() if number == best)


def make_columns(columns: Sequence[str] | None, rows: Sequence[Row]) -> tuple[list[Column], dict[str, str]]:
    """The columns to print, and the settings that all rows share: name -> text."""
    named = [row if isinstance(row, Mapping) else dict(zip(columns or (), row, strict=True)) for row in rows]
    names = list(columns) if columns else order_columns(name for row in named for name in row)
    made = [make_column(name, [row.get(name) for row in named]) for name in names if name not in IN_FILES_ONLY]
    shared = [column for column in made if len(rows) > 1 and _is_shared_setting(column)]
    kept = [column for column in made if column not in shared]
    kept.sort(key=lambda column: (column.name not in FIRST, not _is_hyperparameter(column.name)))
    return kept, {column.name: column.cells[0] for column in shared if column.cells[0] != MISSING}


def _is_shared_setting(column: Column) -> bool:
    """True for a setting that is the same in every row; metrics are always shown, since equal figures are a result."""
    return column.name not in FIRST and not describe_metric(column.name).direction and len(set(column.cells)) == 1


def plain(columns: Sequence[Column], width: int = 120) -> str:
    """Fixed-width text. Columns that do not fit go into further blocks, each with the first columns repeated."""
    return "\n\n".join(_block(block) for block in _blocks(columns, width, gap=2))


def _blocks(columns: Sequence[Column], width: int, gap: int) -> list[list[Column]]:
    """The columns in blocks of at most `width` characters, `gap` between columns; each starts with the first columns."""
    lead = [column for column in columns if column.name in FIRST or _is_hyperparameter(column.name)]
    if sum(column.width + gap for column in lead) > width // 2:
        lead = [column for column in columns if column.name in FIRST]
    blocks, block = [], list(lead)
    for column in columns:
        if column in lead:
            continue
        if len(block) > len(lead) and sum(c.width + gap for c in (*block, column)) - gap > width:
            blocks.append(block)
            block = list(lead)
        block.append(column)
    return [*blocks, block]


def _block(columns: Sequence[Column]) -> str:
    def line(texts: Iterable[str]) -> str:
        pairs = zip(texts, columns, strict=True)
        return "  ".join(t.rjust(c.width) if c.is_number else t.ljust(c.width) for t, c in pairs).rstrip()

    count = len(columns[0].cells) if columns else 0
    head = [line(c.heading for c in columns), line(c.unit for c in columns), line("-" * c.width for c in columns)]
    return "\n".join([*head, *(line(c.cells[row] for c in columns) for row in range(count))])


def markdown(columns: Sequence[str] | None, rows: Sequence[Row]) -> str:
    """A markdown table, the best figure of each metric in bold."""
    made, shared = make_columns(columns, rows)
    if not made:
        return ""

    def cell(column: Column, row: int) -> str:
        text = column.cells[row].replace("|", "\\|")
        return f"**{text}**" if row in column.best else text

    lines = [
        "| " + " | ".join(f"{column.heading} [{column.unit}]" if column.unit else column.heading for column in made) + " |",
        "|" + "|".join(" ---: " if column.is_number else " --- " for column in made) + "|",
        *("| " + " | ".join(cell(column, row) for column in made) + " |" for row in range(len(rows))),
    ]
    if shared:
        lines += ["", f"In every row: {_listed(shared)}."]
    return "\n".join(lines) + "\n"


def render(
    columns: Sequence[str] | None,
    rows: Sequence[Row],
    failed: Iterable[tuple[str, str]] = (),
    stream: TextIO | None = None,
    title: str = "",
    width: int | None = None,
) -> None:
    """Prints the leaderboard to `stream` (stdout): with rich on a terminal, otherwise as plain text of `width` (120).

    `failed` are (test case, reason) pairs; they are listed below the table.
    """
    stream = sys.stdout if stream is None else stream
    made, shared = make_columns(columns, rows)
    failures = list(failed)
    if stream.isatty():
        _print_rich(made, stream, title, width)
    else:
        table = plain(made, width or 120) if rows else "no results"
        heading = f"{printable(title)}\n\n" if title else ""
        stream.write("".join([heading, "\n".join(map(printable, table.split("\n"))), "\n"]))
    notes = [f"in every row: {_listed(shared)}"] if shared else []
    if any(cell == MISSING for column in made for cell in column.cells):
        notes.append(f"{MISSING}: not measured")
    notes += [f"failed: {name}: {reason}" for name, reason in failures]
    stream.write("".join(f"{printable(note)}\n" for note in notes))


def _listed(shared: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {text}" for name, text in shared.items())


def _print_rich(columns: Sequence[Column], stream: TextIO, title: str, width: int | None) -> None:
    from multiedge.report.console import PlainConsole

    console = PlainConsole(file=stream, width=width)
    for number, block in enumerate(_blocks(columns, console.width, gap=3)):
        console.print(_rich_table(block, "" if number else title))


def _rich_table(columns: Sequence[Column], title: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for column in columns:
        heading = Text.assemble(column.heading, ("\n" + column.unit, "dim") if column.unit else "")
        table.add_column(heading, justify="right" if column.is_number else "left", overflow="fold")
    for row in range(len(columns[0].cells) if columns else 0):
        table.add_row(*(Text(c.cells[row], style="bold green" if row in c.best else "") for c in columns))
    return table
