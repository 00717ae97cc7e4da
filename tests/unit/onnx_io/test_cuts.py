"""Places to cut: where a person names tensors, and where a number of parts is given."""

from __future__ import annotations

import pytest

from multiedge.errors import CutError
from multiedge.graph import Graph
from multiedge.onnx_io.cuts import boundaries_at, boundaries_for, cheapest_cuts
from tests.builders.graphs import graph_of

CHAIN = graph_of("a: x", "b: a", "c: b", "d: c", name="chain")
SKIP = graph_of("a: x", "b: a", "c: b a", "d: c", name="skip")


@pytest.mark.parametrize(
    ("graph", "cuts", "boundaries"),
    [
        pytest.param(CHAIN, [], (), id="none"),
        pytest.param(CHAIN, [["a"]], (1,), id="after-the-first"),
        pytest.param(CHAIN, [["c"], ["a"]], (1, 3), id="in-any-order"),
        pytest.param(SKIP, [["a", "b"]], (2,), id="two-tensors-that-cross-together"),
        pytest.param(SKIP, [["b"]], (2,), id="what-must-cross-too-does"),
        pytest.param(SKIP, [["b", "a"]], (2,), id="the-last-one-made-decides"),
    ],
)
def test_cuts_at_tensors(graph: Graph, cuts: list[list[str]], boundaries: tuple[int, ...]) -> None:
    assert boundaries_at(graph, cuts) == boundaries


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        pytest.param([["x"]], "chain: cannot cut at 'x': it is an input of the model", id="an-input"),
        pytest.param([["bb"]], r"cannot cut at 'bb'.*; did you mean 'b'\?", id="a-slip"),
        pytest.param([["a", "nothing"]], "cannot cut at 'nothing'", id="one-of-two"),
        pytest.param([["a"], ["a"]], "the cuts at a, a leave a part without nodes", id="twice"),
        pytest.param([["d"]], "the cuts at d leave a part without nodes; name places further apart", id="after-the-last"),
        pytest.param([[]], "leave a part without nodes", id="no-tensor"),
    ],
)
def test_cuts_that_cannot_be_made(cuts: list[list[str]], message: str) -> None:
    with pytest.raises(CutError, match=message):
        boundaries_at(CHAIN, cuts)


def test_a_constant_is_no_place_to_cut() -> None:
    graph = graph_of("k:", "a: x k", "b: a", parameters={"k": 10})
    with pytest.raises(CutError, match="cannot cut at 'k'"):
        boundaries_at(graph, [["k"]])


def test_a_large_model_is_not_searched_for_a_similar_name() -> None:
    graph = graph_of(*(f"t{number + 1}: t{number}" for number in range(5000)), inputs=("t0",))
    with pytest.raises(CutError, match=r"no node makes a tensor of that name$"):
        boundaries_at(graph, [["t5001"]])


@pytest.mark.parametrize(
    ("count", "parts", "boundaries"),
    [
        pytest.param(4, 1, (), id="whole"),
        pytest.param(4, 2, (2,), id="halves"),
        pytest.param(4, 4, (1, 2, 3), id="one-node-each"),
        pytest.param(9, 3, (3, 6), id="thirds"),
        pytest.param(1, 1, (), id="one-node"),
        pytest.param(5, 2, (2,), id="odd"),
    ],
)
def test_equal_shares_where_every_cut_costs_the_same(count: int, parts: int, boundaries: tuple[int, ...]) -> None:
    graph = graph_of(*(f"t{number + 1}: t{number}" for number in range(count)), inputs=("t0",))
    assert boundaries_for(graph, parts) == boundaries


def test_a_cheap_cut_close_by_is_preferred() -> None:
    """Eight nodes in two parts: the cut may move by one node, to the tensor of 1 byte and not to that of 0 bytes."""
    sizes = {f"t{number}": 100 for number in range(9)} | {"t5": 1, "t7": 0}
    graph = graph_of(*(f"t{number + 1}: t{number}" for number in range(8)), inputs=("t0",), tensors=sizes)
    assert boundaries_for(graph, 2) == (5,)


def test_a_cut_of_unknown_size_is_the_last_choice() -> None:
    sizes = {f"t{number}": 100 for number in range(9)} | {"t4": None}
    graph = graph_of(*(f"t{number + 1}: t{number}" for number in range(8)), inputs=("t0",), tensors=sizes)
    assert boundaries_for(graph, 2) in ((3,), (5,))


@pytest.mark.parametrize("parts", [0, -1, 5])
def test_more_parts_than_nodes_or_none_are_refused(parts: int) -> None:
    with pytest.raises(CutError, match=f"chain: expected 1 to 4 parts, one node each at least, got {parts}"):
        boundaries_for(CHAIN, parts)


def test_the_cheapest_cuts_come_in_the_order_of_the_model() -> None:
    sizes = {"x": 1, "a": 30, "b": 10, "c": 20, "d": 1}
    graph = graph_of("a: x", "b: a", "c: b", "d: c", tensors=sizes)
    assert [(cut.after, cut.nbytes) for cut in cheapest_cuts(graph, 2)] == [(2, 10), (3, 20)]
    assert len(cheapest_cuts(graph, 99)) == 3
    assert cheapest_cuts(graph, 0) == ()


def test_cuts_that_carry_the_same_tensors_count_once() -> None:
    """Nothing crosses for the constant, so the boundaries before and after its node carry the same."""
    graph = graph_of("a: x", "k:", "b: a k", parameters={"k": 3}, tensors={"a": 5, "x": 7})
    assert [cut.after for cut in cheapest_cuts(graph, 9)] == [1]


def test_a_cut_of_unknown_size_is_not_cheap() -> None:
    graph = graph_of("a: x", "b: a", "c: b", tensors={"x": 1, "a": None, "b": 1 << 40})
    assert [cut.after for cut in cheapest_cuts(graph, 1)] == [2]
