"""The strategies as a picture: each instance as a dot, the geometric mean with its interval; one panel for each measure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from multiedge.bench.rows import MEASURES
from multiedge.bench.summary import Cell, Score, Standing
from multiedge.report.svg import Axis, element, group, picture, tooltip

PANEL, GAP, ROW, TOP, BOTTOM = 220.0, 30.0, 22.0, 40.0, 44.0
CHARACTER = 7.0
"""Width of a character of a label, at most on average."""
TICKS = (1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000)
TITLES = {"throughput": "throughput (time per item)", "latency": "latency", "energy": "energy per item"}
STYLE = """
svg { background: #fff; font: 12px/1 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
text { fill: #16202c; } .grid { stroke: #dde2e8; } .axis { stroke: #55616f; } .tick { fill: #55616f; font-size: 11px; }
.title { font-weight: 600; } .dot { fill: #2a78b8; fill-opacity: .35; } .mean { fill: #a3341b; }
.reach { stroke: #a3341b; stroke-width: 2; }
"""


def draw(standings: Sequence[Standing], table: Sequence[Cell]) -> Markup:
    """Cost / best known cost on a logarithmic scale; further to the left is better."""
    left = max(90.0, 20.0 + CHARACTER * max(len(each.strategy) for each in standings))
    parts = [
        element("text", each.strategy, x=left - 10, y=_middle(number) + 4, text_anchor="end")
        for number, each in enumerate(standings)
    ]
    for number, measure in enumerate(MEASURES):
        start = left + number * (PANEL + GAP)
        parts.append(_panel(standings, table, measure, start))
    width, height = left + 3 * PANEL + 2 * GAP + 12, TOP + ROW * len(standings) + BOTTOM
    parts.append(
        element(
            "text",
            "cost / best known cost, ← better; dot: an instance, line: 95 % interval of the geometric mean",
            x=left,
            y=height - 8,
            class_="tick",
        )
    )
    return picture(parts, width, height, "cost over best known cost of each strategy, by throughput, latency and energy")


def _panel(standings: Sequence[Standing], table: Sequence[Cell], measure: str, start: float) -> Markup:
    ratios = [ratio for cell in table if (ratio := cell.to_best[measure]) is not None]
    most = max([2.0, *ratios])
    axis = Axis(0.0, math.log(most), start, start + PANEL)
    bottom = TOP + ROW * len(standings)
    parts = [element("text", TITLES[measure], x=start, y=18.0, class_="title")]
    last = -math.inf
    for tick in TICKS:
        x = axis(math.log(tick))
        if tick <= most and x - last >= 26:
            parts.append(element("line", x1=x, x2=x, y1=TOP - 8, y2=bottom, class_="grid"))
            parts.append(element("text", f"{tick:g}", x=x, y=bottom + 15, class_="tick", text_anchor="middle"))
            last = x
    parts.append(element("line", x1=start, x2=start, y1=TOP - 8, y2=bottom, class_="axis"))
    for number, each in enumerate(standings):
        parts.extend(_dots(table, each.strategy, measure, axis, _middle(number)))
        parts.append(_mean(each.strategy, each.scores[measure], axis, _middle(number)))
    return group(parts)


def _dots(table: Sequence[Cell], strategy: str, measure: str, axis: Axis, y: float) -> list[Markup]:
    own = [(cell, ratio) for cell in table if cell.strategy == strategy and (ratio := cell.to_best[measure]) is not None]
    return [
        element(
            "circle",
            tooltip(f"{strategy} on {' on '.join(cell.instance)}: {ratio:.3g} x the best known"),
            cx=axis(math.log(ratio)),
            cy=y,
            r=4.0,
            class_="dot",
        )
        for cell, ratio in own
    ]


def _mean(strategy: str, score: Score, axis: Axis, y: float) -> Markup:
    if score.to_best is None:
        return element("text", "no plan", x=axis.start + 8, y=y + 4, class_="tick")
    x = axis(math.log(score.to_best))
    low, high = (axis(max(0.0, math.log(end))) for end in score.to_best_interval or (score.to_best, score.to_best))
    text = tooltip(f"{strategy}: {score.to_best:.3g} x the best known in the geometric mean of {score.instances} instances")
    mark = element(
        "path", text, d=f"M{x - 5:.1f},{y:.1f}L{x:.1f},{y - 6:.1f}L{x + 5:.1f},{y:.1f}L{x:.1f},{y + 6:.1f}Z", class_="mean"
    )
    return group([element("line", x1=low, x2=high, y1=y, y2=y, class_="reach"), mark])


def _middle(number: int) -> float:
    return TOP + ROW * (number + 0.5)
