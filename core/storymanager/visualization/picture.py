"""A leaderboard as a picture: one group of bars per metric."""

from __future__ import annotations

from xml.sax.saxutils import escape

from core.storymanager.rank.repeats import SUFFIX, read_interval
from core.storymanager.rank.table import RUN, Table
from multiedge.files import write_text
from multiedge.report.leaderboard import Column, make_column
from multiedge.report.units import number_of

_BAR, _GAP, _WIDTH, _MARGIN = 18, 30, 420, 12
_CHARACTER = 7.5
"""Width of a character in pixels at the size of the labels, at most."""


def draw(table: Table, path: str) -> None:
    """Writes an SVG file. Bars start at zero and share a scale within a metric; a value that is no number gets none."""
    names = row_names(table)
    indent = 2 * _MARGIN + _CHARACTER * max(map(len, names), default=0)
    pieces: list[str] = []
    top, right = _MARGIN, 0.0
    for metric in (name for name in table.metrics if not name.endswith(SUFFIX)):
        column = make_column(metric, [row.get(metric) for row in table.rows])
        pieces.append(_label(_MARGIN, top + _BAR - 4, _heading(column), "bold"))
        top += _BAR + 6
        values = [number_of(row.get(metric)) for row in table.rows]
        intervals = [read_interval(row.get(metric + SUFFIX)) for row in table.rows]
        ends = [abs(end) for interval in intervals if interval for end in interval]
        scale = max([*ends, *(abs(value) for value in values if value is not None)], default=0.0) or 1.0
        for name, cell, value, interval in zip(names, column.cells, values, intervals, strict=True):
            length = abs(value or 0.0) / scale * _WIDTH
            pieces += _bar(top, indent, length, name, cell)
            pieces += _interval(top, indent, interval, scale) if interval else []
            right = max(right, indent + max(length + _CHARACTER * len(cell), _WIDTH))
            top += _BAR + 4
        top += _GAP
    width, height = round(max(right, indent) + 2 * _MARGIN), top
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">'
        f'<title>Leaderboard</title><rect width="{width}" height="{height}" fill="#ffffff"/>'
    )
    write_text(path, "\n".join([head, *pieces, "</svg>", ""]))


def row_names(table: Table) -> list[str]:
    """The name of each row: its rank, its algorithm, and the hyperparameters and the run if these differ between rows."""
    varying = [name for name in (*table.hyperparameters, RUN) if len({row.get(name) for row in table.rows}) > 1]
    return [
        ", ".join(
            [f"{rank}. {row.get('algorithm', '')}"]
            + [f"{name.partition('-')[2] or name}={row[name]}" for name in varying if row.get(name)]
        )
        for rank, row in zip(table.ranks, table.rows, strict=True)
    ]


def _heading(column: Column) -> str:
    direction = {"↑": "higher is better", "↓": "lower is better"}
    unit = [direction.get(word, word) for word in column.unit.split(" ") if word]
    return f"{column.heading} ({', '.join(unit)})" if unit else column.heading


def _bar(top: int, left: float, length: float, name: str, figure: str) -> list[str]:
    return [
        _label(_MARGIN, top + _BAR - 4, name),
        f'<rect class="bar" x="{left:.1f}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="#4878a8"/>',
        _label(left + length + 6, top + _BAR - 4, figure),
    ]


def _interval(top: int, left: float, interval: tuple[float, float], scale: float) -> list[str]:
    """A line over the 95 % interval of repeated runs."""
    low, high = (left + max(0.0, end) / scale * _WIDTH for end in interval)
    y = top + _BAR - 3
    return [f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="#20262e" stroke-width="2"/>']


def _label(x: float, y: float, words: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" font-weight="{weight}">{escape(words)}</text>'
