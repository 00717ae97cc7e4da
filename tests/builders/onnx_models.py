"""Small ONNX models: written as text, or as layers of one width."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
"""Real architectures without real weights, in the onnx wheel."""


def parsed(body: str, *, ir: int = 8, opsets: str = '"" : 17', functions: str = "", **weights: Any) -> onnx.ModelProto:
    """The model whose graph is `body`, in ONNX's own text form; `weights` become initialisers held as raw data."""
    model = onnx.parser.parse_model(f"<ir_version: {ir}, opset_import: [{opsets}]>\n{body}\n{functions}")
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items())
    return model


def noise(*shape: int, seed: int = 0) -> Any:
    """Seeded float32 values from N(0, 1)."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def layers(
    count: int,
    width: int = 16,
    *,
    rows: int | str = 1,
    activation: str = "",
    skip: bool = False,
    weights: Sequence[Any] | None = None,
    name: str = "layers",
    ir: int = 8,
) -> onnx.ModelProto:
    """`count` matrix products of (rows, width) in a row: x -> h1 -> h2 -> ... -> y; nodes are 'layer_h1', 'layer_h2', ...

    With an `activation` such as 'Tanh' a layer is the product 'layer_m1' and the activation 'tanh_h1'. With `skip` a last
    node 'skip' adds the first layer to the last. `weights` are w1, w2, ...; those not given are noise whose products
    keep their size.
    """
    last = f"h{count}" if skip else "y"
    names = ["x", *(f"h{number}" for number in range(1, count)), last]
    nodes = []
    for number in range(1, count + 1):
        before, after = names[number - 1], names[number]
        product = f"m{number}" if activation else after
        nodes.append(helper.make_node("MatMul", [before, f"w{number}"], [product], name=f"layer_{product}"))
        if activation:
            nodes.append(helper.make_node(activation, [product], [after], name=f"{activation.lower()}_{after}"))
    if skip:
        nodes.append(helper.make_node("Add", [last, names[1]], ["y"], name="skip"))
    if weights is None:
        weights = [noise(width, width, seed=number) / np.float32(width**0.5) for number in range(count)]
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [rows, width]) for end in ("x", "y")]
    kept = [numpy_helper.from_array(weight, f"w{number}") for number, weight in enumerate(weights, start=1)]
    graph = helper.make_graph(nodes, name, ends[:1], ends[1:], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=ir)


def saved(model: onnx.ModelProto, path: Path) -> Path:
    """`path`, with the model in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path
