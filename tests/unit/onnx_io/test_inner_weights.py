"""Weights inside the bodies of If and Loop count like any others, and the model computes what it did."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper, numpy_helper

from multiedge.check import check
from multiedge.onnx_io import read_graph
from multiedge.onnx_io.inner_weights import LIFTED_CONSTANT_BYTES, lift_inner_weights
from multiedge.onnx_io.weights import is_external
from tests.builders.onnx_models import noise, parsed, saved
from tests.builders.parts import split_at

WEIGHT_BYTES = 64 * 64 * 4
BRANCHES = """g (float[1,64] x, bool flag) => (float[1,64] y) {
    a = MatMul(x, w0)
    b = If (flag) <
        then_branch = t () => (float[1,64] t_out) { t_out = MatMul(a, w) },
        else_branch = e () => (float[1,64] e_out) {
            e_out = If (flag) <
                then_branch = tt () => (float[1,64] tt_out) { tt_out = Neg(a) },
                else_branch = ee () => (float[1,64] ee_out) { m = MatMul(a, w)  ee_out = Add(m, small) }
            >
        }
    >
    y = Relu(b) }"""


def body(graph: onnx.GraphProto, node: int, branch: str) -> onnx.GraphProto:
    return next(attribute.g for attribute in graph.node[node].attribute if attribute.name == branch)


def branches() -> onnx.ModelProto:
    """Two branches, one inside another branch, whose weights have one name and differ."""
    model = parsed(BRANCHES, w0=noise(64, 64))
    model.graph.node[1].name = "branch"
    inner = body(body(model.graph, 1, "else_branch"), 0, "else_branch")
    body(model.graph, 1, "then_branch").initializer.append(numpy_helper.from_array(noise(64, 64, seed=1), "w"))
    inner.initializer.append(numpy_helper.from_array(noise(64, 64, seed=2), "w"))
    inner.initializer.append(numpy_helper.from_array(noise(64, seed=3), "small"))
    return model


def test_weights_of_bodies_are_parameters_of_the_node_that_holds_them(tmp_path: Path) -> None:
    graph = read_graph(saved(branches(), tmp_path / "model.onnx"))
    assert graph.parameter_bytes == 3 * WEIGHT_BYTES
    read = graph.parameters_read[1]
    assert len(read) == 2
    assert graph.bytes_of(read) == 2 * WEIGHT_BYTES


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_parts_with_such_weights_equal_the_whole(tmp_path: Path, seed: int) -> None:
    manifest = split_at(saved(branches(), tmp_path / "model.onnx"), [1, 2], tmp_path / "parts")
    assert check(manifest.directory, seed=seed).bitwise


@pytest.mark.parametrize("copy", [False, True])
def test_parts_refer_to_such_weights_as_to_any_other(tmp_path: Path, copy: bool) -> None:
    path = saved(branches(), tmp_path / "model.onnx")
    manifest = split_at(path, [1, 2], tmp_path / "parts", copy_weights=copy)
    part = onnx.load(tmp_path / "parts" / manifest.parts[1].file, load_external_data=False)
    assert sorted(tensor.name for tensor in part.graph.initializer if is_external(tensor)) == ["ee/w", "t/w"]
    assert check(manifest.directory).bitwise


def test_a_large_constant_of_the_model_is_a_weight_that_parts_refer_to(tmp_path: Path) -> None:
    side = 512
    model = parsed(f"g (float[1,{side}] x) => (float[1,{side}] y) {{ a = Neg(x)  y = MatMul(a, w) }}")
    held = numpy_helper.from_array(noise(side, side))
    assert len(held.raw_data) == LIFTED_CONSTANT_BYTES
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=held))
    path = saved(model, tmp_path / "model.onnx")
    assert [node.op_type for node in read_graph(path).nodes] == ["Neg", "MatMul"]
    manifest = split_at(path, [1], tmp_path / "parts")
    assert (tmp_path / "parts" / manifest.parts[1].file).stat().st_size < 4096
    assert check(manifest.directory).bitwise


def test_what_the_nodes_of_each_body_read_is_kept_by_operator(tmp_path: Path) -> None:
    node = read_graph(saved(branches(), tmp_path / "model.onnx")).nodes[1]
    assert node.bodies == ({"MatMul": ("a", "t/w")}, {"If": ("flag",)})
    assert set(node.captures) == {"a", "flag", "t/w", "ee/w"}


def test_weights_of_bodies_in_old_models_are_read_into_the_nodes(tmp_path: Path) -> None:
    old = branches()
    old.ir_version = 3
    assert read_graph(saved(old, tmp_path / "model.onnx")).parameters.keys() == {"w0"}


def test_what_a_constant_node_holds_inside_a_body_is_lifted_too() -> None:
    model = branches()
    then = body(model.graph, 1, "then_branch")
    constant = helper.make_node("Constant", [], ["w"], value=then.initializer[0])
    del then.initializer[:]
    then.node.insert(0, constant)
    lift_inner_weights(model)
    assert [node.op_type for node in then.node] == ["MatMul"]
    assert then.node[0].input[1] == "t/w"
    assert {tensor.name for tensor in model.graph.initializer} == {"w0", "t/w", "ee/w"}
    onnx.checker.check_model(model)


def test_small_weights_outputs_and_old_models_stay_as_they_are() -> None:
    model = branches()
    then = body(model.graph, 1, "then_branch")
    then.initializer.append(numpy_helper.from_array(noise(1, 2048), "t_out"))
    del then.node[:]
    lift_inner_weights(model)
    assert "t_out" in [tensor.name for tensor in then.initializer]
    inner = body(body(model.graph, 1, "else_branch"), 0, "else_branch")
    assert [tensor.name for tensor in inner.initializer] == ["small"]
    old = branches()
    old.ir_version = 3
    before = old.SerializeToString(deterministic=True)
    lift_inner_weights(old)
    assert old.SerializeToString(deterministic=True) == before
