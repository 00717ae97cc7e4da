"""The pipeline as a Gantt chart: which device computed which item when, and the bubbles between."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from multiedge.measurements import Event, Fault, Measurements
from multiedge.report.svg import Axis, element, group, picture, picture_class, tick_text, tooltip
from multiedge.report.units import human, scale_for

WIDTH, TOP, ROW = 960, 14, 40
ITEMS = 24
"""The items at the start of a run that are drawn."""
MOST_LEFT = 110
"""The most pixels for the names of devices."""
COLOURS = 8


@dataclass(frozen=True)
class Lane:
    """One device's row in numbers, the chart's text alternative. Times are seconds; a bubble is idle time between two items.
    `skipped` counts items for which a stage had nothing to compute."""

    device: str
    colour: int
    computed: int
    mean_s: float
    longest_s: float
    busy_share: float
    longest_bubble_s: float
    skipped: int = 0


def lanes(measurements: Measurements, colours: Mapping[str, int]) -> list[Lane]:
    """A lane per device that computed, in the order of `colours`, which number the devices."""
    rows = []
    for device in sorted(measurements.devices, key=lambda device: list(colours).index(device)):
        events = [event for event in measurements.events if (event.kind, event.device) == ("compute", device)]
        spans = measurements.busy_spans(device)
        if not events or not spans:
            continue
        bubbles = [after[0] - before[1] for before, after in itertools.pairwise(spans)]
        seconds = [event.seconds for event in events]
        share = measurements.busy_s(device) / measurements.wall_s if measurements.wall_s > 0 else 0.0
        mean = sum(seconds) / len(seconds)
        skipped = sum((event.kind, event.device) == ("skip", device) for event in measurements.events)
        rows.append(Lane(device, colours[device], len(events), mean, max(seconds), share, max(bubbles, default=0.0), skipped))
    return rows


@dataclass(frozen=True)
class Window:
    """A part of the run with a chart of its own."""

    title: str
    begin_s: float
    end_s: float


def windows(measurements: Measurements, items: int = ITEMS) -> list[Window]:
    """The first `items` of the run, and the first two faults with some time around each."""
    first = sorted({event.item for event in measurements.events if event.kind == "compute" and event.item >= 0})[:items]
    spans = [(e.start_s, e.stop_s) for e in measurements.events if e.kind == "compute" and e.item in set(first)]
    if not spans:
        return []
    begin, end = min(start for start, _ in spans), max(stop for _, stop in spans)
    parts = [Window(f"The first {len(first)} items", begin, end)]
    for fault in measurements.failures[:2]:
        until = measurements.stop_s if fault.recovered_s is None else fault.recovered_s
        margin_s = max((end - begin) / 3, (until - fault.detected_s) / 2)
        start, stop = max(begin, fault.detected_s - margin_s), min(measurements.stop_s, until + margin_s)
        parts.append(Window(f"Around the {fault.kind} fault of {fault.device}", start, stop))
    return parts


def draw(
    measurements: Measurements, window: Window, colours: Mapping[str, int], max_bars: int = 400, width: float = WIDTH
) -> Markup:
    """The events of a window as bars, the first `max_bars` of them; empty if no device computed.

    A full bar is computing, a thin one below it sending, and empty time a bubble. Items of odd and even number have different
    shades, so that neighbours can be distinguished.
    """
    rows = {lane.device: (index, lane) for index, lane in enumerate(lanes(measurements, colours))}
    wanted = [event for event in measurements.events if event.kind in ("compute", "transfer") and event.device in rows]
    inside = [event for event in wanted if event.stop_s > window.begin_s and event.start_s < window.end_s]
    shown = sorted(inside, key=lambda event: event.start_s)[:max_bars]
    if not shown:
        return Markup("")
    begin, end = window.begin_s, min(window.end_s, max(event.stop_s for event in shown))
    shown = [replace(event, start_s=max(event.start_s, begin), stop_s=min(event.stop_s, end)) for event in shown]
    height = TOP + ROW * len(rows) + 44
    scale = scale_for([end - begin], "s")
    x = Axis(begin / scale.factor, end / scale.factor, min(MOST_LEFT, width / 4), width - 12)
    parts = [_ground(name, index, lane, x) for name, (index, lane) in rows.items()]
    parts += _time_axis(x, TOP + ROW * len(rows), scale.unit)
    parts += [_bar(event, scale.factor, x, *rows[event.device]) for event in shown]
    parts += [_fault(fault, begin, end, scale.factor, x, len(rows)) for fault in measurements.failures]
    label = f"{window.title}, {human(end - begin, 's')} on {len(rows)} devices as a Gantt chart; a table follows"
    return picture(parts, width, height, label, picture_class(width))


def _ground(name: str, index: int, lane: Lane, x: Axis) -> Markup:
    y, right = TOP + ROW * index, x.start - 8
    most = int(right / 6.8)
    shown = name if len(name) <= most else f"{name[: most - 1]}…"
    text = element("text", shown, x=right, y=y + 19, text_anchor="end", class_="lane")
    share = element("text", f"{lane.busy_share:.0%} busy", x=right, y=y + 32, text_anchor="end", class_="tick")
    ground = element("rect", x=x.start, y=y + 3, width=x.stop - x.start, height=ROW - 6, class_="ground")
    return group([element("g", tooltip(name), text), share, ground])


def _time_axis(x: Axis, y: float, unit: str) -> list[Markup]:
    parts = []
    for value in x.ticks:
        parts.append(element("line", x1=x(value), x2=x(value), y1=TOP, y2=y + 4, class_="grid"))
        parts.append(element("text", tick_text(value), x=x(value), y=y + 19, class_="tick", text_anchor="middle"))
    return [*parts, element("text", f"time [{unit}]", x=x.stop, y=y + 36, class_="title", text_anchor="end")]


def _bar(event: Event, factor: float, x: Axis, index: int, lane: Lane) -> Markup:
    left, right = x(event.start_s / factor), x(event.stop_s / factor)
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
    left, right = (x(min(max(at, begin), end) / factor) for at in (start, stop))
    text = tooltip(f"{fault.kind} fault of {fault.device}: {fault.detail}")
    return element("rect", text, x=left, y=TOP, width=max(right - left, 2.0), height=ROW * rows, class_="fault")


def stage_means(measurements: Measurements) -> Sequence[float | None]:
    """Mean seconds that each stage computed per item, by stage number; None for a stage that no item passed. An item that it
    skipped took no time."""
    by_stage: dict[int, list[float]] = {}
    for event in measurements.events:
        if event.kind in ("compute", "skip") and event.stop_s > measurements.start_s:
            by_stage.setdefault(event.stage, []).append(event.seconds)
    means = {stage: sum(seconds) / len(seconds) for stage, seconds in by_stage.items()}
    return [means.get(stage) for stage in range(max(means, default=-1) + 1)]
