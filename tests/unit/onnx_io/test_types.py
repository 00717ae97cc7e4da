"""Types of all tensors: what the file says, what follows from given shapes, and sizes in bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from multiedge.errors import ConfigError
from multiedge.graph import Tensor
from multiedge.onnx_io import read_graph
from multiedge.onnx_io.types import dtype_name, infer, parameter_of, tensor_of, with_shapes
from tests.builders.onnx_models import LIGHT, parsed

SHARED = "g (float[batch,4] x, float[batch,n] z) => (float[batch,m] y) { a = Exp(x)  b = Concat<axis = 1>(a, z)  y = Neg(b) }"


@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_models_of_the_first_ir_version_have_every_shape(path: Path) -> None:
    graph = read_graph(path)
    unknown = [
        name for node in graph.nodes for name in node.writes if graph.tensors[name].nbytes is None and name in graph.consumers
    ]
    assert unknown == []


def test_the_mask_of_a_dropout_has_the_type_and_shape_of_its_input_where_onnx_gives_it_none() -> None:
    model = parsed("g (float[2,3] x) => (float[2,3] y) { a, mask = Dropout(x)  y = Mul(a, mask) }", opsets='"" : 9')
    assert infer(model)["mask"] == infer(model)["x"]


def test_a_mask_that_nothing_reads_is_one_value_as_in_the_digests_of_public_suites() -> None:
    model = parsed("g (float[2,3] x) => (float[2,3] y) { a, mask = Dropout(x)  y = Neg(a) }", opsets='"" : 9')
    assert tensor_of("mask", infer(model)["mask"]) == Tensor("mask", "float32", (), 4)


def shape_of(kind: Any) -> list[int | str]:
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in kind.tensor_type.shape.dim]


def test_given_shapes_reach_every_tensor_that_shares_their_names() -> None:
    model = parsed(SHARED)
    types = infer(with_shapes(model, {"x": [3, 4], "z": [3, 5]}, "model.onnx")[0])
    assert {name: shape_of(types[name]) for name in "xzaby"} == {
        "x": [3, 4],
        "z": [3, 5],
        "a": [3, 4],
        "b": [3, 9],
        "y": [3, 9],
    }
    assert shape_of(model.graph.input[0].type) == ["batch", 4], "the model itself is not changed"


def test_a_shape_of_one_input_gives_the_others_their_shared_sizes() -> None:
    given, free_batch = with_shapes(parsed(SHARED), {"x": [3, 4]}, "model.onnx")
    assert free_batch == ()
    assert [shape_of(value.type) for value in given.graph.input] == [[3, 4], [3, "n"]]


def test_a_shape_for_an_input_that_states_none() -> None:
    model = parsed("g (float[N] x) => (float[N] y) { y = Neg(x) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    given, _ = with_shapes(model, {"x": [2, 3]}, "model.onnx")
    assert shape_of(given.graph.input[0].type) == [2, 3]
    scalar = with_shapes(model, {"x": []}, "model.onnx")[0].graph.input[0].type.tensor_type
    assert scalar.HasField("shape")
    assert not scalar.shape.dim


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        pytest.param({"image": [3, 4]}, "model.onnx: no input 'image' to give a shape; known: x, z", id="unknown"),
        pytest.param({"xx": [3, 4]}, r"no input 'xx' to give a shape; did you mean 'x'\?", id="a-slip"),
        pytest.param({"x": [3, 5]}, r"input 'x' has shape \['batch', 4\], which \[3, 5\] does not fit", id="another-size"),
        pytest.param({"x": [3]}, r"which \[3\] does not fit", id="too-short"),
        pytest.param({"x": [3, 4, 1]}, r"which \[3, 4, 1\] does not fit", id="too-long"),
        pytest.param({"x": [-1, 4]}, r"which \[-1, 4\] does not fit", id="negative"),
        pytest.param({"x": [1.5, 4]}, r"which \[1.5, 4\] does not fit", id="half"),
        pytest.param({"x": [3, 4], "z": [2, 4]}, "size 'batch' is given as 3 and as 2", id="two-sizes-for-one-name"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_shapes(parsed(SHARED), shapes, "model.onnx")


def kind_of(element: int, shape: list[int | str | None] | None) -> Any:
    return helper.make_tensor_type_proto(element, shape)


@pytest.mark.parametrize(
    ("kind", "tensor"),
    [
        pytest.param(None, Tensor("t"), id="nothing-known"),
        pytest.param(onnx.TypeProto(), Tensor("t"), id="empty"),
        pytest.param(kind_of(1, [2, 3]), Tensor("t", "float32", (2, 3), 24), id="float32"),
        pytest.param(kind_of(1, []), Tensor("t", "float32", (), 4), id="scalar"),
        pytest.param(kind_of(1, [0, 3]), Tensor("t", "float32", (0, 3), 0), id="empty-tensor"),
        pytest.param(kind_of(1, None), Tensor("t", "float32"), id="no-shape"),
        pytest.param(kind_of(1, ["n", 3, None]), Tensor("t", "float32", ("n", 3, None)), id="dynamic"),
        pytest.param(kind_of(TensorProto.BOOL, [5]), Tensor("t", "bool", (5,), 5), id="bool"),
        pytest.param(kind_of(TensorProto.FLOAT16, [5]), Tensor("t", "float16", (5,), 10), id="float16"),
        pytest.param(kind_of(TensorProto.BFLOAT16, [5]), Tensor("t", "bfloat16", (5,), 10), id="bfloat16"),
        pytest.param(kind_of(TensorProto.STRING, [5]), Tensor("t", "object", (5,)), id="strings-have-no-size"),
        pytest.param(kind_of(TensorProto.INT4, [5]), Tensor("t", "int4", (5,), 3), id="half-bytes-are-rounded-up"),
        pytest.param(kind_of(0, [5]), Tensor("t", None, (5,)), id="no-element-type"),
        pytest.param(kind_of(999, [5]), Tensor("t", None, (5,)), id="an-element-type-that-onnx-lacks"),
        pytest.param(helper.make_sequence_type_proto(kind_of(1, [2])), Tensor("t", "sequence"), id="sequence"),
        pytest.param(helper.make_optional_type_proto(kind_of(1, [2])), Tensor("t", "optional"), id="optional"),
        pytest.param(helper.make_map_type_proto(TensorProto.INT64, kind_of(1, [])), Tensor("t", "map"), id="map"),
    ],
)
def test_a_tensor_of_a_type(kind: Any, tensor: Tensor) -> None:
    assert tensor_of("t", kind) == tensor


@pytest.mark.parametrize(
    ("element", "dims", "nbytes"),
    [
        (TensorProto.FLOAT, [1 << 20, 1 << 20], 4 << 40),
        (TensorProto.DOUBLE, [], 8),
        (TensorProto.UINT4, [3, 3], 5),
        (TensorProto.COMPLEX64, [2], 16),
        (TensorProto.STRING, [2], None),
    ],
    ids=["terabytes", "scalar", "half-bytes", "complex", "strings"],
)
def test_the_size_of_a_parameter(element: int, dims: list[int], nbytes: int | None) -> None:
    assert parameter_of("w", element, dims) == Tensor("w", dtype_name(element), tuple(dims), nbytes)


def test_every_element_type_that_onnx_lists_has_a_name_or_none() -> None:
    names = {element: dtype_name(element) for element in TensorProto.DataType.values()}
    assert names.pop(TensorProto.UNDEFINED) is None
    assert all(names.values())


def test_a_model_that_inference_refuses_keeps_what_the_file_says() -> None:
    """A product of shapes that do not fit: the input and output types are still known."""
    model = parsed("g (float[2,3] x, float[4,5] z) => (float[2,5] y) { a = MatMul(x, z)  y = Neg(a) }")
    types = infer(model)
    assert shape_of(types["x"]) == [2, 3]
    assert shape_of(types["y"]) == [2, 5]
