"""Graphs as plain values: who makes and reads what, and what crosses each boundary."""

from __future__ import annotations

import pytest

from multiedge.errors import ModelError
from multiedge.graph import Cut, Graph, Node, Tensor
from tests.builders.cases import random_case
from tests.builders.graphs import chain_graph, fork_graph, graph_of
from tests.builders.oracle import Oracle


@pytest.mark.parametrize(
    ("node", "reads", "writes"),
    [
        pytest.param(Node("n", "Op", ("a", "b"), ("y",)), ("a", "b"), ("y",), id="plain"),
        pytest.param(Node("n", "Op", ("a", "", "b"), ("y", "")), ("a", "b"), ("y",), id="optional ones left out"),
        pytest.param(Node("n", "Op", ("a", "a"), ("y",)), ("a",), ("y",), id="a tensor read twice"),
        pytest.param(Node("n", "If", ("c",), ("y",), captures=("a", "c")), ("c", "a"), ("y",), id="what a sub-graph reads"),
        pytest.param(Node("n", "Constant", (), ("y",)), (), ("y",), id="nothing read"),
    ],
)
def test_what_a_node_reads_and_writes(node: Node, reads: tuple[str, ...], writes: tuple[str, ...]) -> None:
    assert (node.reads, node.writes) == (reads, writes)


def test_makers_and_readers() -> None:
    graph = graph_of("h: x w", "p: h", "q: h w", "y: p q", parameters={"w": 5})
    assert graph.producer == {"h": 0, "p": 1, "q": 2, "y": 3}
    assert graph.consumers == {"x": (0,), "w": (0, 2), "h": (1, 2), "p": (3,), "q": (3,)}
    assert graph.activations == (("x",), ("h",), ("h",), ("p", "q"))
    assert graph.parameters_read == (("w",), (), ("w",), ())
    assert graph.activations_read(2) == ("h",)
    assert graph.outputs == ("y",)


def cuts(graph: Graph) -> list[tuple[int, tuple[str, ...], int | None]]:
    return [(cut.after, cut.tensors, cut.nbytes) for cut in graph.cuts]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        pytest.param(chain_graph(2, sizes=[8, 4, 2]), [(0, ("t0",), 8), (1, ("t1",), 4), (2, (), 0)], id="a chain"),
        pytest.param(
            fork_graph(2, 1, nbytes=3),
            [(0, ("x",), 3), (1, ("h",), 3), (2, ("h", "b0.0"), 6), (3, ("b0.0", "b1.0"), 6), (4, (), 0)],
            id="two branches",
        ),
        pytest.param(
            graph_of("a: x", "b: a x", tensors={"x": 1, "a": 2, "b": 4}),
            [(0, ("x",), 1), (1, ("x", "a"), 3), (2, (), 0)],
            id="an input that is read late",
        ),
        pytest.param(
            graph_of("a: x", "b: a", inputs=("x", "unread"), tensors=1),
            [(0, ("x",), 1), (1, ("a",), 1), (2, (), 0)],
            id="an input that nobody reads crosses nothing",
        ),
        pytest.param(
            graph_of("a u: x", "b: a", outputs=("u", "b"), tensors=1),
            [(0, ("x",), 1), (1, ("a",), 1), (2, (), 0)],
            id="a result that nobody reads goes to the caller, not across",
        ),
        pytest.param(
            graph_of("a: x w", "b: a w", tensors=1, parameters={"w": 100}),
            [(0, ("x",), 1), (1, ("a",), 1), (2, (), 0)],
            id="parameters never cross",
        ),
        pytest.param(
            graph_of("a: x", "b: a", "c: b", tensors={"x": 1, "b": 1}),
            [(0, ("x",), 1), (1, ("a",), None), (2, ("b",), 1), (3, (), 0)],
            id="an unknown size, and known ones after it",
        ),
        pytest.param(graph_of(inputs=("x",)), [(0, (), 0)], id="no nodes"),
    ],
)
def test_what_crosses_each_boundary(graph: Graph, expected: list) -> None:
    assert cuts(graph) == expected


def test_a_tensor_made_of_parameters_alone_is_a_parameter_and_crosses_nothing() -> None:
    made = Graph(
        "folded",
        (Node("n0", "Op", ("w",), ("k",)), Node("n1", "Op", ("x", "k"), ("y",))),
        ("x",),
        ("y",),
        {"x": Tensor("x", nbytes=1), "y": Tensor("y", nbytes=1)},
        {"w": Tensor("w", nbytes=5), "k": Tensor("k", nbytes=7)},
    )
    assert cuts(made) == [(0, ("x",), 1), (1, ("x",), 1), (2, (), 0)]
    assert made.parameter_bytes == 12


@pytest.mark.parametrize("seed", range(40))
def test_cuts_of_random_graphs_are_what_the_oracle_hands_on(seed: int) -> None:
    profile, fleet = random_case(seed)
    oracle, graph = Oracle(profile, fleet), profile.graph
    for after in range(len(graph.nodes) + 1):
        crossing = {
            name
            for name, readers in oracle.readers.items()
            if oracle.maker.get(name, -1) < after and any(node >= after for node in readers)
        }
        cut = graph.cuts[after]
        assert isinstance(cut, Cut)
        assert (cut.after, set(cut.tensors)) == (after, crossing)
        assert cut.nbytes == sum(oracle.nbytes[name] for name in crossing)


@pytest.mark.parametrize(("tensors", "after"), [((), 0), (("t1",), 1), (("t3",), 3), (("t1", "t3"), 3), (("t3", "t1"), 3)])
def test_the_boundary_after_some_tensors(tensors: tuple[str, ...], after: int) -> None:
    assert chain_graph(4).boundary_at(tensors) == after


@pytest.mark.parametrize("name", ["t0", "T1", "w0"])
def test_a_boundary_needs_tensors_that_nodes_make(name: str) -> None:
    with pytest.raises(ModelError, match=f"chain: no node makes a tensor '{name}'"):
        chain_graph(4, weight_bytes=1).boundary_at([name])


def test_sizes_that_are_not_known_stay_unknown_in_sums() -> None:
    graph = graph_of("a: x w v", tensors={"x": 3}, parameters={"w": 5, "v": None})
    assert graph.parameter_bytes is None
    assert graph.tensor_bytes == {"x": 3}
    assert (graph.bytes_of(("x", "w")), graph.bytes_of(("x", "a"))) == (8, None)
    assert graph.unsized == ("a", "v")
    assert Tensor("a").nbytes is None
