"""One part of a model: its nodes, what they need, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from multiedge.errors import CutError
from multiedge.onnx_io.extract import EMPTY, Extractor
from multiedge.onnx_io.model_file import open_model
from multiedge.onnx_io.reader import graph_of
from tests.builders.onnx_models import layers, noise, parsed, saved


def extractor(model: onnx.ModelProto, folder: Path) -> Extractor:
    opened = open_model(saved(model, folder / "model.onnx"))
    return Extractor(opened, graph_of(opened, opened.proto))


def names(values: Any) -> list[str]:
    return [value.name for value in values]


def part_of(model: onnx.ModelProto, folder: Path, nodes: list[int], outputs: list[str]) -> tuple[Any, tuple[str, ...]]:
    return extractor(model, folder).part("part", nodes, outputs)


def test_a_part_holds_its_nodes_and_the_weights_they_read(tmp_path: Path) -> None:
    part, inputs = part_of(layers(3, activation="Tanh"), tmp_path, [2, 3], ["h2"])
    assert names(part.graph.node) == ["layer_m2", "tanh_h2"]
    assert inputs == ("h1",)
    assert names(part.graph.input) == ["h1"]
    assert names(part.graph.output) == ["h2"]
    assert names(part.graph.initializer) == ["w2"]
    assert part.graph.name == "part"


def test_inputs_come_in_the_order_of_their_first_use(tmp_path: Path) -> None:
    model = parsed("g (float[4] p, float[4] q, float[4] r) => (float[4] y) { a = Add(r, p)  b = Mul(a, q)  y = Add(b, r) }")
    _, inputs = part_of(model, tmp_path, [0, 1, 2], ["y"])
    assert inputs == ("r", "p", "q")


def test_what_is_made_inside_is_no_input_and_may_be_an_output_twice_read(tmp_path: Path) -> None:
    part, inputs = part_of(layers(3, skip=True), tmp_path, [0, 1], ["h1", "h2"])
    assert inputs == ("x",)
    assert names(part.graph.output) == ["h1", "h2"]


def test_dynamic_sizes_stay_dynamic(tmp_path: Path) -> None:
    part, _ = part_of(layers(2, rows="n"), tmp_path, [1], ["y"])
    assert part.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


def test_a_constant_of_another_part_is_made_again(tmp_path: Path) -> None:
    model = parsed(
        """g (float[4] x) => (float[4] y) {
            k = Constant<value_float = 2.0>()  m = Neg(k)  a = Mul(x, m)  b = Exp(a)  y = Mul(b, m)
        }"""
    )
    part, inputs = part_of(model, tmp_path, [4], ["y"])
    assert inputs == ("b",)
    assert [node.op_type for node in part.graph.node] == ["Constant", "Neg", "Mul"]


def test_a_constant_that_nobody_in_the_part_reads_is_left_out(tmp_path: Path) -> None:
    model = parsed("g (float[4] x) => (float[4] y) { k = Constant<value_float = 2.0>()  a = Exp(x)  y = Mul(a, k) }")
    cut = extractor(model, tmp_path)
    order = [node.op_type for node in cut.graph.nodes]
    assert order == ["Exp", "Constant", "Mul"]
    part, _ = cut.part("part", [0, 1], ["a"])
    assert [node.op_type for node in part.graph.node] == ["Exp"]


def test_a_constant_that_is_an_output_is_made_where_it_is_asked_for(tmp_path: Path) -> None:
    model = parsed("g (float[4] x) => (float[4] y, float k) { k = Constant<value_float = 2.0>()  a = Exp(x)  y = Neg(a) }")
    part, inputs = part_of(model, tmp_path, [0], ["a", "k"])
    assert [node.op_type for node in part.graph.node] == ["Exp", "Constant"]
    assert inputs == ("x",)


def test_a_part_that_gives_nothing_has_an_output_that_a_runtime_accepts(tmp_path: Path) -> None:
    part, inputs = part_of(layers(2, 4), tmp_path, [1], [])
    assert (inputs, names(part.graph.output)) == (("h1",), [EMPTY])
    onnx.checker.check_model(part)


def test_a_part_of_no_nodes_hands_on_an_initialiser(tmp_path: Path) -> None:
    model = parsed("g (float[4] x) => (float[4] y, float[4] k) { y = Neg(x) }", k=noise(4))
    part, inputs = part_of(model, tmp_path, [], ["k"])
    assert (inputs, names(part.graph.initializer), names(part.graph.output)) == ((), ["k"], ["k"])


def test_only_functions_that_are_called_are_kept_and_those_that_they_call(tmp_path: Path) -> None:
    model = parsed(
        "g (float[4] x) => (float[4] y) { a = local.twice(x)  b = local.outer(a)  y = Neg(b) }",
        opsets='"" : 17, "local" : 1',
        functions="""
        <domain: "local", opset_import: ["" : 17]> twice (v) => (r) { r = Add(v, v) }
        <domain: "local", opset_import: ["" : 17, "local" : 1]> outer (v) => (r) { t = local.twice(v)  r = Tanh(t) }
        <domain: "local", opset_import: ["" : 17]> unused (v) => (r) { r = Neg(v) }""",
    )
    model.graph.value_info.extend(helper.make_tensor_value_info(name, 1, [4]) for name in ("a", "b"))
    cut = extractor(model, tmp_path)
    called = [names(cut.part("p", [node], [output])[0].functions) for node, output in enumerate("aby")]
    assert called == [["twice"], ["twice", "outer"], []]


def test_functions_that_sub_graphs_call_are_kept(tmp_path: Path) -> None:
    model = parsed(
        """g (float[4] x, bool flag) => (float[4] y) {
            y = If (flag) <
                then_branch = t () => (float[4] t_out) { t_out = local.twice(x) },
                else_branch = e () => (float[4] e_out) { e_out = Neg(x) }
            >
        }""",
        opsets='"" : 17, "local" : 1',
        functions='<domain: "local", opset_import: ["" : 17]> twice (v) => (r) { r = Add(v, v) }',
    )
    part, inputs = part_of(model, tmp_path, [0], ["y"])
    assert names(part.functions) == ["twice"]
    assert set(inputs) == {"x", "flag"}


def test_notes_about_tensors_go_with_them(tmp_path: Path) -> None:
    model = layers(3)
    model.graph.value_info.extend(helper.make_tensor_value_info(name, 1, [1, 16]) for name in ("h1", "h2"))
    for name in ("h1", "h2"):
        note = onnx.TensorAnnotation(tensor_name=name)
        note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w1")
        model.graph.quantization_annotation.append(note)
    part, _ = part_of(model, tmp_path, [0, 1], ["h2"])
    assert names(part.graph.value_info) == ["h1"], "an output has its type among the outputs"
    assert [note.tensor_name for note in part.graph.quantization_annotation] == ["h1"]


def test_the_header_of_the_model_goes_with_every_part(tmp_path: Path) -> None:
    model = layers(2, ir=9)
    model.producer_name, model.domain, model.model_version = "tester", "org.example", 42
    helper.set_model_props(model, {"licence": "none"})
    part, _ = part_of(model, tmp_path, [0], ["h1"])
    for field in ("ir_version", "producer_name", "domain", "model_version", "opset_import", "metadata_props"):
        assert getattr(part, field) == getattr(model, field)


def test_weights_that_are_inputs_of_an_old_file_stay_inputs_of_the_part_that_reads_them(tmp_path: Path) -> None:
    text = "g (float[2,8] x, float[8,8] w, float[8,8] v) => (float[2,8] y) { a = MatMul(x, w)  y = MatMul(a, v) }"
    part, inputs = part_of(parsed(text, ir=3, opsets='"" : 7', w=noise(8, 8), v=noise(8, 8)), tmp_path, [0], ["a"])
    assert inputs == ("x",)
    assert names(part.graph.input) == ["x", "w"]
    assert names(part.graph.initializer) == ["w"]


def test_sparse_weights_go_where_they_are_read(tmp_path: Path) -> None:
    model = parsed("g (float[2,8] x) => (float[2,8] y) { a = MatMul(x, w)  y = Tanh(a) }")
    values = onnx.numpy_helper.from_array(np.array([1.5], dtype=np.float32), "w")
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, onnx.numpy_helper.from_array(np.array([3]), "w_at"), [8, 8])
    )
    cut = extractor(model, tmp_path)
    assert [len(cut.part("p", [node], [out])[0].graph.sparse_initializer) for node, out in ((0, "a"), (1, "y"))] == [1, 0]


def test_a_cut_through_an_unknown_type_names_tensor_and_node(tmp_path: Path) -> None:
    model = parsed(
        "g (float[4] x) => (float[4] y) { a = nowhere.Strange(x)  y = nowhere.Stranger(a) }", opsets='"" : 17, "nowhere" : 1'
    )
    with pytest.raises(CutError, match=r"g: part cannot begin or end at 'a', whose type node 'Strange_0' does not state; cut"):
        part_of(model, tmp_path, [1], ["y"])
