"""Weights inside the bodies of If and Loop count like any others, and the model computes what it did."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper, numpy_helper

from multiedge.check import check
from multiedge.onnx_io import read_graph
from multiedge.onnx_io.inner_weights import lift_inner_weights
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
