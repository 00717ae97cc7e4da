"""Small decoders with random weights in both layouts, and a recurrent model: all have states that loop from step to step."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "llm" / "multiedge_inference_bench"))

from llm_bench.decoder_onnx import LAYOUTS as LAYOUTS
from llm_bench.decoder_onnx import Decoder, Layout, state_names
from llm_bench.decoder_onnx import decoder_model as decoder_model

SMALL, LARGE = 0.1, 2.0
"""Scales of embeddings, and of products relative to one that keeps the size of what it multiplies."""


def small_decoder(layers: int = 2, hidden: int = 64, heads: int = 4, kv_heads: int = 2, vocabulary: int = 97) -> Decoder:
    """The sizes of a decoder that runs in milliseconds; GroupQueryAttention's rotary positions want a head size of 16 n."""
    return Decoder(layers, hidden, heads, kv_heads, vocabulary, intermediate=2 * hidden)


def random_weights(decoder: Decoder, seed: int = 0) -> dict[str, TensorProto]:
    """Weights of a decoder that looks at earlier tokens and does not soon repeat itself: layers count more than embeddings."""
    generator = np.random.default_rng(seed)
    made = {}
    for name, shape in decoder.weight_shapes().items():
        scale = SMALL if name.startswith("model.embed") else LARGE * shape[0] ** -0.5
        values = np.ones(shape) if len(shape) == 1 else generator.standard_normal(shape) * scale
        made[name] = numpy_helper.from_array(values.astype(decoder.dtype), name)
    return made


def external_weights(decoder: Decoder, file: str) -> dict[str, TensorProto]:
    """Weights that refer to `file`, one after another, for a model whose weights nobody reads: the file need not exist."""
    made, offset = {}, 0
    for name, shape in decoder.weight_shapes().items():
        tensor = TensorProto(name=name, data_type=decoder.element_type, dims=shape, data_location=TensorProto.EXTERNAL)
        length = math.prod(shape) * np.dtype(decoder.dtype).itemsize
        for key, value in (("location", file), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        made[name], offset = tensor, offset + length
    return made


def random_decoder(
    decoder: Decoder | None = None, layout: Layout = "optimum", seed: int = 0, **options: Any
) -> onnx.ModelProto:
    """A model with random weights; the same seed gives both layouts the same weights."""
    decoder = decoder or small_decoder()
    return decoder_model(decoder, random_weights(decoder, seed), layout, **options)


def decoder_states(decoder: Decoder) -> list[tuple[str, str]]:
    """The pairs of input and output that loop, in the order of the layers."""
    return list(state_names(decoder))


def recurrent_model(layers: int = 2, hidden: int = 32, vocabulary: int = 61, seed: int = 0) -> onnx.ModelProto:
    """Layers of GRU cells over tokens (Cho et al., 2014): `input_ids` (batch, n) to `logits` (batch, n, vocabulary).

    The states are `h.i` and `h_next.i`, (1, batch, hidden).
    """
    generator = np.random.default_rng(seed)
    weights = [numpy_helper.from_array(generator.standard_normal((vocabulary, hidden)).astype(np.float32), "embedding")]
    nodes = [
        helper.make_node("Gather", ["embedding", "input_ids"], ["embedded"], name="embed"),
        helper.make_node("Transpose", ["embedded"], ["x0"], name="by_time", perm=[1, 0, 2]),
    ]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "n"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "n", vocabulary])]
    for layer in range(layers):
        for name in ("w", "r"):
            values = generator.standard_normal((1, 3 * hidden, hidden)) / hidden**0.5
            weights.append(numpy_helper.from_array(values.astype(np.float32), f"{name}.{layer}"))
        cell = [f"x{layer}", f"w.{layer}", f"r.{layer}", "", "", f"h.{layer}"]
        rows = [f"y{layer}", f"h_next.{layer}"]
        nodes.append(helper.make_node("GRU", cell, rows, name=f"gru_{layer}", hidden_size=hidden))
        nodes.append(helper.make_node("Squeeze", [f"y{layer}", "direction"], [f"x{layer + 1}"], name=f"squeeze_{layer}"))
        inputs.append(helper.make_tensor_value_info(f"h.{layer}", TensorProto.FLOAT, [1, "batch", hidden]))
        outputs.append(helper.make_tensor_value_info(f"h_next.{layer}", TensorProto.FLOAT, [1, "batch", hidden]))
    weights.append(numpy_helper.from_array(np.array([1]), "direction"))
    head = generator.standard_normal((hidden, vocabulary)).astype(np.float32)
    weights.append(numpy_helper.from_array(head, "head"))
    nodes.append(helper.make_node("Transpose", [f"x{layers}"], ["by_item"], name="by_item", perm=[1, 0, 2]))
    nodes.append(helper.make_node("MatMul", ["by_item", "head"], ["logits"], name="lm_head"))
    graph = helper.make_graph(nodes, "recurrent", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def recurrent_states(layers: int = 2) -> list[tuple[str, str]]:
    """The pairs of input and output that loop."""
    return [(f"h.{layer}", f"h_next.{layer}") for layer in range(layers)]
