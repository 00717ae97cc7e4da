"""The graph of a model, coloured by device, with the transfers between stages; and a chart as a separate file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from multiedge.graph import Graph
from multiedge.plan import CALLER, Stage, Transfer
from multiedge.quantity import human_bytes
from multiedge.report.svg import element, group, picture, tooltip

MOST_LAYERS = 60
"""The most layers in a row; a deeper graph continues in further rows of the same length."""
MOST_LABELS = 16
"""The most transfers that are labelled; of more, the sizes are in the tooltips of the red edges only."""
STEP_X, STEP_Y, SIZE = 18.0, 13.0, 10.0
MARGIN, LEGEND = 24.0, 30.0
COLOURS = ("#2a78b8", "#e0902a", "#18937a", "#b95c94", "#57a9dd", "#c9512c", "#77715f", "#8a6fc4")

STYLE = """
svg { background: #fff; font: 11px/1 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
text { fill: #16202c; } .edge { fill: none; stroke: #b6bfc9; stroke-width: .8; }
.cut { fill: none; stroke: #a3341b; stroke-width: 1.4; }
.bytes { fill: #a3341b; font-size: 11px; paint-order: stroke; stroke: #fff; stroke-width: 3px; }
.node { stroke: #16202c; stroke-width: .4; } .more { fill: url(#hatch); }
.grid { stroke: #dde2e8; } .axis { stroke: #55616f; } .tick, .title { fill: #55616f; font-size: 11px; }
.front { fill: none; stroke: #0b5cad; stroke-width: 1.5; stroke-dasharray: 5 4; }
.point circle { stroke: #0b5cad; stroke-width: 1.75; } .point text { font-size: 11px; font-weight: 700; }
.best circle { fill: #0b5cad; } .best text { fill: #fff; } .beaten circle { fill: #fff; } .beaten text { fill: #0b5cad; }
"""


@dataclass(frozen=True)
class _Place:
    x: float
    y: float
    top: float
    """The top of the row."""


def standalone(drawing: Markup, style: str = STYLE) -> str:
    """The drawing as the text of a self-contained SVG file."""
    head, _, rest = str(drawing).partition(">")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}\n'


def draw_graph(graph: Graph, stages: Sequence[Stage], transfers: Sequence[Transfer]) -> Markup:
    """Nodes as squares in the colour of their device, layer by layer from left to right and row by row; edges between
    stages in red, each pair of stages with the bytes that one item sends there. Constants that nothing computes with are left
    out."""
    stage_of = {node: number for number, stage in enumerate(stages) for node in stage.nodes}
    layers = _layers(graph)
    places, height = _layout({node: layers[node] for node in _connected(graph)})
    devices = list(dict.fromkeys(stage.device for stage in stages))
    nodes = [_node(graph, node, place, stages[stage_of[node]], devices) for node, place in places.items()]
    inner, cuts = _edges(graph, places, stage_of)
    labels = _labels(graph, places, stage_of, transfers)
    width = max(420.0, MARGIN + STEP_X + max((place.x for place in places.values()), default=0.0))
    parts = [_legend(stages, devices), group(inner), group(cuts), group(nodes), group(labels)]
    names = ", ".join(devices)
    # Small graphs keep their size: enlarged, their words are larger than the page's.
    return picture(parts, width, height, f"graph of {graph.name} on {names}", style=f"max-width:{width:g}px")


def _connected(graph: Graph) -> list[int]:
    """The nodes that read an activation or whose result is used; exporters leave many constants that were folded."""

    def is_used(name: str) -> bool:
        return name in graph.outputs or bool(graph.consumers.get(name))

    return [
        number
        for number, node in enumerate(graph.nodes)
        if graph.activations_read(number) or any(is_used(name) for name in node.writes)
    ]


def _layers(graph: Graph) -> list[int]:
    """The layer of each node: after all that it reads; what does not depend on an input is just before its first reader, since
    some exporters write long chains of constants."""
    layer = [0] * len(graph.nodes)
    from_input = [False] * len(graph.nodes)
    for node in range(len(graph.nodes)):
        names = graph.activations_read(node)
        before = [graph.producer[name] for name in names if name in graph.producer]
        layer[node] = max((layer[source] + 1 for source in before), default=0)
        from_input[node] = len(before) < len(names) or any(from_input[source] for source in before)
    for node in reversed(range(len(graph.nodes))):
        readers = {reader for name in graph.nodes[node].writes for reader in graph.consumers.get(name, ())}
        if not from_input[node] and readers:
            layer[node] = max(layer[node], min(layer[reader] for reader in readers) - 1)
    return layer


def _layout(layers: Mapping[int, int]) -> tuple[dict[int, _Place], float]:
    """The place of each node by its layer, and the height of the picture."""
    count: dict[int, int] = {}
    position = {}
    for node, layer in layers.items():
        position[node] = count.get(layer, 0)
        count[layer] = position[node] + 1
    depth = 1 + max(layers.values(), default=0)
    rows = -(-depth // MOST_LAYERS)
    length = -(-depth // rows)
    heights = [max(count.get(layer, 0) for layer in range(row * length, (row + 1) * length)) for row in range(rows)]
    tops = [MARGIN + LEGEND + sum(STEP_Y * height + 26 for height in heights[:row]) for row in range(rows)]
    places = {
        node: _Place(MARGIN + STEP_X * (layer % length), tops[layer // length] + STEP_Y * position[node], tops[layer // length])
        for node, layer in layers.items()
    }
    return places, tops[-1] + STEP_Y * heights[-1] + MARGIN


def _node(graph: Graph, number: int, place: _Place, stage: Stage, devices: Sequence[str]) -> Markup:
    node = graph.nodes[number]
    text = f"{number} {node.op_type} '{node.name}' on {', '.join(stage.devices)}"
    colour = COLOURS[devices.index(stage.device) % len(COLOURS)]
    square = {"x": place.x, "y": place.y, "width": SIZE, "height": SIZE, "rx": 2}
    return element("rect", tooltip(text), **square, fill=colour, class_="node")


def _edges(graph: Graph, places: Mapping[int, _Place], stage_of: dict[int, int]) -> tuple[list[Markup], list[Markup]]:
    """Edges within stages and between them."""
    inner: list[Markup] = []
    cuts: list[Markup] = []
    for reader in range(len(graph.nodes)):
        for name in graph.activations_read(reader):
            if name in graph.producer:
                writer = graph.producer[name]
                line = _line(places[writer], places[reader])
                if stage_of[writer] == stage_of[reader]:
                    inner.append(element("path", d=line, class_="edge"))
                else:
                    cuts.append(element("path", tooltip(_sent(graph, name)), d=line, class_="cut"))
    return inner, cuts


def _line(a: _Place, b: _Place) -> str:
    x1, y1, x2, y2 = a.x + SIZE, a.y + SIZE / 2, b.x, b.y + SIZE / 2
    bend = min(40.0, max(6.0, abs(x2 - x1) / 3))
    if a.top != b.top:
        # The reader is in another row: along the gap above that row.
        gap = b.top - 14
        out = f"M{x1:.0f},{y1:.0f}C{x1 + 14:.0f},{y1:.0f} {x1 + 14:.0f},{gap:.0f} {x1:.0f},{gap:.0f}"
        return f"{out}H{x2:.0f}C{x2 - 14:.0f},{gap:.0f} {x2 - 14:.0f},{y2:.0f} {x2:.0f},{y2:.0f}"
    return f"M{x1:.0f},{y1:.0f}C{x1 + bend:.0f},{y1:.0f} {x2 - bend:.0f},{y2:.0f} {x2:.0f},{y2:.0f}"


def _sent(graph: Graph, name: str) -> str:
    nbytes = graph.tensors[name].nbytes if name in graph.tensors else None
    return f"'{name}': {'unknown size' if nbytes is None else human_bytes(nbytes)}"


def _labels(
    graph: Graph, places: Mapping[int, _Place], stage_of: dict[int, int], transfers: Sequence[Transfer]
) -> list[Markup]:
    """The bytes of each transfer between stages, at the top of the row above the first node that reads it."""
    between = [move for move in transfers if CALLER not in (move.source, move.target)]
    labels = []
    for move in between if len(between) <= MOST_LABELS else ():
        readers = [reader for name in move.tensors for reader in graph.consumers.get(name, ())]
        there = [reader for reader in readers if stage_of[reader] == move.target] or readers
        place = places[min(there)]
        size = "?" if move.nbytes is None else human_bytes(move.nbytes)
        labels.append(element("text", size, x=place.x - 4, y=place.top - 5, class_="bytes"))
    return labels


def _legend(stages: Sequence[Stage], devices: Sequence[str]) -> Markup:
    parts, x = [], MARGIN
    for number, device in enumerate(devices):
        nodes = sum(len(stage.nodes) for stage in stages if stage.device == device)
        text = f"{device}: {nodes} nodes"
        colour = COLOURS[number % len(COLOURS)]
        parts.append(element("rect", x=x, y=12.0, width=SIZE, height=SIZE, rx=2, fill=colour, class_="node"))
        parts.append(element("text", text, x=x + 15, y=21.0))
        x += 30 + 6.2 * len(text)
    return group(parts)
