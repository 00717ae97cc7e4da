"""The parts of every chart: elements, axes, ticks."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that no XML document may hold, not even escaped, but names of devices and nodes may."""


def element(tag: str, *children: str | Markup, **attributes: object) -> Markup:
    """An SVG element; text is escaped, `class_` and `stroke_width` become `class` and `stroke-width`, None is left out.

    >>> element("text", "a < b", x=1.50, class_="axis")
    Markup('<text x="1.5" class="axis">a &lt; b</text>')
    """
    words = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_escaped(_short(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(_escaped(child) for child in children)
    return Markup(f"<{tag}{words}>{inside}</{tag}>") if children else Markup(f"<{tag}{words}/>")


def _escaped(value: object) -> Markup:
    return value if isinstance(value, Markup) else escape(_NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", str(value)))


def _short(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def group(children: Sequence[Markup], **attributes: object) -> Markup:
    return element("g", Markup("").join(children), **attributes)


def picture(
    children: Sequence[Markup], width: float, height: float, label: str, class_: str = "chart", style: str | None = None
) -> Markup:
    """The whole drawing; `label` is its description for screen readers."""
    view = f"0 0 {width:g} {height:g}"
    return element("svg", Markup("").join(children), viewBox=view, role="img", aria_label=label, class_=class_, style=style)


NARROW = 336
"""Width of a drawing for small screens, in pixels; labels have their usual size there."""


def picture_class(width: float) -> str:
    """The class of a chart that takes the full width of the page, or that of a small one."""
    return "chart wide" if width > 600 else "chart"


def by_width(wide: Markup, narrow: Markup) -> Markup:
    """Two drawings of the same figures, of which the page shows the one that fits the screen; '' if both are."""
    if not wide and not narrow:
        return Markup("")
    return element("div", element("div", wide, class_="if-wide"), element("div", narrow, class_="if-narrow"))


def tooltip(text: str) -> Markup:
    return element("title", text)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round values within [low, high].

    >>> nice_ticks(0, 9.2)
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * step for step in (1.0, 2.0, 2.5, 5.0, 10.0) if power * step >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    """A tick's label: as short as it can be.

    >>> tick_text(2500.0), tick_text(0.25)
    ('2,500', '0.25')
    """
    return f"{value:,.6f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Axis:
    """A linear map of values [low, high] to pixels [start, stop]."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        return self.start + (self.stop - self.start) * ((value - self.low) / span if span else 0.5)

    @property
    def ticks(self) -> list[float]:
        return nice_ticks(self.low, self.high, max(3, round(abs(self.stop - self.start) / 64)))


def frame(x: Axis, y: Axis, x_title: str, y_title: str) -> list[Markup]:
    """Grid lines, tick labels and titles of both axes."""
    parts = []
    for value in x.ticks:
        parts.append(element("line", x1=x(value), x2=x(value), y1=y.start, y2=y.stop, class_="grid"))
        parts.append(element("text", tick_text(value), x=x(value), y=y.start + 16, class_="tick", text_anchor="middle"))
    for value in y.ticks:
        parts.append(element("line", x1=x.start, x2=x.stop, y1=y(value), y2=y(value), class_="grid"))
        parts.append(element("text", tick_text(value), x=x.start - 7, y=y(value) + 4, class_="tick", text_anchor="end"))
    parts.append(element("line", x1=x.start, x2=x.stop, y1=y.start, y2=y.start, class_="axis"))
    parts.append(element("text", x_title, x=x.stop, y=y.start + 34, class_="title", text_anchor="end"))
    parts.append(element("text", y_title, x=x.start - 7, y=y.stop - 12, class_="title"))
    return parts
