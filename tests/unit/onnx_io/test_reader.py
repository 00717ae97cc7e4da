"""A model file as a Graph: names, attributes, parameters and what depends on given shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from multiedge.graph import Graph, Tensor
from multiedge.onnx_io.reader import declared_graph, read_graph
from tests.builders.onnx_models import layers, noise, parsed, saved


def graph_of_text(tmp_path: Path, text: str, **weights: Any) -> Graph:
    return read_graph(saved(parsed(text, **weights), tmp_path / "model.onnx"))


def test_a_chain_as_values(tmp_path: Path) -> None:
    graph = read_graph(saved(layers(2, 16, activation="Tanh", name="small"), tmp_path / "model.onnx"))
    assert (graph.name, graph.inputs, graph.outputs) == ("small", ("x",), ("y",))
    assert [(node.name, node.op_type, node.inputs, node.outputs) for node in graph.nodes] == [
        ("layer_m1", "MatMul", ("x", "w1"), ("m1",)),
        ("tanh_h1", "Tanh", ("m1",), ("h1",)),
        ("layer_m2", "MatMul", ("h1", "w2"), ("m2",)),
        ("tanh_y", "Tanh", ("m2",), ("y",)),
    ]
    assert graph.tensors["h1"] == Tensor("h1", "float32", (1, 16), 64)
    assert dict(graph.parameters) == {name: Tensor(name, "float32", (16, 16), 1024) for name in ("w1", "w2")}
    assert (graph.opsets, graph.ir_version) == ({"ai.onnx": 17}, 8)
    assert graph.path == str(tmp_path / "model.onnx")


def test_a_graph_without_a_name_has_that_of_its_file(tmp_path: Path) -> None:
    assert read_graph(saved(layers(1, name=""), tmp_path / "classifier.onnx")).name == "classifier"


def test_what_is_made_of_parameters_alone_is_a_parameter(tmp_path: Path) -> None:
    graph = graph_of_text(
        tmp_path,
        """g (float[2,4] x) => (float[2,4] y) {
            k = Constant<value_float = 2.0>()  v = Mul(w, k)  a = MatMul(x, v)  r = RandomNormal<shape = [2,4]>()  y = Add(a, r)
        }""",
        w=noise(4, 4),
    )
    assert set(graph.parameters) == {"w", "k", "v"}
    assert graph.parameters["v"].shape == (4, 4)
    assert "r" not in graph.parameters, "random values differ from run to run"


def test_weights_that_old_files_list_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    text = "g (float[2,8] x, float[8,8] w) => (float[2,8] y) { y = MatMul(x, w) }"
    graph = read_graph(saved(parsed(text, ir=3, opsets='"" : 7', w=noise(8, 8)), tmp_path / "model.onnx"))
    assert graph.inputs == ("x",)
    assert set(graph.parameters) == {"w"}


def test_what_sub_graphs_read_is_captured(tmp_path: Path) -> None:
    graph = graph_of_text(
        tmp_path,
        """g (float[4] x, bool flag) => (float[4] y) {
            a = Exp(x)
            y = If (flag) <
                then_branch = t () => (float[4] t_out) { t_out = Add(a, k) },
                else_branch = e () => (float[4] e_out) { inner = Neg(x)  e_out = Abs(inner) }
            >
        }""",
        k=noise(4),
    )
    node = graph.nodes[1]
    assert set(node.captures) == {"a", "k", "x"}
    assert graph.activations_read(1) == tuple(name for name in node.reads if name != "k")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(3, 3, id="int"),
        pytest.param(0.5, 0.5, id="float"),
        pytest.param("same", "same", id="string"),
        pytest.param(b"\xff\xfe", "\ufffd\ufffd", id="string-that-is-no-utf-8"),
        pytest.param([1, 2], (1, 2), id="ints"),
        pytest.param([0.5, 1.5], (0.5, 1.5), id="floats"),
        pytest.param(["a", "b"], ("a", "b"), id="strings"),
        pytest.param(onnx.numpy_helper.from_array(np.zeros((2, 3))), (2, 3), id="tensors-as-shapes"),
        pytest.param(layers(3).graph, 3, id="graphs-as-their-number-of-nodes"),
        pytest.param([layers(3).graph], None, id="lists-of-graphs-are-left-out"),
    ],
)
def test_attributes_as_plain_values(tmp_path: Path, value: Any, expected: Any) -> None:
    model = parsed("g (float[4] x) => (float[4] y) { y = Neg(x) }")
    model.graph.node[0].attribute.append(helper.make_attribute("which", value))
    graph = read_graph(saved(model, tmp_path / "model.onnx"))
    assert graph.nodes[0].attributes == {"which": expected}


def test_shapes_give_sizes_to_what_depends_on_them(tmp_path: Path) -> None:
    path = saved(layers(2, 16, rows="n"), tmp_path / "model.onnx")
    assert declared_graph(path).tensors["h1"] == Tensor("h1", "float32", ("n", 16))
    assert read_graph(path).tensors["h1"] == Tensor("h1", "float32", (1, 16), 64)
    assert read_graph(path).free_batch == ("x",)
    assert read_graph(path, {"x": [3, 16]}).tensors["h1"] == Tensor("h1", "float32", (3, 16), 192)


def test_the_hash_is_that_of_the_file_whatever_the_shapes(tmp_path: Path) -> None:
    path = saved(layers(2, 16, rows="n"), tmp_path / "model.onnx")
    assert read_graph(path).model_hash == read_graph(path, {"x": [3, 16]}).model_hash


def test_domains_of_operators_are_kept(tmp_path: Path) -> None:
    text = "g (float[4] x) => (float[4] y) { a = com.microsoft.Gelu(x)  y = Neg(a) }"
    path = saved(parsed(text, opsets='"" : 17, "com.microsoft" : 1'), tmp_path / "model.onnx")
    graph = read_graph(path)
    assert [node.domain for node in graph.nodes] == ["com.microsoft", ""]
    assert graph.opsets == {"ai.onnx": 17, "com.microsoft": 1}


def test_optional_inputs_left_out_keep_their_places(tmp_path: Path) -> None:
    graph = graph_of_text(tmp_path, "g (float[4] x) => (float[4] y) { y = Clip(x, , high) }", high=np.float32(1.0))
    assert graph.nodes[0].inputs == ("x", "", "high")
    assert graph.nodes[0].reads == ("x", "high")
