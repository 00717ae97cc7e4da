"""A workflow drawn: its steps as boxes from left to right, what they read from each other, and where each of them runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from multiedge.composed import DOMAIN, FIRST_OF, OUTPUT_SUFFIX, TRANSFORM, WHEN, Condition, segment_of, step_of
from multiedge.graph import Graph, Node
from multiedge.plan import Stage
from multiedge.quantity import counted, human_bytes
from multiedge.report.graph_svg import COLOURS, STYLE
from multiedge.report.svg import element, group, picture, tooltip

WIDTH, HEIGHT = 132.0, 46.0
GAP_X, GAP_Y, MARGIN, LEGEND = 92.0, 26.0, 20.0, 26.0
LETTER = 6.3
"""Width of a letter of 11 pixels, about."""
PASSING = 0.7
"""Share of a row that a line takes which passes a column."""
WORKFLOW_STYLE = f"""{STYLE}
.step {{ fill: #fff; stroke: #55616f; stroke-width: 1.2; }} .end {{ fill: #eef1f4; stroke: #b6bfc9; }}
.function {{ stroke-dasharray: 5 3; }} .name {{ font-weight: 700; }} .detail {{ fill: #55616f; }}
.read {{ fill: none; stroke: #77828e; stroke-width: 1.3; }} .gate {{ stroke: #a3341b; stroke-dasharray: 5 3; }}
.tip {{ fill: #77828e; }} .rate {{ fill: #a3341b; }}
"""
"""That of a file of its own; a page has these classes in its own colours."""


@dataclass(frozen=True)
class Box:
    """One box of the drawing: a step, or an end of the workflow.

    Attributes:
        name: Its name.
        kind: 'model', 'function', 'join' or 'end'.
        detail: What it does, in few words.
        condition: Under which it goes on; '' for none.
        rate: The share of items for which it computes.
        devices: The devices that run it.
    """

    name: str
    kind: str
    detail: str
    condition: str = ""
    rate: float = 1.0
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A tensor from one box to another; `is_condition` if it decides whether the other one goes on."""

    source: str
    target: str
    tensor: str
    nbytes: int | None
    is_condition: bool = False


def boxes_of(graph: Graph, stages: Sequence[Stage] = ()) -> dict[str, Box]:
    """The steps of a composed graph by name, in order, with the devices of a plan's stages."""
    devices: dict[int, str] = {node: stage.device for stage in stages for node in stage.nodes}
    nodes: dict[str, dict[int, Node]] = {}
    for number, node in enumerate(graph.nodes):
        if not _names_output(node):
            nodes.setdefault(step_of(segment_of(node.name)), {})[number] = node
    return {
        name: _box(
            graph, name, tuple(own.values()), tuple(dict.fromkeys(devices[number] for number in own if number in devices))
        )
        for name, own in nodes.items()
    }


def _box(graph: Graph, name: str, nodes: Sequence[Node], devices: tuple[str, ...]) -> Box:
    own = {node.op_type: node for node in nodes if node.domain == DOMAIN}
    segment = graph.composition.segments.get(name) if graph.composition else None
    count = sum(node.domain != DOMAIN for node in nodes)
    kind, detail = "model", counted(count, "node")
    if TRANSFORM in own:
        kind, detail = "function", f"{own[TRANSFORM].attributes['function'].rpartition(':')[2]}()"
    elif FIRST_OF in own:
        kind, detail = "join", f"first of {len(own[FIRST_OF].inputs)}"
    elif segment and segment.batch > 1:
        detail += f", batch {segment.batch}"
    condition = str(Condition.of(own[WHEN].attributes)) if WHEN in own else ""
    return Box(name, kind, detail, condition, segment.rate if segment else 1.0, devices)


def lines_of(graph: Graph) -> list[Line]:
    """What steps read from each other, from inputs, and what becomes an output; each tensor once for each pair."""
    lines: dict[tuple[str, str, str, bool], Line] = {}
    maker: dict[str, str] = {}
    for node in graph.nodes:
        source = node.inputs[0] if _names_output(node) else ""
        maker.update(dict.fromkeys(node.writes, maker.get(source, source) if source else step_of(segment_of(node.name))))

    def add(name: str, target: str, is_condition: bool = False) -> None:
        source = maker.get(name, name)
        if source != target and (name in maker or name in graph.inputs):
            nbytes = graph.tensors[name].nbytes if name in graph.tensors else None
            key = (source, target, name, is_condition)
            lines[key] = Line(source, target, name, nbytes, is_condition)

    for node in graph.nodes:
        if _names_output(node):
            continue
        step = step_of(segment_of(node.name))
        for position, name in enumerate(node.inputs):
            add(name, step, node.op_type == WHEN and node.domain == DOMAIN and position == 0)
    for name in graph.outputs:
        add(name, _end(name))
    return list(lines.values())


def _names_output(node: Node) -> bool:
    """Whether the node is of no step: it gives a tensor the name of an output."""
    return segment_of(node.name).endswith(OUTPUT_SUFFIX)


def _end(output: str) -> str:
    """The name of an output's box, which no step has."""
    return f" {output}"


def draw_workflow(graph: Graph, stages: Sequence[Stage] = ()) -> Markup:
    """The workflow of a composed graph; boxes have the colours of the devices of `stages`. Functions have dashed borders, and
    a dashed red line says under which condition a step goes on, and for what share of the items it does."""
    lines = lines_of(graph)
    steps = boxes_of(graph, stages)
    boxes = {name: Box(name, "end", "input") for name in graph.inputs} | steps
    boxes |= {_end(name): Box(name, "end", "output") for name in graph.outputs}
    columns = _columns(boxes, lines)
    rows = _rows(boxes, columns, lines)
    devices = list(dict.fromkeys(device for box in steps.values() for device in box.devices))
    top = MARGIN + 14 + (LEGEND if devices else 0.0)
    places = {point: (MARGIN + point.column * (WIDTH + GAP_X), top + row * (HEIGHT + GAP_Y)) for point, row in rows.items()}
    width = MARGIN + max(x for x, _ in places.values()) + WIDTH
    height = MARGIN + max(y for _, y in places.values()) + HEIGHT
    parts = [
        _legend(devices),
        group([_arrow(line, [places[point] for point in _way(line, columns)]) for line in lines]),
        group([_drawn(box, places[_Point(columns[name], name)], devices) for name, box in boxes.items()]),
        group([_label(box, places[_Point(columns[name], name)]) for name, box in steps.items() if box.condition]),
    ]
    return picture(
        parts,
        width,
        height,
        f"workflow {graph.name}",
        class_="chart workflow",
        style=f"min-width:{width:g}px;max-width:{width:g}px",
    )


def _columns(boxes: Mapping[str, Box], lines: Iterable[Line]) -> dict[str, int]:
    """One column behind all that a box reads; outputs in the last one."""
    before: dict[str, set[str]] = {name: set() for name in boxes}
    for line in lines:
        before[line.target].add(line.source)
    columns: dict[str, int] = {}
    for name in boxes:  # in topological order
        columns[name] = max((columns[source] + 1 for source in before[name]), default=0)
    last = max(columns.values())
    return {name: last if name.startswith(" ") else column for name, column in columns.items()}


@dataclass(frozen=True)
class _Point:
    """Where lines begin, end or pass: a box in its column, or what passes a later column on its way from that box."""

    column: int
    source: str


def _way(line: Line, columns: Mapping[str, int]) -> list[_Point]:
    """The points of a line, one in each column; lines from one box pass columns together."""
    first, last = columns[line.source], columns[line.target]
    return [*(_Point(column, line.source) for column in range(first, last)), _Point(last, line.target)]


def _rows(boxes: Iterable[str], columns: Mapping[str, int], lines: Iterable[Line]) -> dict[_Point, float]:
    """The row of each point: near the middle of what it comes from, as far as there is room in its column."""
    before: dict[_Point, set[_Point]] = {_Point(columns[name], name): set() for name in boxes}
    for line in lines:
        for point, following in pairwise(_way(line, columns)):
            before.setdefault(following, set()).add(point)
    rows: dict[_Point, float] = {}
    for column in range(max(columns.values()) + 1):
        points = [point for point in before if point.column == column]
        wanted = {point: _mean([rows[each] for each in before[point]]) for point in points}
        free = 0.0
        for point in sorted(points, key=lambda point: (wanted[point], columns[point.source] != column)):
            is_box = columns[point.source] == column
            rows[point] = max(free, wanted[point])
            free = rows[point] + (1 if is_box else PASSING)
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _arrow(line: Line, way: Sequence[tuple[float, float]]) -> Markup:
    """A curve from box to box, straight where it passes columns between them."""
    height = HEIGHT * (0.25 if line.is_condition else 0.5)
    (x, y), (x2, y2) = (way[0][0] + WIDTH, way[0][1] + height), (way[-1][0], way[-1][1] + height)
    path = f"M{x:.0f},{y:.0f}"
    for column, row in way[1:-1]:
        path += f"{_bend(x, y, column, row + HEIGHT / 2)}H{column + WIDTH:.0f}"
        x, y = column + WIDTH, row + HEIGHT / 2
    path += _bend(x, y, x2 - 7, y2)
    size = "" if line.nbytes is None else f": {human_bytes(line.nbytes)}"
    tip = element("path", d=f"M{x2:.0f},{y2:.0f}l-8,-4v8z", class_="tip")
    curve = element("path", tooltip(f"{line.tensor}{size}"), d=path, class_="read gate" if line.is_condition else "read")
    return group([curve, tip])


def _bend(x1: float, y1: float, x2: float, y2: float) -> str:
    middle = (x1 + x2) / 2
    return f"C{middle:.0f},{y1:.0f} {middle:.0f},{y2:.0f} {x2:.0f},{y2:.0f}"


def _drawn(box: Box, place: tuple[float, float], devices: Sequence[str]) -> Markup:
    x, y = place
    kinds = {"function": "step function", "end": "step end"}
    shape = {"x": x, "y": y, "width": WIDTH, "height": HEIGHT, "rx": HEIGHT / 2 if box.kind in ("join", "end") else 6}
    parts = [element("rect", tooltip(_told(box)), **shape, class_=kinds.get(box.kind, "step"))]
    share = WIDTH / max(1, len(box.devices))
    for number, device in enumerate(box.devices):
        colour = COLOURS[devices.index(device) % len(COLOURS)]
        bar = {"x": x + 8 + number * (share - 16 / len(box.devices)), "y": y + HEIGHT - 6, "height": 4.0}
        parts.append(element("rect", **bar, width=share - 16 / len(box.devices), rx=2, fill=colour))
    middle = x + WIDTH / 2
    parts.append(element("text", _short(box.name), x=middle, y=y + 19, class_="name", text_anchor="middle"))
    parts.append(element("text", _short(box.detail), x=middle, y=y + 34, class_="detail", text_anchor="middle"))
    return group(parts)


def _told(box: Box) -> str:
    on = f" on {', '.join(box.devices)}" if box.devices else ""
    when = f", if {box.condition}, for {box.rate:.0%} of the items" if box.condition else ""
    return f"{box.name}: {box.detail}{on}{when}"


def _short(text: str) -> str:
    most = int((WIDTH - 10) / LETTER)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _label(box: Box, place: tuple[float, float]) -> Markup:
    """The condition, above the box."""
    text = f"if {box.condition}: {box.rate:.0%}"
    return element("text", text, x=place[0] + WIDTH / 2, y=place[1] - 5, class_="rate", text_anchor="middle")


def _legend(devices: Sequence[str]) -> Markup:
    parts, x = [], MARGIN
    for number, device in enumerate(devices):
        parts.append(
            element("rect", x=x, y=12.0, width=10, height=10, rx=2, fill=COLOURS[number % len(COLOURS)], class_="node")
        )
        parts.append(element("text", device, x=x + 15, y=21.0))
        x += 30 + LETTER * len(device)
    return group(parts)
