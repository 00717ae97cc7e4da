"""Small models with the open dimensions that exporters leave: each with the shapes that make its sizes known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from tests.builders.onnx_models import layers, noise, parsed

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class OpenModel:
    """`shapes` has every input with an open dimension that is no batch; `batch` those whose batch counts as 1 then."""

    make: Callable[[], onnx.ModelProto]
    shapes: Shapes = field(default_factory=dict)
    batch: tuple[str, ...] = ()
    whole: Shapes = field(default_factory=dict)
    """The shapes of all inputs where `shapes` is empty."""
    measured: bool = False
    """Whether sizes inside depend on the data."""


def ocr(opset: int = 17) -> onnx.ModelProto:
    """Text lines of any width: convolutions, then a row of characters; the batch is open."""
    text = """ocr (float[N,3,48,W] x) => (float[N,C,T] y) {
        a = Conv<pads = [1,1,1,1], strides = [2,2]>(x, k1)  b = Relu(a)
        c = Conv<pads = [1,1,1,1], strides = [2,2]>(b, k2)  d = Relu(c)
        e = Reshape(d, flat)  f = MatMul(head, e)  y = Relu(f) }"""
    weights = {"k1": noise(8, 3, 3, 3), "k2": noise(16, 8, 3, 3), "flat": np.array([0, 192, -1]), "head": noise(40, 192)}
    return parsed(text, opsets=f'"" : {opset}', **weights)


def voice() -> onnx.ModelProto:
    """Voice activity: samples of any length and a recurrent state that comes back; a rate that is a scalar."""
    text = """voice (float[batch,samples] x, float[1,batch,16] state, int64 rate) => (float[batch,p] y, float[1,batch,16] new) {
        a = Unsqueeze(x, one)  b = Conv<strides = [8]>(a, k)  c = Relu(b)  d = Transpose<perm = [2,0,1]>(c)
        e, new = GRU<hidden_size = 16>(d, w, r, , , state)  f = Squeeze(new, zero)  y = MatMul(f, head) }"""
    return parsed(
        text,
        one=np.array([1]),
        zero=np.array([0]),
        k=noise(16, 1, 8),
        w=noise(1, 48, 16),
        r=noise(1, 48, 16),
        head=noise(16, 2),
    )


def text() -> onnx.ModelProto:
    """Tokens and their mask share batch and sequence."""
    body = """text (int64[batch,sequence] ids, float[batch,sequence] mask) => (float[batch,2] y) {
        a = Gather(table, ids)  m = Unsqueeze(mask, two)  b = Mul(a, m)  c = MatMul(b, w)
        d = Relu(c)  e = ReduceMean<axes = [1], keepdims = 0>(d)  y = MatMul(e, head) }"""
    return parsed(body, table=noise(100, 32), two=np.array([2]), w=noise(32, 32), head=noise(32, 2))


def detector() -> onnx.ModelProto:
    """Boxes above a threshold: how many depends on the picture. Two outputs."""
    body = """detector (float[1,16] x) => (int64[1,k] places, float[n] scores) {
        a = MatMul(x, w)  flat = Reshape(a, all)  above = Greater(flat, zero)  places = NonZero(above)
        t = Transpose<perm = [1,0]>(places)  kept = GatherND(flat, t)  scores = Sigmoid(kept) }"""
    return parsed(body, w=noise(16, 64), all=np.array([-1]), zero=np.array(0, np.float32))


def siamese() -> onnx.ModelProto:
    """Two pictures through one network: two inputs, two outputs, two branches with the same weights; nodes have no names."""

    def branch(end: str) -> str:
        return (
            f"a{end} = Conv<pads = [1,1,1,1], strides = [4,4]>(x{end}, k)  b{end} = Relu(a{end})"
            f"  c{end} = Flatten(b{end})  e{end} = Gemm(c{end}, w)"
        )

    text = f"""siamese (float[N,3,32,32] x1, float[N,3,32,32] x2) => (float[N,1] far, float[N,24] e1) {{
        {branch("1")}  {branch("2")}  s = Sub(e1, e2)  q = Mul(s, s)  far = ReduceSum<axes = [1]>(q) }}"""
    return parsed(text, opsets='"" : 11', ir=6, k=noise(8, 3, 3, 3), w=noise(512, 24))


def declared(model: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """The model with `size` in place of each open dimension, as some exporters write it."""
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = size
    return model


LINE: dict[str, Any] = {"shapes": {"x": (1, 3, 48, 320)}}
TOKENS: dict[str, Any] = {"shapes": {"ids": (1, 128), "mask": (1, 128)}}
PAIR: Shapes = {"x1": (1, 3, 32, 32), "x2": (1, 3, 32, 32)}

OPEN_MODELS: dict[str, OpenModel] = {
    "ocr": OpenModel(ocr, **LINE),
    "ocr-opset-9": OpenModel(lambda: ocr(9), **LINE),
    "ocr-opset-23": OpenModel(lambda: ocr(23), **LINE),
    "ocr-minus-one": OpenModel(lambda: declared(ocr(), -1), **LINE),
    "ocr-zero": OpenModel(lambda: declared(ocr(), 0), **LINE),
    "voice": OpenModel(voice, {"x": (1, 16000), "state": (1, 1, 16)}),
    "text": OpenModel(text, **TOKENS),
    "batch": OpenModel(lambda: layers(4, 64, rows="batch"), batch=("x",), whole={"x": (1, 64)}),
    "batch-minus-one": OpenModel(lambda: declared(layers(4, 64, rows="batch"), -1), batch=("x",), whole={"x": (1, 64)}),
    "siamese-minus-one": OpenModel(lambda: declared(siamese(), -1), batch=("x1", "x2"), whole=PAIR),
    "detector": OpenModel(detector, measured=True),
}
