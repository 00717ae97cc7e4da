"""Tables of records, in Markdown that is aligned, so that a terminal shows them as well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.record import Record, Row

MISSING = "-"


@dataclass(frozen=True)
class Column:
    """A heading, and the text of a row's cell."""

    head: str
    text: Callable[[Row], str]


def case(key: str, head: str = "") -> Column:
    """A column of what tells the rows apart."""
    return Column(head or key, lambda row: str(row.case[key]))


def figure(measure: str, head: str, spec: str, factor: float = 1.0) -> Column:
    """The medians of one measure, times `factor`, in the format `spec`; '-' where nothing was measured."""

    def text(row: Row) -> str:
        median = row.median(measure)
        return MISSING if median is None else format(median * factor + 0.0, spec)  # + 0.0: no -0

    return Column(head, text)


def spread(measure: str, head: str, spec: str, factor: float = 1.0) -> Column:
    """As `figure`, followed by the quartiles where they are known."""
    plain = figure(measure, head, spec, factor)

    def text(row: Row) -> str:
        known = row.figures.get(measure)
        if known is None or known.low is None or known.high is None:
            return plain.text(row)
        return f"{plain.text(row)} ({known.low * factor:{spec}} to {known.high * factor:{spec}})"

    return Column(head, text)


def table(columns: Sequence[Column], rows: Iterable[Row]) -> str:
    """A line for each row."""
    return markdown([column.head for column in columns], [[column.text(row) for column in columns] for row in rows])


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table's lines; the first column is aligned to the left, the others to the right."""
    widths = [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(cells, widths) for cells in (heads, rule, *rows))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"


def between(figures: Iterable[float], spec: str) -> str:
    """The least and the greatest of the figures in words: '1.2 to 3.4', or '1.2' if both read alike."""
    values = list(figures)
    least, greatest = format(min(values), spec), format(max(values), spec)
    return least if least == greatest else f"{least} to {greatest}"


def medians(record: Record, measure: str) -> list[float]:
    """Of all rows in which it was measured."""
    return [median for row in record.rows if (median := row.median(measure)) is not None]
