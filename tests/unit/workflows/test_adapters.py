from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

from multiedge.errors import ConfigError
from multiedge.graph import Tensor
from multiedge.workflows.adapters import OPSET, Nodes, add_nodes, result_of
from multiedge.workflows.workflow import Adapter, Cast, Normalise, Reshape, Resize, Transpose


def applied(adapter: Adapter, values: Any) -> Any:
    """What the nodes of the adapter make of the values."""
    tensor = Tensor("x", values.dtype.name, values.shape)
    nodes = Nodes("a.adapters")
    name = add_nodes(adapter, nodes, "x", tensor)
    kinds = [helper.np_dtype_to_tensor_dtype(np.dtype(each.dtype)) for each in (tensor, result_of(adapter, tensor))]
    ends = [helper.make_tensor_value_info(end, kind, None) for end, kind in zip(("x", name), kinds, strict=True)]
    graph = helper.make_graph(nodes.nodes, "adapter", ends[:1], ends[1:], nodes.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    (result,) = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": values})
    return result


IMAGE = np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32)
ADAPTERS: dict[str, tuple[Adapter, Any, Any]] = {
    "cast": (Cast("uint8"), IMAGE * 100, (IMAGE * 100).astype(np.uint8)),
    "transpose": (Transpose((0, 2, 3, 1)), IMAGE, IMAGE.transpose(0, 2, 3, 1)),
    "reshape": (Reshape((0, -1)), IMAGE, IMAGE.reshape(2, -1)),
    "reshape to sizes": (Reshape((6, 64)), IMAGE, IMAGE.reshape(6, 64)),
    "resize by half": (Resize(4, 4), IMAGE, IMAGE.reshape(2, 3, 4, 2, 4, 2).mean(axis=(3, 5))),
    "normalise by channel": (
        Normalise((0.1, 0.2, 0.3), (1.0, 2.0, 4.0)),
        IMAGE,
        (IMAGE - np.float32([0.1, 0.2, 0.3])[:, None, None]) / np.float32([1, 2, 4])[:, None, None],
    ),
    "normalise": (Normalise((0.5,), (0.25,)), IMAGE, (IMAGE - 0.5) / 0.25),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_computes_what_its_type_says(name: str) -> None:
    adapter, values, expected = ADAPTERS[name]
    got = applied(adapter, values)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    told = result_of(adapter, Tensor("x", values.dtype.name, values.shape))
    assert (told.dtype, told.shape) == (got.dtype.name, got.shape)


REFUSED: dict[str, tuple[Adapter, Tensor, str]] = {
    "axes": (Transpose((1, 0)), Tensor("x", "float32", (1, 2, 3)), r"expected 3 axes for \[1, 2, 3\], got 2"),
    "values": (Reshape((5, 5)), Tensor("x", "float32", (4, 4)), "has 16 values"),
    "rest": (Reshape((5, -1)), Tensor("x", "float32", (4, 4)), "do not fill"),
    "kept axis": (Reshape((1, 1, 0)), Tensor("x", "float32", (4, 4)), "has no such axis"),
    "resize of bytes": (Resize(2, 2), Tensor("x", "uint8", (1, 3, 4, 4)), "put 'cast: float32' before it"),
    "resize of rows": (Resize(2, 2), Tensor("x", "float32", (4, 4)), "put a reshape before it"),
    "normalise of bytes": (Normalise((0.0,), (1.0,)), Tensor("x", "uint8", (1, 3)), "put 'cast: float32' before it"),
    "channels": (Normalise((0.0,) * 3, (1.0,) * 3), Tensor("x", "float32", (1, 8, 8, 3)), "expected 3 channels in axis 1"),
    "same type": (Cast("float32"), Tensor("x", "float32", (1,)), "leave the cast out"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_adapter_that_does_not_fit_says_what_to_do(name: str) -> None:
    adapter, tensor, expected = REFUSED[name]
    with pytest.raises(ConfigError, match=expected):
        result_of(adapter, tensor)


def test_sizes_that_are_not_known_stay_so() -> None:
    tensor = Tensor("x", "float32", ("n", 3, "h", "w"))
    assert result_of(Resize(8, 8), tensor).shape == ("n", 3, 8, 8)
    assert result_of(Reshape((0, -1)), tensor).shape == ("n", None)
    assert result_of(Transpose((0, 2, 3, 1)), tensor).shape == ("n", "h", "w", 3)
