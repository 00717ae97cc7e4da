from collections.abc import Sequence
from itertools import pairwise

import pytest

from multiedge.graph import Graph, Node
from multiedge.plan import Stage
from multiedge.report.blocks import blocks


def chain(names: Sequence[str]) -> Graph:
    nodes = [Node(name, "Relu", (f"t{n}",), (f"t{n + 1}",)) for n, name in enumerate(names)]
    return Graph("chain", nodes, ("t0",), (f"t{len(names)}",), {})


def names(names_of_nodes: Sequence[str], *cuts: int, most: int = 24) -> list[list[str]]:
    ends = [0, *cuts, len(names_of_nodes)]
    stages = [Stage.span(f"device {n}", start, stop) for n, (start, stop) in enumerate(pairwise(ends))]
    return [[block.name for block in stage] for stage in blocks(chain(names_of_nodes), stages, most)]


LAYERS = [f"/encoder/layer.{layer}/{step}" for layer in range(9) for step in ("MatMul", "Add")]


def test_nodes_of_one_module_are_one_block() -> None:
    assert names(LAYERS) == [[f"layer.{layer}" for layer in range(9)]]


def test_a_stage_that_ends_within_a_module_has_a_part_of_it() -> None:
    first, second = names(LAYERS, 3)
    assert (first[-1], second[0]) == ("layer.1", "layer.1")


def test_too_many_modules_are_joined_with_their_neighbours() -> None:
    (joined,) = names(LAYERS, most=3)
    assert joined == ["layer.0 to layer.2", "layer.3 to layer.5", "layer.6 to layer.8"]


def test_a_name_without_a_number_shows_its_module() -> None:
    parts = [f"/layer.{layer}/{part}/MatMul" for layer in range(5) for part in ("attention", "output")]
    assert names(parts)[0][:2] == ["layer.0/attention", "layer.0/output"]


def test_a_constant_without_a_path_belongs_to_the_module_before() -> None:
    assert names([*LAYERS[:3], "Constant_7", *LAYERS[3:]]) == names(LAYERS)


@pytest.mark.parametrize("name", ["", "n7", "Relu_7"])
def test_nodes_without_modules_are_shown_by_number(name: str) -> None:
    assert names([name] * 7, 3, most=4) == [["nodes 0 to 1", "node 2"], ["nodes 3 to 4", "nodes 5 to 6"]]


def test_every_node_of_a_stage_is_in_one_block() -> None:
    graph = chain(LAYERS)
    stages = [Stage("a", (0, 1, 2, *range(9, 18))), Stage.span("b", 3, 9)]
    assert [sum(block.nodes for block in stage) for stage in blocks(graph, stages)] == [12, 6]


def test_every_stage_has_a_block_even_if_there_are_many_stages() -> None:
    assert all(names(LAYERS, *range(1, 18), most=4))
