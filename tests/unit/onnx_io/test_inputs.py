"""Made-up inputs: they fit the signature, stay within the tables they index, and are the same for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from multiedge.errors import ModelError
from multiedge.graph import Graph, Node, Tensor
from multiedge.onnx_io.inputs import random_inputs
from tests.builders.graphs import graph_of


def graph_with(*tensors: Tensor) -> Graph:
    nodes = [Node(f"n{tensor.name}", "Identity", (tensor.name,), (f"out_{tensor.name}",)) for tensor in tensors]
    return graph_of(*nodes, inputs=tuple(tensor.name for tensor in tensors), tensors={each.name: each for each in tensors})


def made(dtype: str | None, shape: Any = (64,), seed: int = 0) -> Any:
    return random_inputs(graph_with(Tensor("x", dtype, shape)), seed)["x"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_normal(dtype: str) -> None:
    values = made(dtype, (4000,))
    assert values.dtype == dtype
    assert abs(float(values.astype(float).mean())) < 0.1
    assert float(values.astype(float).std()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_integers_are_flags_where_nothing_says_more(dtype: str) -> None:
    values = made(dtype, (200,))
    assert values.dtype == dtype
    assert set(values.tolist()) == {0, 1}


def test_other_kinds() -> None:
    assert set(made("bool", (100,)).tolist()) == {True, False}
    complex_values = made("complex64")
    assert complex_values.dtype == np.complex64
    assert np.abs(complex_values.imag).min() > 0
    assert made("object", (2, 2)).tolist() == [["text 0", "text 1"], ["text 2", "text 3"]]


def test_a_sequence_is_a_list_of_arrays() -> None:
    values = made("sequence", None)
    assert [value.shape for value in values] == [(2, 3), (2, 3)]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param((), (), id="scalar"),
        pytest.param((3, 4), (3, 4), id="fixed"),
        pytest.param(("batch", 4), (1, 4), id="the-first-is-a-batch"),
        pytest.param((None, None), (1, 8), id="unknown"),
        pytest.param((2, "length", "length"), (2, 8, 8), id="lengths"),
        pytest.param((0, 4), (0, 4), id="empty"),
    ],
)
def test_sizes_that_are_not_known(shape: tuple[object, ...], expected: tuple[int, ...]) -> None:
    assert made("float32", shape).shape == expected


def test_equal_names_get_equal_sizes_in_all_inputs() -> None:
    """'n' comes first in the first input, so it is a batch in the second one too."""
    graph = graph_with(Tensor("a", "float32", ("n", "m")), Tensor("b", "float32", ("m", "n")))
    inputs = random_inputs(graph)
    assert (inputs["a"].shape, inputs["b"].shape) == ((1, 8), (8, 1))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor("ids", None, (3,)), "graph: input 'ids' has no known type or shape, so none can be made up; give one"),
        (Tensor("ids", "float32", None), "input 'ids' has no known type or shape"),
        (Tensor("ids", "optional", None), "input 'ids' has no known type or shape"),
        (Tensor("ids", "float4e2m1", (3,)), "input 'ids' of type float4e2m1 cannot be made up; give one"),
    ],
    ids=["type", "shape", "optional", "four-bits"],
)
def test_what_cannot_be_made_up_is_named(tensor: Tensor, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        random_inputs(graph_with(tensor))


def test_a_model_without_inputs_needs_none() -> None:
    assert random_inputs(graph_of("k:", inputs=())) == {}


def test_the_same_seed_gives_the_same_values() -> None:
    assert made("float32", seed=3).tolist() == made("float32", seed=3).tolist()
    assert made("float32", seed=3).tolist() != made("float32", seed=4).tolist()


def lookup(*nodes: Node, table: tuple[Any, ...] = (50, 8), ids: Tensor | None = None) -> Graph:
    return graph_of(
        *nodes,
        inputs=("ids",),
        tensors={"ids": ids or Tensor("ids", "int64", (500,)), "made": Tensor("made", "float32", (7, 9))},
        parameters={"table": table},
    )


def gather(table: str = "table", index: str = "ids", **attributes: Any) -> Node:
    return Node("gather", "Gather", (table, index), ("out",), attributes=attributes)


@pytest.mark.parametrize(
    ("graph", "bound"),
    [
        pytest.param(lookup(gather()), 50, id="rows-of-a-table"),
        pytest.param(lookup(gather(axis=1)), 8, id="another-axis"),
        pytest.param(lookup(gather(axis=-1)), 8, id="an-axis-from-the-end"),
        pytest.param(lookup(gather(axis=5)), 2, id="an-axis-that-the-table-lacks"),
        pytest.param(lookup(gather(), table=("n", 8)), 2, id="a-table-of-unknown-size"),
        pytest.param(lookup(gather(), table=(0, 8)), 2, id="an-empty-table"),
        pytest.param(lookup(Node("p", "Exp", ("table",), ("made",)), gather("made")), 7, id="a-table-that-a-node-makes"),
        pytest.param(
            lookup(Node("c", "Cast", ("ids",), ("i",)), Node("u", "Unsqueeze", ("i", "k"), ("j",)), gather(index="j")),
            50,
            id="through-nodes-that-pass-values",
        ),
        pytest.param(lookup(Node("m", "Mul", ("ids", "ids"), ("i",)), gather(index="i")), 2, id="not-through-arithmetic"),
        pytest.param(lookup(gather("ids", "index")), 2, id="the-input-is-the-table"),
        pytest.param(
            lookup(Node("column", "Gather", ("ids", "first"), ("i",)), gather(index="i")), 50, id="one-column-of-several"
        ),
        pytest.param(
            lookup(gather(), Node("g2", "Gather", ("small", "ids"), ("more",))),
            2,
            id="one-table-of-unknown-size-beside-a-known-one",
        ),
    ],
)
def test_indices_stay_within_their_table(graph: Graph, bound: int) -> None:
    values = random_inputs(graph)["ids"]
    assert values.min() >= 0
    assert values.max() == bound - 1


def test_the_smallest_of_several_tables_bounds_the_indices() -> None:
    graph = graph_of(
        Node("a", "Gather", ("large", "ids"), ("a",)),
        Node("b", "Gather", ("small", "ids"), ("b",)),
        inputs=("ids",),
        tensors={"ids": Tensor("ids", "int64", (500,))},
        parameters={"large": (50, 2), "small": (5, 2)},
    )
    assert random_inputs(graph)["ids"].max() == 4


def sequences(*nodes: Node) -> Graph:
    tensors = {"x": Tensor("x", "float32", (30, 2, 8)), "lengths": Tensor("lengths", "int32", (2,))}
    return graph_of(*nodes, inputs=("x", "lengths"), tensors=tensors)


@pytest.mark.parametrize(
    ("node", "length"),
    [
        pytest.param(Node("n", "LSTM", ("x", "w", "r", "", "lengths"), ("y",)), 30, id="time-comes-first"),
        pytest.param(Node("n", "GRU", ("x", "w", "r", "", "lengths"), ("y",), attributes={"layout": 1}), 2, id="batch-first"),
        pytest.param(Node("n", "ReverseSequence", ("x", "lengths"), ("y",), attributes={"time_axis": 0}), 30, id="reversed"),
    ],
)
def test_sequences_are_as_long_as_they_may_be(node: Node, length: int) -> None:
    """Lengths at random would be 0 or 1, and the operator would be timed on next to no work."""
    assert random_inputs(sequences(node))["lengths"].tolist() == [length, length]
