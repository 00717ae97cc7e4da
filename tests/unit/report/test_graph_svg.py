from xml.etree import ElementTree

from multiedge.graph import Graph, Node
from multiedge.plan import Stage, direct_transfers
from multiedge.planning.synthetic import synthetic_graph
from multiedge.report.graph_svg import MOST_LABELS, draw_graph, standalone

SVG = "{http://www.w3.org/2000/svg}"
GRAPH = synthetic_graph(150, seed=4)


def drawn(*stages: Stage) -> ElementTree.Element:
    return ElementTree.fromstring(standalone(draw_graph(GRAPH, stages, direct_transfers(GRAPH, stages))))


def texts(root: ElementTree.Element, kind: str) -> list[str]:
    return [found.text or "" for found in root.iter(f"{SVG}text") if found.get("class") == kind]


def test_nodes_have_the_colour_of_their_device_and_say_what_they_are() -> None:
    root = drawn(Stage.span("a", 0, 50), Stage.span("b", 50, 150))
    nodes = [rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    assert len(nodes) == 150
    assert len({rect.get("fill") for rect in nodes}) == 2
    assert "on a" in nodes[0].find(f"{SVG}title").text
    assert "on b" in nodes[-1].find(f"{SVG}title").text


def test_cuts_are_red_and_labelled_with_bytes() -> None:
    stages = (Stage.span("a", 0, 50), Stage.span("b", 50, 150))
    root = drawn(*stages)
    between = [move for move in direct_transfers(GRAPH, stages) if move.source == 0 and move.target == 1]
    assert len(between) == len(texts(root, "bytes")) == 1
    assert any(path.get("class") == "cut" for path in root.iter(f"{SVG}path"))


def test_one_device_has_no_cut_and_many_cuts_have_no_labels() -> None:
    assert not any(path.get("class") == "cut" for path in drawn(Stage.span("a", 0, 150)).iter(f"{SVG}path"))
    many = [Stage.span("ab"[index % 2], 5 * index, 5 * index + 5) for index in range(30)]
    assert len(many) > MOST_LABELS
    assert texts(drawn(*many), "bytes") == []


def test_everything_lies_within_the_picture() -> None:
    root = drawn(Stage.span("a", 0, 150))
    width, height = (float(word) for word in root.get("viewBox").split()[2:])
    for rect in root.iter(f"{SVG}rect"):
        assert 0 <= float(rect.get("x")) <= width - float(rect.get("width"))
        assert 0 <= float(rect.get("y")) <= height - float(rect.get("height"))


def test_constants_are_drawn_just_before_what_reads_them_or_not_at_all() -> None:
    nodes = [
        Node("folded", "Constant", (), ("c0",)),
        Node("pad", "Constant", (), ("c1",)),
        Node("double", "Mul", ("c1",), ("c2",)),
        *(Node(f"layer {n}", "Relu", (f"t{n}",), (f"t{n + 1}",)) for n in range(4)),
        Node("sum", "Add", ("t4", "c2"), ("y",)),
    ]
    graph = Graph("net", nodes, ("t0",), ("y",), {})
    root = ElementTree.fromstring(standalone(draw_graph(graph, [Stage.span("a", 0, 8)], [])))
    squares = [rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    left = {rect.find(f"{SVG}title").text.split("'")[1]: float(rect.get("x")) for rect in squares}
    assert "folded" not in left
    assert left["pad"] < left["double"] == left["layer 3"] < left["sum"]
