from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from multiedge.formats.fields import Field
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph
from multiedge.plan import Stage
from multiedge.report.encode import graph_to_json
from multiedge.report.encode import read_graph as read_drawn
from multiedge.report.graph_svg import standalone
from multiedge.report.workflow_svg import Line, boxes_of, draw_workflow, lines_of
from multiedge.workflows import compose
from tests.builders.workflows import WORKFLOWS, cascade, written

Boxes = dict[str, tuple[float, float, float, float]]


def graph_of(make: str, folder: Path) -> Graph:
    return read_graph(compose(WORKFLOWS[make](folder), folder / "cache"))


def drawn(graph: Graph, stages: list[Stage] | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(standalone(draw_workflow(graph, stages or [])))


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_cascade_shows_its_steps_the_condition_and_its_rate(tmp_path: Path) -> None:
    graph = graph_of("cascade", tmp_path)
    boxes = boxes_of(graph, [Stage.span("phone", 0, 4), Stage.span("laptop", 4, 8)])
    assert [(box.name, box.kind, box.detail, box.condition, box.rate, box.devices) for box in boxes.values()] == [
        ("small", "model", "2 nodes", "", 1, ("phone",)),
        ("large", "model", "4 nodes", "max below 0.7", 0.3, ("phone", "laptop")),
        ("pick", "join", "first of 2", "", 1, ("laptop",)),
    ]
    said = texts(drawn(graph, [Stage.span("phone", 0, 4), Stage.span("laptop", 4, 8)]))
    assert {"if max below 0.7: 30%", "phone", "laptop", "image", "probabilities"} <= set(said)


def test_lines_are_the_tensors_between_steps(tmp_path: Path) -> None:
    lines = {(line.source, line.target, line.is_condition): line for line in lines_of(graph_of("cascade", tmp_path))}
    assert set(lines) == {
        ("image", "small", False),
        ("small", "large", True),
        ("image", "large", False),
        ("large", "pick", False),
        ("small", "pick", False),
        ("pick", " probabilities", False),
    }
    assert lines["image", "large", False] == Line("image", "large", "image", 32)


def test_an_output_that_two_names_have_is_drawn_from_its_step(tmp_path: Path) -> None:
    text = (
        "inputs: {image: {dtype: float32, shape: [1, 8]}}\nsteps: {small: {model: small.onnx, inputs: {x: image}}}\n"
        "outputs: {a: small.probabilities, b: small.probabilities}\n"
    )
    graph = read_graph(compose(written(tmp_path, text), tmp_path / "cache"))
    assert list(boxes_of(graph)) == ["small"]
    assert {(line.source, line.target) for line in lines_of(graph)} == {("image", "small"), ("small", " a"), ("small", " b")}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_boxes_lie_apart_inside_the_drawing(name: str, tmp_path: Path) -> None:
    root = drawn(graph_of(name, tmp_path))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    places = []
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, w, h = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        places.append((x, y, w, h))
    for number, (x, y, w, h) in enumerate(places):
        for a, b, c, d in places[:number]:
            assert x + w <= a or a + c <= x or y + h <= b or b + d <= y


def test_a_results_file_keeps_what_the_drawing_needs_and_no_code(tmp_path: Path) -> None:
    graph = graph_of("video", tmp_path)
    data = json.loads(json.dumps(graph_to_json(graph)))
    again = read_drawn(Field(data, "results.json"))
    assert boxes_of(again) == boxes_of(graph)
    assert {(line.source, line.target, line.tensor) for line in lines_of(again)} == {
        (line.source, line.target, line.tensor) for line in lines_of(graph)
    }
    assert "import numpy" not in json.dumps(data)


def test_names_from_a_file_are_no_markup(tmp_path: Path) -> None:
    path = cascade(tmp_path)
    path.write_text(path.read_text().replace("probabilities: pick", "'<script>': pick"))
    graph = read_graph(compose(path, tmp_path / "cache"))
    assert "<script>" not in str(draw_workflow(graph))
