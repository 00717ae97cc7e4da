"""The pipeline as a Gantt chart: who computed which item when, and the bubbles between."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from multiedge.measurements import Event, Fault, Measurements
from multiedge.report.svg import Axis, element, group, picture, tick_text, tooltip
from multiedge.report.units import human, scale_for

WIDTH, LEFT, TOP, ROW = 960, 110, 14, 40
COLOURS = 8


@dataclass(frozen=True)
class Lane:
    """One device's row in numbers: the chart's text alternative. Seconds; the longest bubble lies between two items."""

    device: str
    colour: int
    computed: int
    mean_s: float
    longest_s: float
    busy_share: float
    longest_bubble_s: float


def lanes(measurements: Measurements) -> list[Lane]:
    """A lane per device that computed, in the order of the stages."""
    found = []
    for number, device in enumerate(measurements.devices):
        events = [event for event in measurements.events if (event.kind, event.device) == ("compute", device)]
        spans = measurements.busy_spans(device)
        if not events or not spans:
            continue
        bubbles = [after[0] - before[1] for before, after in itertools.pairwise(spans)]
        seconds = [event.seconds for event in events]
        share = measurements.busy_s(device) / measurements.wall_s if measurements.wall_s > 0 else 0.0
        mean = sum(seconds) / len(seconds)
        found.append(Lane(device, number % COLOURS, len(events), mean, max(seconds), share, max(bubbles, default=0.0)))
    return found


def draw(measurements: Measurements, max_bars: int = 500) -> Markup:
    """The first events of the run as bars, as many as `max_bars`; empty if no device computed.

    A full bar is computing, a thin one below it sending; a lane's bare ground is a bubble. Items of odd and even number
    differ in strength, so that neighbours can be told apart.
    """
    rows = {lane.device: (index, lane) for index, lane in enumerate(lanes(measurements))}
    wanted = [event for event in measurements.events if event.kind in ("compute", "transfer") and event.device in rows]
    shown = sorted(wanted, key=lambda event: event.start_s)[:max_bars]
    if not shown:
        return Markup("")
    begin, end = min(event.start_s for event in shown), max(event.stop_s for event in shown)
    height = TOP + ROW * len(rows) + 44
    scale = scale_for([end - begin], "s")
    x = Axis(0.0, (end - begin) / scale.factor, LEFT, WIDTH - 12)
    parts = [_ground(name, index, lane) for name, (index, lane) in rows.items()]
    parts += _time_axis(x, TOP + ROW * len(rows), scale.unit)
    parts += [_bar(event, begin, scale.factor, x, *rows[event.device]) for event in shown]
    parts += [_fault(fault, begin, end, scale.factor, x, len(rows)) for fault in measurements.faults]
    label = f"Gantt chart of the first {human(end - begin, 's')}: {len(shown)} bars on {len(rows)} devices; a table follows"
    return picture(parts, WIDTH, height, label, "chart wide")


def _ground(name: str, index: int, lane: Lane) -> Markup:
    y = TOP + ROW * index
    shown = name if len(name) <= 15 else f"{name[:14]}…"
    text = element("text", shown, x=LEFT - 10, y=y + 19, text_anchor="end", class_="lane")
    share = element("text", f"{lane.busy_share:.0%} busy", x=LEFT - 10, y=y + 32, text_anchor="end", class_="tick")
    ground = element("rect", x=LEFT, y=y + 3, width=WIDTH - 12 - LEFT, height=ROW - 6, class_="ground")
    return group([element("g", tooltip(name), text), share, ground])


def _time_axis(x: Axis, y: float, unit: str) -> list[Markup]:
    parts = []
    for value in x.ticks:
        parts.append(element("line", x1=x(value), x2=x(value), y1=TOP, y2=y + 4, class_="grid"))
        parts.append(element("text", tick_text(value), x=x(value), y=y + 19, class_="tick", text_anchor="middle"))
    return [*parts, element("text", f"time [{unit}]", x=x.stop, y=y + 36, class_="title", text_anchor="end")]


def _bar(event: Event, begin: float, factor: float, x: Axis, index: int, lane: Lane) -> Markup:
    left, right = x((event.start_s - begin) / factor), x((event.stop_s - begin) / factor)
    width = max(right - left, 0.6)
    y = TOP + ROW * index
    if event.kind == "transfer":
        text = f"item {event.item}: {event.device} → {event.peer}, {human(event.nbytes, 'B')} in {human(event.seconds, 's')}"
        return element("rect", tooltip(text), x=left, y=y + ROW - 9, width=width, height=4, class_="sent")
    text = f"item {event.item}, stage {event.stage + 1} on {event.device}: {human(event.seconds, 's')}"
    shade = f"c{lane.colour}" + (" odd" if event.item % 2 else "")
    bar = element("rect", tooltip(text), x=left, y=y + 5, width=width, height=ROW - 16, class_=shade, rx=1.5)
    if width < 7.5 * len(str(event.item)) + 6:
        return bar
    return group([bar, element("text", str(event.item), x=left + width / 2, y=y + 21, class_="item", text_anchor="middle")])


def _fault(fault: Fault, begin: float, end: float, factor: float, x: Axis, rows: int) -> Markup:
    start, stop = fault.detected_s, end if fault.recovered_s is None else fault.recovered_s
    if stop < begin or start > end:
        return Markup("")
    left, right = (x((min(max(at, begin), end) - begin) / factor) for at in (start, stop))
    text = tooltip(f"{fault.kind} fault of {fault.device}: {fault.detail}")
    return element("rect", text, x=left, y=TOP, width=max(right - left, 2.0), height=ROW * rows, class_="fault")


def stage_means(measurements: Measurements) -> Sequence[float | None]:
    """Mean seconds that each stage computed per item, by stage number; None for a stage that never ran."""
    by_stage: dict[int, list[float]] = {}
    for event in measurements.events:
        if event.kind == "compute" and event.stop_s > measurements.start_s:
            by_stage.setdefault(event.stage, []).append(event.seconds)
    means = {stage: sum(seconds) / len(seconds) for stage, seconds in by_stage.items()}
    return [means.get(stage) for stage in range(max(means, default=-1) + 1)]
