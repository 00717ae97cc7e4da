"""Types that onnxruntime knows and onnx does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from onnx import TensorProto

from multiedge.onnx_io import runtime_types
from multiedge.onnx_io.fold import fixed_shape
from multiedge.onnx_io.runtime_types import types_of
from multiedge.onnx_io.types import tensor_of
from tests.builders.onnx_models import layers, parsed

CUSTOM = '"" : 17, "com.microsoft" : 1'
BEHIND = "g (float[2,8] x) => (float[2,8] y) { a = com.microsoft.QuickGelu(x)  b = Neg(a)  y = com.microsoft.QuickGelu(b) }"


def test_operators_of_the_runtimes_own_domain_have_types(tmp_path: Path) -> None:
    types = types_of(parsed(BEHIND, opsets=CUSTOM), tmp_path)
    assert {name: fixed_shape(types[name]) for name in "ab"} == {"a": [2, 8], "b": [2, 8]}


def test_sizes_that_share_a_name_keep_it(tmp_path: Path) -> None:
    types = types_of(parsed(BEHIND.replace("float[2,8]", "float[n,8]"), opsets=CUSTOM), tmp_path)
    assert tensor_of("b", types["b"]).shape == ("n", 8)


def test_a_tensor_of_any_rank_is_not_a_scalar_of_4_bytes(tmp_path: Path) -> None:
    text = (
        "g (float[2,8] x, float[2,8] y) => (float[M] z) { a = com.microsoft.QuickGelu(x)  s = Cast<to = 7>(a)  i = NonZero(s)"
    )
    text += "  j = Squeeze(i)  b = Reshape(x, j)  c = com.microsoft.QuickGelu(b)  z = Neg(c) }"
    types = types_of(parsed(text, opsets=CUSTOM), tmp_path)
    assert tensor_of("c", types["c"]).nbytes is None


def test_inference_goes_on_behind_an_operator_that_only_the_runtime_knows(tmp_path: Path) -> None:
    text = "g (float[2,8] x) => (float[M] y) { a = com.microsoft.QuickGelu(x)  s = Shape(a)  p = ReduceProd(s)"
    text += "  y = Reshape(a, p) }"
    assert tensor_of("y", types_of(parsed(text, opsets=CUSTOM), tmp_path)["y"]).known_shape == (16,)


def test_without_the_runtime_the_types_stay_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    types = types_of(parsed(BEHIND, opsets=CUSTOM), tmp_path)
    assert types.keys() & {"a", "b"} == set()
    assert types.keys() >= {"x", "y"}


def test_an_operator_that_nobody_knows_leaves_what_is_behind_it_unknown(tmp_path: Path) -> None:
    model = parsed("g (float[4] x) => (float[4] y) { a = nowhere.Strange(x)  y = Neg(a) }", opsets='"" : 17, "nowhere" : 1')
    types = types_of(model, tmp_path)
    assert "a" not in types
    assert fixed_shape(types["y"]) == [4]


def test_no_session_is_made_where_onnx_knows_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(runtime_types, "_from_runtime", None)
    types = types_of(layers(3, activation="Tanh"), tmp_path)
    assert fixed_shape(types["h2"]) == [1, 16]


@pytest.mark.parametrize(
    ("text", "shape", "dtype", "sizes"),
    [
        pytest.param("tensor(float)", [2, "n", None], "float32", (2, "n", None), id="tensor"),
        pytest.param("tensor(double)", [], "float64", (), id="scalar"),
        pytest.param("tensor(double)", None, "float64", None, id="any-shape"),
        pytest.param("tensor(uint16)", [1], "uint16", (1,), id="unsigned"),
        pytest.param("tensor(bfloat16)", [1], "bfloat16", (1,), id="bfloat16"),
        pytest.param("tensor(string)", [1], "object", (1,), id="strings"),
        pytest.param("seq(tensor(int64))", [], "sequence", None, id="sequence"),
    ],
)
def test_the_runtimes_text_as_a_type(
    text: str, shape: list[int | str | None] | None, dtype: str, sizes: tuple[object, ...]
) -> None:
    tensor = tensor_of("t", runtime_types._type(text, shape))
    assert (tensor.dtype, tensor.shape) == (dtype, sizes)


@pytest.mark.parametrize("text", ["", "tensor(float4)", "map(string,tensor(float))", "optional(tensor(float))", "tensor(float"])
def test_a_text_that_says_no_type_of_ours_is_none(text: str) -> None:
    assert runtime_types._type(text, [1]) is None


def test_the_elements_of_a_sequence_are_known() -> None:
    kind = runtime_types._type("seq(tensor(int64))", [])
    assert kind is not None
    assert kind.sequence_type.elem_type.tensor_type.elem_type == TensorProto.INT64
