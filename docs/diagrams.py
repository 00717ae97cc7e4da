"""Sequence diagrams as SVG, and the page with them, from what docs/sequences.py recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from docs.exchanges import CALLER, HUB, Step
from multiedge.formats.documents import read_json
from multiedge.formats.records import reader_of
from multiedge.report.svg import element

RECORD = Path(__file__).parent / "sequences.json"
COLUMN, LEFT, TOP, ROW, BOTTOM = 236, 150, 64, 34, 16
STYLE = """
    svg { font: 13px system-ui, sans-serif; color: #1f2933; }
    text { fill: currentColor; text-anchor: middle; }
    .said { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round; }
    .name { font-weight: 600; font-size: 14px; }
    .time { text-anchor: end; fill: #52606d; font-size: 12px; }
    .head { fill: #e0f2f1; stroke: #00796b; stroke-width: 1.5; }
    .life { stroke: #9aa5b1; stroke-width: 1; stroke-dasharray: 2 4; }
    .sent, .reply { stroke: #1f2933; stroke-width: 1.5; fill: none; marker-end: url(#arrow); }
    .reply { stroke: #52606d; stroke-dasharray: 5 4; }
    .done { fill: #fff4e0; stroke: #b45309; stroke-width: 1.5; }
    #arrow path { fill: #1f2933; }
    @media (prefers-color-scheme: dark) {
      svg { color: #e4e7eb; } .said { stroke: #1b1f24; } .time { fill: #9aa5b1; }
      .head { fill: #0f3d3a; stroke: #4db6ac; } .done { fill: #43300f; stroke: #f0a04b; }
      .sent { stroke: #e4e7eb; } .reply { stroke: #9aa5b1; } #arrow path { fill: #e4e7eb; }
    }
"""


@dataclass(frozen=True)
class Sequences:
    """What was recorded with a model: a deployment with states by push, one by pull, and one item."""

    model: str
    push: tuple[Step, ...]
    pull: tuple[Step, ...]
    inference: tuple[Step, ...]


def read() -> Sequences:
    """The record; ConfigError with its place if it is none."""
    recorded: Sequences = reader_of(Sequences)(read_json(RECORD))
    return recorded


def sides(steps: Sequence[Step]) -> list[str]:
    """Who takes part: the caller, the hub, then nodes by name."""
    names = {name for step in steps for name in (step.source, step.target)}
    return [*(name for name in (CALLER, HUB) if name in names), *sorted(names - {CALLER, HUB})]


def draw(steps: Sequence[Step], label: str) -> str:
    """The diagram as SVG: a line for each side, time downwards, and what was sent as arrows."""
    names = sides(steps)
    at = {name: LEFT + COLUMN * place for place, name in enumerate(names)}
    width, height = LEFT + COLUMN * (len(names) - 1) + 110, TOP + ROW * len(steps) + BOTTOM
    parts = [_arrowhead(), *(part for name in names for part in _side(name, at[name], height))]
    for row, step in enumerate(steps):
        parts += _step(step, at, TOP + ROW * row + ROW // 2 + 6)
    opening = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "width": width, "height": height}
    whole = element("svg", element("style", Markup(STYLE)), *parts, role="img", aria_label=label, **opening)
    return f"{whole}\n"


def _arrowhead() -> Markup:
    tip = element("path", d="M0 0 10 5 0 10z")
    size = {"viewBox": "0 0 10 10", "refX": 9, "refY": 5, "markerWidth": 7, "markerHeight": 7, "orient": "auto"}
    return element("marker", tip, id="arrow", **size)


def _side(name: str, x: int, height: int) -> list[Markup]:
    return [
        element("line", x1=x, x2=x, y1=46, y2=height - 4, class_="life"),
        element("rect", x=x - 56, y=12, width=112, height=34, rx=6, class_="head"),
        element("text", name, x=x, y=34, class_="name"),
    ]


def _step(step: Step, at: Mapping[str, int], y: int) -> list[Markup]:
    source, target = at[step.source], at[step.target]
    time = element(
        "text", f"{step.at_s * 1e3:.0f} ms" if step.at_s >= 0.1 else f"{step.at_s * 1e3:.1f} ms", x=66, y=y + 4, class_="time"
    )
    if source == target:
        return [
            time,
            element("rect", x=source - 78, y=y - 12, width=156, height=24, rx=4, class_="done"),
            element("text", step.text, x=source, y=y + 5),
        ]
    inset = 3 if target > source else -3
    line = element("line", x1=source, x2=target - inset, y1=y + 6, y2=y + 6, class_="reply" if step.is_reply else "sent")
    return [time, line, element("text", step.text, x=(source + target) / 2, y=y, class_="said")]


PAGE = """# Who sends what to whom

Drawn by `python docs/generate.py` from a recording of {model} on two nodes; `python docs/sequences.py MODEL.onnx` makes
another. Times are those of that run. Requests of one kind in a row are one arrow, and states that say nothing new are left out.

## A deployment, states by push

Each node tells the hub its state every 0.5 s and when a stage is ready; the answer is all that it is to hold. It fetches the
plan and the bytes of its own stages.

![Sequence of a deployment with states by push](images/sequence-push.svg)

## A deployment, states by pull

With `multiedge hub run --pull` the hub asks each node. What it says and what the node answers are the same as by push.

![Sequence of a deployment with states by pull](images/sequence-pull.svg)

## An inference

The caller sends the inputs to the node of the first stage; nodes send each other what the next stage needs; the last one sends
the result. The hub takes no part.

![Sequence of one inference](images/sequence-inference.svg)
"""


def page() -> str:
    """docs/sequences.md."""
    return PAGE.format(model=read().model)


def push() -> str:
    return draw(read().push, "A caller deploys a plan; nodes report to the hub, fetch their stages, and load them")


def pull() -> str:
    return draw(
        read().pull, "A caller deploys a plan; the hub asks nodes for their states; they fetch their stages, and load them"
    )


def inference() -> str:
    return draw(read().inference, "An item goes from the caller through the nodes of its stages and back")
