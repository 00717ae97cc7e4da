"""Sizes that nodes compute are worked out, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from multiedge.onnx_io.fold import MAX_ELEMENTS, fixed_shape, fold_sizes
from multiedge.onnx_io.types import infer
from tests.builders.onnx_models import noise, parsed


def folded(model: onnx.ModelProto) -> tuple[bool, dict[str, list[Any]], list[str]]:
    """Whether anything was folded, the values of new initialisers, and the operators that stay."""
    before = {tensor.name for tensor in model.graph.initializer}
    changed = fold_sizes(model, onnx_types(model))
    made = {
        tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in model.graph.initializer if tensor.name not in before
    }
    return changed, made, [node.op_type for node in model.graph.node]


def onnx_types(model: onnx.ModelProto) -> dict[str, Any]:
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {value.name: value.type for value in (*graph.input, *graph.value_info, *graph.output)}


def test_a_shape_and_what_follows_from_it_are_worked_out() -> None:
    model = parsed(
        """g (float[2,3,4] x) => (float[N,M] y) {
            s = Shape(x)  n = Gather(s, first)  k = Concat<axis = 0>(n, minus)  y = Reshape(x, k)
        }""",
        first=np.array([0]),
        minus=np.array([-1]),
    )
    changed, made, operators = folded(model)
    assert changed
    assert made == {"s": [2, 3, 4], "n": [2], "k": [2, -1]}
    assert operators == ["Reshape"]


def test_the_number_of_elements_is_known_too() -> None:
    _, made, _ = folded(
        parsed("g (float[2,3] x) => (float[1] y) { n = Size(x)  f = Cast<to = 1>(n)  y = Add(f, z) }", z=noise(1))
    )
    assert made == {"n": 6, "f": 6.0}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("g (float[2] x) => (float[2] y) { a = Exp(x)  y = Neg(a) }", id="no-sizes"),
        pytest.param("g (float[N] x) => (int64[1] y) { s = Shape(x)  y = Neg(s) }", id="shape-not-known"),
        pytest.param("g (float[2] x) => (int64[1] s) { s = Shape(x) }", id="the-result-itself"),
        pytest.param(
            "g (float[2] x) => (float[2] y) { k = Constant<value_float = 2.0>()  y = Mul(x, k) }", id="constants-alone"
        ),
        pytest.param(
            "g (float[2] x) => (float[2] y) { s = Shape(x)  r = RandomNormal<shape = [2]>()  y = Mul(x, r) }", id="random"
        ),
    ],
)
def test_what_is_no_size_stays(body: str) -> None:
    model = parsed(body)
    nodes = [node.op_type for node in model.graph.node if node.op_type != "Shape"]
    _, made, operators = folded(model)
    assert set(made) <= {"s"}
    assert [operator for operator in operators if operator != "Shape"] == nodes


def test_a_random_value_is_never_taken_for_a_constant() -> None:
    model = parsed(
        "g (float[2] x) => (float[2] y) { s = Shape(x)  r = RandomNormalLike(z)  t = Add(r, z)  y = Reshape(t, s) }", z=noise(2)
    )
    _, made, operators = folded(model)
    assert set(made) == {"s"}
    assert operators == ["RandomNormalLike", "Add", "Reshape"]


@pytest.mark.parametrize(("rows", "is_folded"), [(MAX_ELEMENTS, True), (MAX_ELEMENTS + 1, False)])
def test_large_values_are_no_sizes(rows: int, is_folded: bool) -> None:
    model = parsed(
        f"g (float[{rows}] x) => (float[N] y) {{ s = Shape(x)  r = Expand(one, s)  y = Mul(x, r) }}",
        one=np.ones(1, dtype=np.float32),
    )
    _, made, _ = folded(model)
    assert ("r" in made) is is_folded


def test_an_external_weight_is_not_read() -> None:
    """Its file need not exist: only shapes are wanted."""
    model = parsed("g (float[2,3] x) => (float[N] y) { s = Shape(x)  k = Mul(s, w)  y = Reshape(x, k) }", w=np.array([1, 1]))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="absent.bin")
    _, made, operators = folded(model)
    assert set(made) == {"s"}
    assert operators == ["Mul", "Reshape"]


def test_control_flow_and_other_domains_are_left_alone() -> None:
    model = parsed(
        """g (float[2,3] x, bool flag) => (int64[2] y, int64[2] z) {
            s = Shape(x)
            y = If (flag) <
                then_branch = t () => (int64[2] t_out) { t_out = Neg(s) },
                else_branch = e () => (int64[2] e_out) { e_out = Abs(s) }
            >
            z = com.microsoft.Gelu(s)
        }""",
        opsets='"" : 17, "com.microsoft" : 1',
    )
    _, _, operators = folded(model)
    assert [operator for operator in operators if operator != "Shape"] == ["If", "Gelu"]


def test_an_operator_that_the_evaluator_cannot_do_leaves_sizes_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx.reference

    def broken(*_: object) -> None:
        raise NotImplementedError("no such operator")

    monkeypatch.setattr(onnx.reference, "ReferenceEvaluator", broken)
    model = parsed("g (float[2,3] x) => (float[N] y) { s = Shape(x)  k = Neg(s)  y = Reshape(x, k) }")
    changed, made, operators = folded(model)
    assert (changed, made) == (False, {})
    assert operators == ["Shape", "Neg", "Reshape"]


def test_inference_goes_on_behind_what_was_worked_out() -> None:
    """Two reshapes in a row, each by the shape of what comes before it."""
    model = parsed(
        """g (float[2,6] x) => (float[A,B] y) {
            s = Shape(x)  t = Div(s, half)  u = Mul(t, twice)  a = Reshape(x, u)
            b = Exp(a)  v = Shape(b)  w = Gather(v, flip)  y = Reshape(b, w)
        }""",
        half=np.array([2, 2]),
        twice=np.array([4, 1]),
        flip=np.array([1, 0]),
    )
    before = model.SerializeToString()
    shapes = {name: fixed_shape(kind) for name, kind in infer(model).items()}
    assert {name: shapes[name] for name in "aby"} == {"a": [4, 3], "b": [4, 3], "y": [3, 4]}
    assert model.SerializeToString() == before, "the model itself is not changed"


def test_a_model_of_the_first_ir_version_is_worked_out_too() -> None:
    """There an initialiser counts only if it is an input as well, which a folded size is not."""
    model = parsed(
        """g (float[2,3] x, int64[1] m) => (float[N] y) {
            s = Shape(x)  k = Mul(s, m)  n = ReduceProd<axes = [0]>(k)  y = Reshape(x, n)
        }""",
        ir=3,
        opsets='"" : 9',
        m=np.array([1]),
    )
    assert fixed_shape(infer(model)["y"]) == [6]


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param(onnx.helper.make_tensor_type_proto(1, None), None, id="no-shape"),
        pytest.param(onnx.helper.make_tensor_type_proto(1, []), [], id="scalar"),
        pytest.param(onnx.helper.make_tensor_type_proto(1, [2, 0]), [2, 0], id="empty"),
        pytest.param(onnx.helper.make_tensor_type_proto(1, [2, "n"]), None, id="symbolic"),
        pytest.param(onnx.helper.make_tensor_type_proto(1, [2, None]), None, id="unknown"),
        pytest.param(onnx.helper.make_sequence_type_proto(onnx.helper.make_tensor_type_proto(1, [2])), None, id="no-tensor"),
    ],
)
def test_a_fixed_shape_has_only_numbers(kind: Any, shape: list[int] | None) -> None:
    assert fixed_shape(kind) == shape
