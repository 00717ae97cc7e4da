"""Counting rules against figures worked out by hand."""

from __future__ import annotations

import pytest

from multiedge.graph import Graph, Node
from profilers.engine.macs import count_work, product_macs
from profilers.engine.rules import RULES
from tests.builders.graphs import graph_of


def model_of(node: Node, shapes: dict[str, tuple[int | str, ...] | None], parameters: tuple[str, ...] = ()) -> Graph:
    """A model of one node, float32 throughout."""
    inputs = tuple(name for name in node.reads if name not in parameters)
    return graph_of(node, inputs=inputs, tensors=shapes, parameters={name: shapes[name] for name in parameters})


CASES = {
    "conv": (
        Node("n", "Conv", ("x", "w", "b"), ("y",)),
        {"x": (1, 64, 56, 56), "w": (128, 64, 3, 3), "b": (128,), "y": (1, 128, 28, 28)},
        128 * 28 * 28 * 64 * 9,
    ),
    "depthwise": (
        Node("n", "Conv", ("x", "w"), ("y",), attributes={"group": 32}),
        {"x": (1, 32, 8, 8), "w": (32, 1, 3, 3), "y": (1, 32, 8, 8)},
        32 * 64 * 9,
    ),
    "transposed": (
        Node("n", "ConvTranspose", ("x", "w"), ("y",)),
        {"x": (1, 8, 4, 4), "w": (8, 2, 2, 2), "y": (1, 2, 8, 8)},
        8 * 16 * 2 * 4,
    ),
    "batched": (
        Node("n", "MatMul", ("x", "w"), ("y",)),
        {"x": (2, 12, 197, 64), "w": (2, 12, 64, 197), "y": (2, 12, 197, 197)},
        24 * 197 * 64 * 197,
    ),
    "vector": (Node("n", "MatMul", ("x", "w"), ("y",)), {"x": (5,), "w": (5,), "y": ()}, 5),
    "gemm": (
        Node("n", "Gemm", ("x", "w", "c"), ("y",), attributes={"transB": 1}),
        {"x": (1, 768), "w": (1000, 768), "c": (1000,), "y": (1, 1000)},
        768000,
    ),
    "gemm_transposed": (
        Node("n", "Gemm", ("x", "w"), ("y",), attributes={"transA": 1}),
        {"x": (7, 2), "w": (7, 3), "y": (2, 3)},
        42,
    ),
    "einsum": (
        Node("n", "Einsum", ("x", "w"), ("y",), attributes={"equation": "bhid,bhjd->bhij"}),
        {"x": (2, 3, 5, 7), "w": (2, 3, 4, 7), "y": (2, 3, 5, 4)},
        2 * 3 * 5 * 4 * 7,
    ),
    "einsum_ellipsis": (
        Node("n", "Einsum", ("x", "w"), ("y",), attributes={"equation": "...ij,jk->...ik"}),
        {"x": (6, 2, 3), "w": (3, 4), "y": (6, 2, 4)},
        6 * 2 * 3 * 4,
    ),
    "lstm": (
        Node("n", "LSTM", ("x", "w", "r"), ("y",)),
        {"x": (10, 2, 8), "w": (1, 64, 8), "r": (1, 64, 16), "y": (10, 1, 2, 16)},
        10 * 2 * 4 * 16 * (8 + 16),
    ),
    "attention": (
        Node("n", "Attention", ("q", "k", "v"), ("y",)),
        {"q": (1, 2, 5, 8), "k": (1, 2, 7, 8), "v": (1, 2, 7, 4), "y": (1, 2, 5, 4)},
        2 * 5 * 7 * (8 + 4),
    ),
    "nbits": (
        Node("n", "MatMulNBits", ("x", "w", "s"), ("y",), "com.microsoft", attributes={"K": 16, "N": 4}),
        {"x": (3, 16), "w": (4, 1, 8), "s": (4,), "y": (3, 4)},
        3 * 16 * 4,
    ),
    "qlinear": (
        Node("n", "QLinearConv", ("x", "s", "z", "w", "t", "u", "v", "o"), ("y",)),
        {"x": (1, 3, 4, 4), "s": (), "z": (), "w": (2, 3, 1, 1), "t": (), "u": (), "v": (), "o": (), "y": (1, 2, 4, 4)},
        2 * 16 * 3,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_macs_agree_with_hand_calculation(case: str) -> None:
    node, shapes, expected = CASES[case]
    work = count_work(model_of(node, shapes))
    assert work.uncounted == ()
    assert work.macs.tolist() == [expected]
    assert work.flops[0] >= 2 * expected


@pytest.mark.parametrize(
    ("op_type", "attributes", "expected"),
    [
        ("Relu", {}, 96),
        ("Sigmoid", {}, 4 * 96),
        ("Softmax", {}, 5 * 96),
        ("ReduceMean", {}, 96),
        ("LayerNormalization", {}, 8 * 96),
        ("MaxPool", {"kernel_shape": (3, 3)}, 9 * 96),
        ("Reshape", {}, 0),
        ("LRN", {"size": 5}, 14 * 96),
    ],
)
def test_flops_of_operators_without_products(op_type: str, attributes: dict, expected: int) -> None:
    graph = model_of(Node("n", op_type, ("x",), ("y",), attributes=attributes), {"x": (1, 6, 4, 4), "y": (1, 6, 4, 4)})
    work = count_work(graph)
    assert (work.macs[0], work.flops[0], work.uncounted) == (0, expected, ())


def test_bias_counts_as_additions() -> None:
    without = model_of(Node("n", "Conv", ("x", "w"), ("y",)), {"x": (1, 1, 4, 4), "w": (2, 1, 1, 1), "y": (1, 2, 4, 4)})
    shapes = {"x": (1, 1, 4, 4), "w": (2, 1, 1, 1), "b": (2,), "y": (1, 2, 4, 4)}
    with_bias = model_of(Node("n", "Conv", ("x", "w", "b"), ("y",)), shapes)
    assert count_work(with_bias).flops[0] - count_work(without).flops[0] == 32


def test_unknown_operators_are_listed_with_their_domain() -> None:
    work = count_work(model_of(Node("n", "Wavelet", ("x",), ("y",), "acme"), {"x": (4,), "y": (4,)}))
    assert work.uncounted == ("operator acme.Wavelet (1 node)",)


def test_a_standard_name_of_a_foreign_domain_is_not_taken_for_the_standard_operator() -> None:
    work = count_work(model_of(Node("n", "Relu", ("x",), ("y",), "acme"), {"x": (4,), "y": (4,)}))
    assert work.uncounted == ("operator acme.Relu (1 node)",)


@pytest.mark.parametrize("op_type", ["NonMaxSuppression", "Loop", "If", "Scan"])
def test_data_dependent_work_is_uncounted(op_type: str) -> None:
    assert op_type not in RULES


def test_an_operator_in_unusual_form_is_listed_not_crashed_on() -> None:
    graph = model_of(Node("n", "MaxPool", ("x",), ("y",)), {"x": (1, 1, 4, 4), "y": (1, 1, 2, 2)})
    assert count_work(graph).uncounted == ("operator MaxPool of an unusual form (1 node)",)


def test_moved_bytes_count_each_tensor_once_and_views_not_at_all() -> None:
    shapes = {"x": (8,), "y": (8,)}
    assert count_work(model_of(Node("n", "Mul", ("x", "x"), ("y",)), shapes)).moved_bytes[0] == 64
    assert count_work(model_of(Node("n", "Reshape", ("x",), ("y",)), shapes)).moved_bytes[0] == 0


def test_a_lookup_does_not_read_the_whole_table() -> None:
    node = Node("n", "Gather", ("table", "ids"), ("y",))
    graph = model_of(node, {"table": (30000, 384), "ids": (1, 8), "y": (1, 8, 384)}, parameters=("table",))
    assert count_work(graph).moved_bytes[0] == 2 * 8 * 384 * 4 + 32


def test_published_figures_leave_other_operators_out() -> None:
    node, shapes, expected = CASES["attention"]
    graph = model_of(node, shapes)
    assert product_macs(graph, count_work(graph)) == 0
    node, shapes, expected = CASES["gemm"]
    graph = model_of(node, shapes)
    assert product_macs(graph, count_work(graph)) == expected
