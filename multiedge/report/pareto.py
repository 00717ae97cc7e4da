"""Throughput against a cost, with the Pareto front: the runs that no other run beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from multiedge.report.svg import Axis, element, frame, group, picture, tooltip
from multiedge.report.units import Scale, scale_for

WIDTH, HEIGHT = 320, 270
RADIUS = 10


@dataclass(frozen=True)
class Point:
    """One run: `number` is its place on the leaderboard. The intervals are those of repeated runs."""

    number: int
    name: str
    x: float
    y: float
    x_interval: tuple[float, float] | None = None
    y_interval: tuple[float, float] | None = None


def front(points: Sequence[Point]) -> list[Point]:
    """The Pareto front, ascending in x: no other point has more x without more y, or less y without less x."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.x, point.y)):
        if not best or point.y < best[-1].y:
            best.append(point)
    return best[::-1]


def draw(points: Sequence[Point], x_unit: str, y_unit: str, x_title: str, y_title: str) -> Markup:
    """Points by number; those of the front are filled and joined by steps. More x is better, more y is worse."""
    x_scale, y_scale = scale_for([p.x for p in points], x_unit), scale_for([p.y for p in points], y_unit)
    x = Axis(0.0, max(max([p.x, *(p.x_interval or ())]) for p in points) / x_scale.factor * 1.12 or 1.0, 52, WIDTH - 14)
    y = Axis(0.0, max(max([p.y, *(p.y_interval or ())]) for p in points) / y_scale.factor * 1.15 or 1.0, HEIGHT - 46, 34)
    best = front(points)
    parts = frame(x, y, _titled(x_title, x_scale, "better →"), _titled(y_title, y_scale, "↓ better"))
    parts.append(element("path", d=_steps(best, x, y, x_scale, y_scale), class_="front"))
    places = _apart([(x(p.x / x_scale.factor), y(p.y / y_scale.factor)) for p in points])
    shown = sorted(zip(points, places, strict=True), key=lambda pair: _is_best(pair[0], best))
    for point, (px, py) in shown:
        text = f"{point.number}. {point.name}: {x_scale.text(point.x)} {x_scale.unit}, {y_scale.text(point.y)} {y_scale.unit}"
        kind = "best" if _is_best(point, best) else "beaten"
        bars = _error_bars(point, x, y, x_scale.factor, y_scale.factor)
        label = element("text", str(point.number), x=px, y=py + 4, text_anchor="middle")
        parts.append(
            element("g", tooltip(text), bars, element("circle", cx=px, cy=py, r=RADIUS), label, class_=f"point {kind}")
        )
    names = ", ".join(point.name for point in best)
    return picture(parts, WIDTH, HEIGHT, f"{x_title} against {y_title}; no other run beats: {names}")


def _error_bars(point: Point, x: Axis, y: Axis, x_factor: float, y_factor: float) -> Markup:
    """Lines over the intervals of a repeated run, cut off at the axes."""
    px, py = x(point.x / x_factor), y(point.y / y_factor)
    bars = []
    if point.x_interval:
        left, right = (x(max(0.0, end) / x_factor) for end in point.x_interval)
        bars.append(element("line", x1=left, x2=right, y1=py, y2=py, class_="interval"))
    if point.y_interval:
        below, above = (y(max(0.0, end) / y_factor) for end in point.y_interval)
        bars.append(element("line", x1=px, x2=px, y1=below, y2=above, class_="interval"))
    return group(bars)


def _is_best(point: Point, best: Sequence[Point]) -> bool:
    """True for the points of the front and for those equal to one of them."""
    return any((point.x, point.y) == (other.x, other.y) for other in best)


def _apart(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Places of circles: one that would cover another is beside it, on the side that has room."""
    apart: list[tuple[float, float]] = []
    for x, y in places:
        step = 2 * RADIUS + 1 if x < WIDTH / 2 else -2 * RADIUS - 1
        while any(abs(x - other_x) < RADIUS and abs(y - other_y) < RADIUS for other_x, other_y in apart):
            x += step
        apart.append((x, y))
    return apart


def _titled(title: str, scale: Scale, arrow: str) -> str:
    return f"{title} [{scale.unit}] {arrow}" if scale.unit else f"{title} {arrow}"


def _steps(best: Sequence[Point], x: Axis, y: Axis, x_scale: Scale, y_scale: Scale) -> str:
    """The steps of the front: level from each run to the left, down where the next run costs less."""
    places = [(x(point.x / x_scale.factor), y(point.y / y_scale.factor)) for point in best]
    path = [f"M{x.start:.1f},{places[0][1]:.1f}"]
    for place, after in zip(places, [*places[1:], None], strict=True):
        path.append(f"H{place[0]:.1f}" + (f"V{after[1]:.1f}" if after else f"V{y.stop:.1f}"))
    return "".join(path)
