"""ONNX graphs of a decoder in the layouts of optimum and of onnxruntime-genai, made from its sizes and weights.

The decoder is Llama's: RMS normalisation, rotary positions, attention with grouped heads, SwiGLU (Touvron et al.,
"LLaMA: Open and efficient foundation language models", 2023; Su et al., "RoFormer", 2021; Ainslie et al., "GQA", 2023).

Both layouts take `input_ids` (batch, n), `attention_mask` (batch, past + n) of 0 and 1, and for each layer i
`past_key_values.i.key` and `.value` (batch, kv heads, past, head size); both give `logits` (batch, n, vocabulary) and
`present.i.key` and `.value`. Optimum's takes `position_ids` (batch, n), too, and has attention in ONNX's own operators. That of
onnxruntime-genai has `GroupQueryAttention`, in which past and present may be one buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8
MICROSOFT = "com.microsoft"
Layout = Literal["optimum", "genai"]
LAYOUTS: tuple[Layout, ...] = ("optimum", "genai")
Weights = Mapping[str, TensorProto]
"""Each weight by its name; products have theirs as (inputs, outputs)."""


@dataclass(frozen=True)
class Decoder:
    """The sizes of a decoder.

    Attributes:
        layers: Number of layers.
        hidden: Width of the residual stream.
        heads: Heads of the queries.
        kv_heads: Heads of keys and values; it divides `heads`.
        vocabulary: Number of tokens.
        intermediate: Width inside the feed-forward part of a layer.
        context: Most tokens of a sequence.
        base: Base of the rotary frequencies.
        epsilon: Added to the mean square in a normalisation.
        dtype: Numpy's name of the type of weights and activations; logits have it, too.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    vocabulary: int
    intermediate: int
    context: int = 2048
    base: float = 10_000.0
    epsilon: float = 1e-5
    dtype: str = "float32"

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    @property
    def element_type(self) -> int:
        return int(helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype)))

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each weight, by name, in the order in which the decoder uses them."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        layer = {
            "input_layernorm": (self.hidden,),
            "self_attn.q_proj": (self.hidden, queries),
            "self_attn.k_proj": (self.hidden, keys),
            "self_attn.v_proj": (self.hidden, keys),
            "self_attn.o_proj": (queries, self.hidden),
            "post_attention_layernorm": (self.hidden,),
            "mlp.gate_proj": (self.hidden, self.intermediate),
            "mlp.up_proj": (self.hidden, self.intermediate),
            "mlp.down_proj": (self.intermediate, self.hidden),
        }
        return {
            "model.embed_tokens.weight": (self.vocabulary, self.hidden),
            **{f"model.layers.{i}.{name}.weight": shape for i in range(self.layers) for name, shape in layer.items()},
            "model.norm.weight": (self.hidden,),
            "lm_head.weight": (self.hidden, self.vocabulary),
        }

    def rotary_angles(self) -> Any:
        """Radians by position, (context, head size / 2), float32."""
        frequencies = self.base ** (-np.arange(0, self.head_size, 2) / self.head_size)
        return np.outer(np.arange(self.context), frequencies).astype(np.float32)


def decoder_model(
    decoder: Decoder, weights: Weights, layout: Layout = "optimum", *, past_length_from_state: bool = False
) -> ModelProto:
    """The model of a decoder, with all lengths and the batch open.

    Args:
        decoder: Its sizes.
        weights: The tensors of `decoder.weight_shapes()`; they may refer to external data.
        layout: That of optimum or of onnxruntime-genai.
        past_length_from_state: Whether optimum's layout finds the number of earlier tokens from the first layer's keys, as
            exports of some versions do, and not from the mask.

    Returns:
        The model.
    """
    graph = _Graph(decoder, layout == "genai")
    attend = _attention_of_genai(graph) if layout == "genai" else _attention_of_optimum(graph, past_length_from_state)
    stream = graph.add("Gather", ["model.embed_tokens.weight", "input_ids"], "/model/embed_tokens/Gather")
    for layer in range(decoder.layers):
        stream = _layer(graph, stream, layer, attend)
    last = _normalised(graph, stream, "/model/norm", "model.norm.weight")
    graph.add("MatMul", [last, "lm_head.weight"], "/lm_head/MatMul", "logits")
    kept = [*(_named(weights[name], name) for name in decoder.weight_shapes()), *graph.constants]
    inputs, outputs = graph.ends()
    made = helper.make_graph(graph.nodes, "decoder", inputs, outputs, kept, value_info=graph.known)
    opsets = [helper.make_opsetid("", OPSET), *([helper.make_opsetid(MICROSOFT, 1)] if layout == "genai" else [])]
    return helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="multiedge-llm-bench")


Attend = Callable[[str, str, str, int], str]
"""Attention of one layer: queries, keys and values as (batch, n, heads x size), and the layer, to (batch, n, hidden)."""


class _Graph:
    """Nodes, constants and values of a model that is being made; a node's first output has the name of the node."""

    def __init__(self, decoder: Decoder, is_genai: bool) -> None:
        self.decoder, self.is_genai = decoder, is_genai
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.known: list[ValueInfoProto] = []

    def add(self, operator: str, inputs: list[str], name: str, output: str = "", **attributes: Any) -> str:
        """Adds a node with one output; returns the output's name."""
        output = output or f"{name}/output_0"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: str = "int64") -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.dtype(dtype)), name))
        return name

    def number(self, name: str, value: float) -> str:
        """A constant of the decoder's type."""
        return self.constant(name, value, self.decoder.dtype)

    def ends(self) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
        """Inputs and outputs."""
        integers, numbers = TensorProto.INT64, self.decoder.element_type
        inputs = [_value("input_ids", integers, ["batch", "n"]), _value("attention_mask", integers, ["batch", "total"])]
        if not self.is_genai:
            inputs.append(_value("position_ids", integers, ["batch", "n"]))
        outputs = [_value("logits", numbers, ["batch", "n", self.decoder.vocabulary])]
        for past, present in state_names(self.decoder):
            inputs.append(_value(past, numbers, self._cache("past")))
            outputs.append(_value(present, numbers, self._cache("total")))
        return inputs, outputs

    def _cache(self, length: str) -> list[int | str]:
        return ["batch", self.decoder.kv_heads, length, self.decoder.head_size]


def state_names(decoder: Decoder) -> Iterator[tuple[str, str]]:
    """The pairs of input and output that loop from one step to the next."""
    for layer in range(decoder.layers):
        for kind in ("key", "value"):
            yield f"past_key_values.{layer}.{kind}", f"present.{layer}.{kind}"


def _layer(graph: _Graph, stream: str, layer: int, attend: Attend) -> str:
    node, weight = f"/model/layers.{layer}", f"model.layers.{layer}"
    normal = _normalised(graph, stream, f"{node}/input_layernorm", f"{weight}.input_layernorm.weight")
    parts = [_product(graph, normal, f"self_attn/{name}_proj", layer) for name in "qkv"]
    attended = _product(graph, attend(*parts, layer), "self_attn/o_proj", layer)
    stream = graph.add("Add", [stream, attended], f"{node}/Add")
    normal = _normalised(graph, stream, f"{node}/post_attention_layernorm", f"{weight}.post_attention_layernorm.weight")
    gate, up = (_product(graph, normal, f"mlp/{name}_proj", layer) for name in ("gate", "up"))
    share = graph.add("Sigmoid", [gate], f"{node}/mlp/act_fn/Sigmoid")
    active = graph.add("Mul", [gate, share], f"{node}/mlp/act_fn/Mul")
    inner = graph.add("Mul", [active, up], f"{node}/mlp/Mul")
    return graph.add("Add", [stream, _product(graph, inner, "mlp/down_proj", layer)], f"{node}/Add_1")


def _product(graph: _Graph, source: str, name: str, layer: int) -> str:
    weight = f"model.layers.{layer}.{name.replace('/', '.')}.weight"
    return graph.add("MatMul", [source, weight], f"/model/layers.{layer}/{name}/MatMul")


def _normalised(graph: _Graph, source: str, name: str, weight: str) -> str:
    """Each row divided by its root mean square, times the weight (Zhang and Sennrich, "Root mean square layer
    normalization", 2019)."""
    exponent, epsilon = graph.number(f"{name}/two", 2.0), graph.number(f"{name}/epsilon", graph.decoder.epsilon)
    squares = graph.add("Pow", [source, exponent], f"{name}/Pow")
    mean = graph.add("ReduceMean", [squares], f"{name}/ReduceMean", axes=[-1], keepdims=1)
    root = graph.add("Sqrt", [graph.add("Add", [mean, epsilon], f"{name}/Add")], f"{name}/Sqrt")
    scaled = graph.add("Div", [source, root], f"{name}/Div")
    return graph.add("Mul", [scaled, weight], f"{name}/Mul")


def _attention_of_optimum(graph: _Graph, past_length_from_state: bool) -> Attend:
    """Attention in ONNX's own operators; mask and rotary tables are made once, and every layer reads them."""
    decoder = graph.decoder
    mask = _causal_mask(graph, past_length_from_state)
    cos, sin = _rotary_tables(graph)
    groups = decoder.heads // decoder.kv_heads
    as_queries = graph.constant("query_shape", [0, 0, decoder.kv_heads, groups, decoder.head_size])
    as_keys = graph.constant("key_shape", [0, 0, decoder.kv_heads, decoder.head_size])
    as_rows = graph.constant("row_shape", [0, 0, decoder.heads * decoder.head_size])
    group_axis = graph.constant("group_axis", [2])
    scale = graph.number("scale", decoder.head_size**-0.5)

    def attend(query: str, key: str, value: str, layer: int) -> str:
        node = f"/model/layers.{layer}/self_attn"
        # (batch, kv heads, groups, n, size): keys and values of (batch, kv heads, 1, total, size) serve all groups.
        query = graph.add("Reshape", [query, as_queries], f"{node}/Reshape")
        query = graph.add("Transpose", [query], f"{node}/Transpose", perm=[0, 2, 3, 1, 4])
        key, value = (
            graph.add(
                "Transpose",
                [graph.add("Reshape", [tensor, as_keys], f"{node}/{kind}/Reshape")],
                f"{node}/{kind}/Transpose",
                perm=[0, 2, 1, 3],
            )
            for kind, tensor in (("key", key), ("value", value))
        )
        wide_cos, wide_sin = (graph.add("Unsqueeze", [t, group_axis], f"{node}/{n}") for t, n in ((cos, "cos"), (sin, "sin")))
        query = _rotated(graph, query, wide_cos, wide_sin, f"{node}/query")
        key = _rotated(graph, key, cos, sin, f"{node}/key")
        states = []
        for kind, tensor in (("key", key), ("value", value)):
            ends = [f"past_key_values.{layer}.{kind}", tensor]
            present = graph.add("Concat", ends, f"{node}/{kind}/Concat", f"present.{layer}.{kind}", axis=2)
            states.append(graph.add("Unsqueeze", [present, group_axis], f"{node}/{kind}/Unsqueeze"))
        keys = graph.add("Transpose", [states[0]], f"{node}/Transpose_1", perm=[0, 1, 2, 4, 3])
        scores = graph.add("Mul", [graph.add("MatMul", [query, keys], f"{node}/MatMul"), scale], f"{node}/Mul")
        scores = graph.add("Add", [scores, mask], f"{node}/Add")
        shares = graph.add("Softmax", [scores], f"{node}/Softmax", axis=-1)
        mixed = graph.add("MatMul", [shares, states[1]], f"{node}/MatMul_1")
        rows = graph.add("Transpose", [mixed], f"{node}/Transpose_2", perm=[0, 3, 1, 2, 4])
        return graph.add("Reshape", [rows, as_rows], f"{node}/Reshape_1")

    return attend


def _causal_mask(graph: _Graph, past_length_from_state: bool) -> str:
    """What is added to scores, (batch, 1, 1, n, total): 0 where a token sees another, otherwise the lowest number."""
    node = "/model/mask"
    one = graph.constant(f"{node}/one", 1)
    count = _length(graph, "input_ids", 1, f"{node}/n")
    if past_length_from_state:
        past = _length(graph, "past_key_values.0.key", 2, f"{node}/past")
        total = graph.add("Add", [past, count], f"{node}/Add")
    else:
        total = _length(graph, "attention_mask", 1, f"{node}/total")
        past = graph.add("Sub", [total, count], f"{node}/Sub")
    keys = graph.add("Range", [graph.constant(f"{node}/zero", 0), total, one], f"{node}/Range")
    queries = graph.add("Range", [past, total, one], f"{node}/Range_1")
    column = graph.add("Unsqueeze", [queries, graph.constant(f"{node}/column", [1])], f"{node}/Unsqueeze")
    causal = graph.add("LessOrEqual", [keys, column], f"{node}/LessOrEqual")
    tokens = graph.add("Cast", ["attention_mask"], f"{node}/Cast", to=TensorProto.BOOL)
    tokens = graph.add("Unsqueeze", [tokens, graph.constant(f"{node}/axes", [1, 2, 3])], f"{node}/Unsqueeze_1")
    seen = graph.add("And", [causal, tokens], f"{node}/And")
    lowest = float(np.finfo(graph.decoder.dtype).min)
    ends = [graph.number(f"{node}/seen", 0.0), graph.number(f"{node}/unseen", lowest)]
    return graph.add("Where", [seen, *ends], f"{node}/Where")


def _length(graph: _Graph, tensor: str, axis: int, name: str) -> str:
    """The tensor's size along the axis, a scalar."""
    sizes = graph.add("Shape", [tensor], f"{name}/Shape")
    return graph.add("Gather", [sizes, graph.constant(f"{name}/axis", axis)], f"{name}/Gather", axis=0)


def _rotary_tables(graph: _Graph) -> tuple[str, str]:
    """Cosines and sines by position, each (batch, 1, n, head size)."""
    decoder, node = graph.decoder, "/model/rotary_emb"
    frequencies = decoder.base ** (-np.arange(0, decoder.head_size, 2) / decoder.head_size)
    frequency = graph.constant(f"{node}/frequencies", np.tile(frequencies, 2), "float32")
    positions = graph.add("Cast", ["position_ids"], f"{node}/Cast", to=TensorProto.FLOAT)
    positions = graph.add("Unsqueeze", [positions, graph.constant(f"{node}/axes", [1, 3])], f"{node}/Unsqueeze")
    angles = graph.add("Mul", [positions, frequency], f"{node}/Mul")
    tables = [graph.add(name, [angles], f"{node}/{name}") for name in ("Cos", "Sin")]
    if decoder.dtype != "float32":
        tables = [graph.add("Cast", [table], f"{table}/Cast", to=decoder.element_type) for table in tables]
    return tables[0], tables[1]


def _rotated(graph: _Graph, source: str, cos: str, sin: str, node: str) -> str:
    """Pairs of the first and second half of the last axis, each turned by the angle of its position."""
    half = graph.decoder.head_size // 2
    sizes = graph.constant(f"{node}/halves", [half, graph.decoder.head_size - half])
    halves = [f"{node}/Split/output_0", f"{node}/Split/output_1"]
    graph.nodes.append(helper.make_node("Split", [source, sizes], halves, name=f"{node}/Split", axis=-1))
    turned = graph.add("Concat", [graph.add("Neg", halves[1:], f"{node}/Neg"), halves[0]], f"{node}/rotated/Concat", axis=-1)
    along = graph.add("Mul", [source, cos], f"{node}/Mul")
    across = graph.add("Mul", [turned, sin], f"{node}/Mul_1")
    return graph.add("Add", [along, across], f"{node}/Add")


def _attention_of_genai(graph: _Graph) -> Attend:
    """GroupQueryAttention, which masks, rotates and keeps the cache; lengths are made once, and every layer reads them."""
    decoder, node = graph.decoder, "/model/attn_mask_reformat"
    ones = graph.add("ReduceSum", ["attention_mask", graph.constant(f"{node}/axis", [1])], f"{node}/ReduceSum", keepdims=0)
    last = graph.add("Sub", [ones, graph.constant(f"{node}/one", [1])], f"{node}/Sub")
    seqlens_k = graph.add("Cast", [last], f"{node}/Cast", "seqlens_k", to=TensorProto.INT32)
    total = _length(graph, "attention_mask", 1, f"{node}/total")
    total = graph.add("Cast", [total], f"{node}/Cast_1", "total_sequence_length", to=TensorProto.INT32)
    angles = decoder.rotary_angles()
    caches = {"cos_cache": np.cos(angles), "sin_cache": np.sin(angles)}
    tables = [graph.constant(name, table, decoder.dtype) for name, table in caches.items()]

    def attend(query: str, key: str, value: str, layer: int) -> str:
        name = f"/model/layers.{layer}/attn/GroupQueryAttention"
        pasts = [f"past_key_values.{layer}.{kind}" for kind in ("key", "value")]
        presents = [f"present.{layer}.{kind}" for kind in ("key", "value")]
        attended = f"{name}/output_0"
        inputs = [query, key, value, *pasts, seqlens_k, total, *tables]
        attributes = {"num_heads": decoder.heads, "kv_num_heads": decoder.kv_heads, "do_rotary": 1, "rotary_interleaved": 0}
        outputs = [attended, *presents]
        graph.nodes.append(helper.make_node("GroupQueryAttention", inputs, outputs, name=name, domain=MICROSOFT, **attributes))
        # ONNX's inference of shapes does not know the operator.
        graph.known.append(_value(attended, decoder.element_type, ["batch", "n", decoder.heads * decoder.head_size]))
        return attended

    return attend


def _value(name: str, element_type: int, shape: list[Any]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type, shape)


def _named(tensor: TensorProto, name: str) -> TensorProto:
    """The tensor, which must have this name."""
    if tensor.name != name:
        raise ValueError(f"weight '{name}': the tensor has the name '{tensor.name}'")
    return tensor
