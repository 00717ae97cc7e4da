"""Latency as a distribution, throughput over the run with its faults."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from multiedge.measurements import Measurements
from multiedge.metrics.percentiles import percentile
from multiedge.metrics.run import completed
from multiedge.report.svg import Axis, element, frame, group, picture, picture_class, tooltip
from multiedge.report.units import human, scale_for

MAX_POINTS = 100
BINS = 60
"""The most steps in the picture of a whole page's width; narrower ones have fewer."""


def latency_cdf(curves: Sequence[tuple[int, str, Sequence[float]]], width: float = 460, height: float = 300) -> Markup:
    """Share of items answered within a time, one curve per (number, name, latencies in seconds); '' without any."""
    curves = [(number, name, sorted(values)) for number, name, values in curves if values]
    if not curves:
        return Markup("")
    scale = scale_for([value for _, _, values in curves for value in values], "s")
    x = Axis(0.0, max(values[-1] for _, _, values in curves) / scale.factor * 1.05, 52, width - 20)
    y = Axis(0.0, 100.0, height - 46, 34)
    parts = frame(x, y, f"latency [{scale.unit}]", "items answered [%]")
    for index, (number, name, values) in enumerate(curves):
        path = _staircase(values, scale.factor, x, y)
        parts.append(element("path", tooltip(f"{number}. {name}"), d=path, class_=f"curve s{index % 8}"))
    if len(curves) == 1:
        parts.append(_median(percentile(curves[0][2], 0.5) / scale.factor, scale.unit, x, y))
    else:
        parts += [_mark(index, number, values, scale.factor, x, y) for index, (number, _, values) in enumerate(curves)]
    label = f"Latency distribution of {', '.join(name for _, name, _ in curves)}"
    return picture(parts, width, height, label, picture_class(width))


def _mark(index: int, number: int, values: Sequence[float], factor: float, x: Axis, y: Axis) -> Markup:
    """The curve's number, at its own height, so that labels of similar curves do not overlap."""
    height = 12 + (index * 83) % 76
    at = x(percentile(values, height / 100) / factor)
    ring = element("circle", cx=at, cy=y(height), r=9, class_=f"mark s{index % 8}")
    return group([ring, element("text", str(number), x=at, y=y(height) + 4, text_anchor="middle", class_="marknumber")])


def _median(value: float, unit: str, x: Axis, y: Axis) -> Markup:
    near_right = x(value) > (x.start + x.stop) / 2
    anchor, shift = ("end", -8) if near_right else ("start", 8)
    dot = element("circle", cx=x(value), cy=y(50), r=4, class_="dot")
    label = element("text", f"median {value:.3g} {unit}", x=x(value) + shift, y=y(50) + 4, class_="note", text_anchor=anchor)
    return element("g", dot, label)


def _staircase(values: Sequence[float], factor: float, x: Axis, y: Axis) -> str:
    count, most = len(values), min(MAX_POINTS, int((x.stop - x.start) / 5))
    ranks = sorted({round(index * (count - 1) / (most - 1)) for index in range(most)} if count > most else range(count))
    path = [f"M{x.start:.1f},{y.start:.1f}"]
    path += [f"H{x(values[rank] / factor):.1f}V{y(100.0 * (rank + 1) / count):.1f}" for rank in ranks]
    return "".join(path) + f"H{x.stop:.1f}"


def throughput(measurements: Measurements, width: float = 960, height: float = 190) -> Markup:
    """Items completed per second over the timed window, with each fault from its detection to its recovery."""
    done = sorted(item.done_s - measurements.start_s for item in completed(measurements))
    wall_s = measurements.wall_s
    bins = min(BINS, int(width / 12), max(4, len(done) // 4))
    if len(done) < 8 or wall_s <= 0:
        return Markup("")
    edges_s = np.linspace(0.0, wall_s, bins + 1)
    # interpolated between completions, otherwise bins of few items differ by a whole item
    answered = np.interp(edges_s, [0.0, *done], np.arange(len(done) + 1))
    rates = [float(rate) for rate in np.diff(answered) * bins / wall_s]
    scale = scale_for([wall_s], "s")
    x = Axis(0.0, wall_s / scale.factor, 52, width - 12)
    y = Axis(0.0, max(rates) * 1.1, height - 46, 30)
    parts = frame(x, y, f"time [{scale.unit}]", "items/s")
    edges = [x(wall_s / scale.factor * index / bins) for index in range(bins + 1)]
    path = "".join(f"L{edges[i]:.1f},{y(rate):.1f}H{edges[i + 1]:.1f}" for i, rate in enumerate(rates))
    parts.append(element("path", d=f"M{x.start},{y.start}{path}V{y.start}Z", class_="area"))
    for number, fault in enumerate(measurements.failures):
        stop_s = measurements.stop_s if fault.recovered_s is None else fault.recovered_s
        left, right = (
            x(min(max(at_s - measurements.start_s, 0.0), wall_s) / scale.factor) for at_s in (fault.detected_s, stop_s)
        )
        text = f"{fault.kind}: {fault.device}"
        parts.append(_fault_band(text, left, right, y, fault.recovered_s is None))
        parts.append(_fault_words(text, left, x, y.stop + 8 + 14 * (number % 3)))
    label = f"Throughput over {human(wall_s, 's')}, {len(measurements.failures)} faults"
    return picture(parts, width, height, label, picture_class(width))


def _fault_band(text: str, left: float, right: float, y: Axis, lasting: bool) -> Markup:
    ending = "never recovered" if lasting else "until items were answered"
    band = element("rect", x=left, y=y.stop, width=max(right - left, 2.0), height=y.start - y.stop, class_="fault")
    edge = element("line", x1=left, x2=left, y1=y.stop - 6, y2=y.start, class_="faultline")
    return element("g", tooltip(f"{text}, {ending}"), band, edge)


def _fault_words(text: str, left: float, x: Axis, height: float) -> Markup:
    """The name of a fault that starts at `left`, on the side that has more room."""
    near_right = left > (x.start + x.stop) / 2
    anchor, shift = ("end", -4) if near_right else ("start", 4)
    return element("text", text, x=left + shift, y=height, class_="note", text_anchor=anchor)
