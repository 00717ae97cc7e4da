"""A leaderboard as a picture: one group of bars per metric."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

from core.storymanager.rank.repeats import SUFFIX, read_interval
from core.storymanager.rank.table import Table
from multiedge.files import write_text

_BAR, _GAP, _LABELS, _WIDTH = 18, 30, 260, 420


def draw(table: Table, path: str) -> None:
    """Writes an SVG file. Bars start at zero and share a scale within a metric; a value that is no number has none."""
    pieces: list[str] = []
    top = 0
    for metric in (name for name in table.metrics if not name.endswith(SUFFIX)):
        pieces.append(_label(0, top + _BAR, metric, "bold"))
        top += _BAR + 6
        values = [_number(row.get(metric, "")) for row in table.rows]
        intervals = [read_interval(row.get(metric + SUFFIX)) for row in table.rows]
        ends = [abs(end) for interval in intervals if interval for end in interval]
        scale = max([*ends, *(abs(value) for value in values if math.isfinite(value))], default=0.0) or 1.0
        for row, value, interval in zip(table.rows, values, intervals, strict=True):
            pieces += _bar(top, row.get("algorithm", ""), row.get(metric, "NaN"), value / scale)
            pieces += _interval(top, interval, scale) if interval else []
            top += _BAR + 4
        top += _GAP
    size = f'width="{_LABELS + _WIDTH + 140}" height="{top}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    write_text(path, "\n".join([head, *pieces, "</svg>", ""]))


def _bar(top: int, name: str, value: str, share: float) -> list[str]:
    length = abs(share) * _WIDTH if math.isfinite(share) else 0.0
    return [
        _label(10, top + _BAR - 4, name),
        f'<rect x="{_LABELS}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="#4878a8"/>',
        _label(_LABELS + length + 6, top + _BAR - 4, value),
    ]


def _interval(top: int, interval: tuple[float, float], scale: float) -> list[str]:
    """A line over the 95 % interval of repeated runs."""
    left, right = (_LABELS + max(0.0, end) / scale * _WIDTH for end in interval)
    y = top + _BAR - 3
    return [f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}" stroke="#20262e" stroke-width="2"/>']


def _label(x: float, y: float, words: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" font-weight="{weight}">{escape(words)}</text>'


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan
