"""Which node did whose work, for each thing that the optimiser does to a graph."""

from __future__ import annotations

import numpy as np

from multiedge.backends.onnxruntime.fusion import OptimisedNode, fused_tensors, owners
from multiedge.backends.ownership import NO_OWNER, depends_on_inputs, spread
from multiedge.graph import Node
from tests.builders.graphs import graph_of

CHAIN = graph_of(
    Node("conv", "Conv", ("x",), ("a",)),
    Node("norm", "BatchNormalization", ("a",), ("b",)),
    Node("relu", "Relu", ("b",), ("c",)),
    Node("pool", "MaxPool", ("c",), ("d",)),
)


def test_an_unchanged_graph_maps_one_to_one() -> None:
    same = [OptimisedNode(node.name, node.op_type, node.inputs, node.outputs) for node in CHAIN.nodes]
    found = owners(CHAIN, same)
    assert found.owner.tolist() == [0, 1, 2, 3]
    assert found.group.tolist() == [0, 1, 2, 3]


def test_a_fused_node_is_known_by_its_output_tensor() -> None:
    fused = [OptimisedNode("", "FusedConv", ("x",), ("c",)), OptimisedNode("pool", "MaxPool", ("c",), ("d",))]
    assert owners(CHAIN, fused).owner.tolist() == [0, 0, 0, 1]


def test_nodes_swallowed_behind_a_named_one_follow_it() -> None:
    renamed = [OptimisedNode("conv", "Conv", ("x",), ("new",)), OptimisedNode("pool", "MaxPool", ("new",), ("d",))]
    found = owners(CHAIN, renamed).owner.tolist()
    assert found[0] == 0
    assert found[3] == 1
    assert NO_OWNER not in found


def test_a_new_layout_is_seen_through() -> None:
    laid_out = [
        OptimisedNode("ReorderInput", "ReorderInput", ("x",), ("token_0",)),
        OptimisedNode("b_nchwc", "Conv", ("token_0",), ("token_1",)),
        OptimisedNode("d_nchwc", "MaxPool", ("token_1",), ("token_2",)),
        OptimisedNode("ReorderOutput_token_2", "ReorderOutput", ("token_2",), ("d",)),
    ]
    found = owners(CHAIN, laid_out)
    assert found.owner.tolist() == [1, 1, 1, 2]
    assert found.group.tolist() == [1, 1, 2, 2]


def test_tensors_inside_fused_nodes_are_distinguished_from_those_that_only_changed_their_layout() -> None:
    laid_out = [
        OptimisedNode("ReorderInput", "ReorderInput", ("x",), ("token_0",)),
        OptimisedNode("c_nchwc", "Conv", ("token_0",), ("token_1",)),
        OptimisedNode("d_nchwc", "MaxPool", ("token_1",), ("token_2",)),
        OptimisedNode("ReorderOutput_token_2", "ReorderOutput", ("token_2",), ("d",)),
    ]
    assert fused_tensors(CHAIN, laid_out, owners(CHAIN, laid_out)) == {"a", "b"}
    same = [OptimisedNode(node.name, node.op_type, node.inputs, node.outputs) for node in CHAIN.nodes]
    assert fused_tensors(CHAIN, same, owners(CHAIN, same)) == frozenset()


def test_a_tensor_that_is_also_a_result_or_read_elsewhere_is_not_inside() -> None:
    graph = graph_of(
        Node("conv", "Conv", ("x",), ("a",)),
        Node("relu", "Relu", ("a",), ("b",)),
        Node("pool", "MaxPool", ("a",), ("c",)),
        Node("sum", "Add", ("b", "c"), ("d",)),
    )
    fused = [
        OptimisedNode("", "FusedConv", ("x",), ("a", "b")),
        OptimisedNode("pool", "MaxPool", ("a",), ("c",)),
        OptimisedNode("sum", "Add", ("b", "c"), ("d",)),
    ]
    assert fused_tensors(graph, fused, owners(graph, fused)) == frozenset()


def test_a_fused_product_leaves_alone_what_comes_before_it() -> None:
    graph = graph_of(
        Node("one", "Conv", ("x",), ("a",)),
        Node("relu", "Relu", ("a",), ("b",)),
        Node("two", "Conv", ("b",), ("c",)),
    )
    found = owners(
        graph, [OptimisedNode("a_nchwc", "Conv", ("x",), ("t0",)), OptimisedNode("c_nchwc", "Conv", ("t0",), ("c",))]
    )
    assert found.owner.tolist() == [0, 0, 1]


def test_a_composite_claims_all_of_its_pieces() -> None:
    graph = graph_of(
        Node("before", "MatMul", ("x",), ("a",)),
        Node("scale", "Div", ("a",), ("b",)),
        Node("erf", "Erf", ("b",), ("c",)),
        Node("shift", "Add", ("c",), ("d",)),
        Node("product", "Mul", ("a", "d"), ("e",)),
    )
    found = owners(graph, [OptimisedNode("before", "MatMul", ("x",), ("a",)), OptimisedNode("g", "Gelu", ("a",), ("e",))])
    assert found.owner.tolist() == [0, 1, 1, 1, 1]


def test_folded_constants_belong_to_no_one() -> None:
    graph = graph_of(
        Node("weights", "ConstantOfShape", ("shape",), ("w",)),
        Node("product", "MatMul", ("x", "w"), ("y",)),
    )
    assert depends_on_inputs(graph).tolist() == [False, True]
    found = owners(graph, [OptimisedNode("product", "MatMul", ("x", "w"), ("y",))])
    assert found.owner.tolist() == [NO_OWNER, 0]


def test_time_is_shared_in_proportion_and_none_is_lost() -> None:
    laid_out = [
        OptimisedNode("ReorderInput", "ReorderInput", ("x",), ("token_0",)),
        OptimisedNode("b_nchwc", "Conv", ("token_0",), ("token_1",)),
        OptimisedNode("d_nchwc", "MaxPool", ("token_1",), ("token_2",)),
        OptimisedNode("ReorderOutput_token_2", "ReorderOutput", ("token_2",), ("d",)),
    ]
    found = spread(owners(CHAIN, laid_out), np.array([1.0, 8.0, 2.0, 1.0]), np.array([6.0, 1.0, 1.0, 5.0]))
    np.testing.assert_allclose(found.sum(), 12.0)
    np.testing.assert_allclose(found, [9.0 * 6 / 8, 9.0 / 8, 9.0 / 8, 3.0])


def test_names_with_what_the_optimiser_appends_are_known() -> None:
    graph = graph_of(
        Node("/fc/MatMul", "MatMul", ("x",), ("a",)),
        Node("/fc/Add", "Add", ("a",), ("b",)),
        Node("/act/Relu", "Relu", ("b",), ("c",)),
    )
    fused = [
        OptimisedNode("gemm_input_reshape", "Reshape", ("x",), ("in",)),
        OptimisedNode("/fc/MatMul/MatMulAddFusion", "Gemm", ("in",), ("out",)),
        OptimisedNode("gemm_output_reshape_token_5", "Reshape", ("out",), ("b",)),
        OptimisedNode("/act/Relu_token_7", "Relu", ("b",), ("c",)),
    ]
    found = owners(graph, fused)
    assert found.owner.tolist() == [1, 2, 3]
    assert found.group.tolist() == [1, 1, 2, 3]
