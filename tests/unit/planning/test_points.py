"""Hand-written parts made into stages: which nodes each part holds, and what is wrong with it."""

from __future__ import annotations

import pytest

from multiedge.errors import PlanError
from multiedge.fleet import PartitionPoint
from multiedge.graph import Graph, Node
from multiedge.planning.points import stages_from_points
from tests.builders.graphs import chain_graph, fork_graph, graph_of

Part = tuple[str, str, str]
"""(inputs, outputs, device), names apart by blanks."""


def points(*parts: Part) -> list[PartitionPoint]:
    return [PartitionPoint(tuple(inputs.split()), tuple(outputs.split()), device) for inputs, outputs, device in parts]


def nodes(graph: Graph, *parts: Part) -> list[tuple[str, tuple[int, ...]]]:
    return [(stage.device, stage.nodes) for stage in stages_from_points(graph, points(*parts))]


CHAIN = chain_graph(4)
FORK = fork_graph(2, 2)
"""h, b0.0, b0.1, b1.0, b1.1, y"""


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([("t0", "t4", "a")], [("a", (0, 1, 2, 3))], id="the whole model"),
        pytest.param([("t0", "t1", "a"), ("t1", "t4", "b")], [("a", (0,)), ("b", (1, 2, 3))], id="two parts"),
        pytest.param(
            [("t0", "t1", "a"), ("t1", "t3", "b"), ("t3", "t4", "a")],
            [("a", (0,)), ("b", (1, 2)), ("a", (3,))],
            id="a device twice",
        ),
        pytest.param([("t2", "t4", "b"), ("t0", "t2", "a")], [("b", (2, 3)), ("a", (0, 1))], id="in any order"),
    ],
)
def test_a_part_holds_all_between_its_inputs_and_its_outputs(parts: list[Part], expected: list) -> None:
    assert nodes(CHAIN, *parts) == expected


def test_branches_are_parts_of_their_own() -> None:
    parts = [("x", "h", "a"), ("h", "b0.1", "b"), ("h", "b1.1", "c"), ("b0.1 b1.1", "y", "a")]
    assert nodes(FORK, *parts) == [("a", (0,)), ("b", (1, 2)), ("c", (3, 4)), ("a", (5,))]


def test_a_part_may_end_in_several_tensors() -> None:
    assert nodes(FORK, ("x", "b0.0 b1.1", "a"), ("b0.0 b1.1", "y", "b")) == [("a", (0, 1, 3, 4)), ("b", (2, 5))]


def test_a_constant_belongs_to_the_first_part_that_needs_it() -> None:
    """k is made of a parameter alone and read by both parts."""
    constant = Node("c", "Constant", ("w",), ("k",))
    graph = graph_of(constant, "a: x k", "b: a k", parameters={"w": 1})
    assert nodes(graph, ("x", "a", "p"), ("a", "b", "q")) == [("p", (0, 1)), ("q", (2,))]
    assert nodes(graph, ("a", "b", "q"), ("x", "a", "p")) == [("q", (0, 2)), ("p", (1,))]


def test_what_no_output_depends_on_joins_the_latest_part_that_feeds_it() -> None:
    graph = graph_of("a: x", "b: a", "unread: a", "unread2: unread b", outputs=("b",))
    assert nodes(graph, ("x", "a", "p"), ("a", "b", "q")) == [("p", (0, 2)), ("q", (1, 3))]


def test_a_captured_tensor_is_needed_like_an_input() -> None:
    graph = graph_of("a: x", Node("if", "If", ("a",), ("y",), captures=("x",)))
    with pytest.raises(PlanError, match="holds no node"):
        nodes(graph, ("x", "a", "p"), ("a", "a", "q"))
    assert nodes(graph, ("x", "a", "p"), ("a x", "y", "q")) == [("p", (0,)), ("q", (1,))]


@pytest.mark.parametrize(
    ("graph", "parts", "expected"),
    [
        pytest.param(CHAIN, [], ["partition_points: expected at least one part, got none"], id="no parts"),
        pytest.param(
            CHAIN,
            [("x0", "t4", "a"), ("t1", "tt4", "b")],
            [
                "partition_points[0].input_names: the model has no tensor 'x0'",
                "partition_points[1].output_names: the model has no tensor 'tt4'; did you mean 't4'?",
            ],
            id="unknown names, each with its place",
        ),
        pytest.param(
            CHAIN,
            [("t0", "t2", "a"), ("t2", "t3", "b")],
            ["1 of 4 nodes are in no part, the first are 'n3': add the tensors they lead to"],
            id="a node left out",
        ),
        pytest.param(
            CHAIN,
            [("t0", "t4", "a"), ("t4", "t4", "b")],
            ["partition_points[1] ('b') holds no node: its outputs are among its inputs, or another part's"],
            id="a part without nodes",
        ),
        pytest.param(
            CHAIN,
            [("t0", "t2", "a"), ("t1", "t4", "b")],
            ["partition_points[1] ('b') also needs 't2', which part 0 ('a') makes: add it to input_names"],
            id="an overlap",
        ),
        pytest.param(
            FORK,
            [("x", "h", "a"), ("h", "b0.1", "b"), ("b0.1", "y", "c")],
            ["partition_points[2] ('c') also needs 'h', which part 0 ('a') makes: add it to input_names"],
            id="a branch that no part has",
        ),
    ],
)
def test_what_does_not_fit_is_listed(graph: Graph, parts: list[Part], expected: list[str]) -> None:
    with pytest.raises(PlanError) as error:
        nodes(graph, *parts)
    assert list(error.value.violations) == expected
    assert str(error.value) == f"{graph.name}: the partition points do not fit the model: " + "; ".join(expected)


def test_the_names_of_a_large_model_are_not_listed() -> None:
    large = chain_graph(400)
    with pytest.raises(PlanError) as error:
        nodes(large, ("zzz", "t400", "a"))
    assert len(str(error.value)) < 150
