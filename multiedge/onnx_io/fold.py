"""Shape arithmetic worked out, so that shape inference sees through it.

Exporters write sizes as small graphs of their own: the shape of a tensor, gathered, divided, padded, joined. Where the
shape is fixed, so is all that follows from it, and inference knows the sizes behind a Reshape, Expand or Pad only if it
is given those values. onnx's reference evaluator computes them; nothing large is touched.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

MAX_ELEMENTS = 1 << 16
"""Larger values than this are no sizes; a mask that is built from sizes still fits."""

MAX_ROUNDS = 100
"""Each round gets past one operator that inference could not see through; a model with more of them in a row stays unknown."""

_RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"})
_BY_SHAPE_ALONE = frozenset({"Shape", "Size"})

log = logging.getLogger(__name__)


def fold_sizes(proto: onnx.ModelProto, types: Mapping[str, Any]) -> bool:
    """Puts what `types` makes computable in place of the nodes of `proto` that compute it; False if there is nothing such."""
    nodes = _computable(proto.graph, types)
    if not nodes:
        return False
    values = _evaluate(proto, nodes, types)
    if not values:
        return False
    done = {name for node in nodes for name in node.output}
    kept = [node for node in proto.graph.node if not (node.output and set(node.output) <= done)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)
    proto.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    return True


def _computable(graph: onnx.GraphProto, types: Mapping[str, Any]) -> list[onnx.NodeProto]:
    """Nodes in order whose results are small and follow from small constants and fixed shapes."""
    known = {
        tensor.name for tensor in graph.initializer if tensor.data_location != TensorProto.EXTERNAL and _is_small(tensor.dims)
    }
    wanted = {value.name for value in graph.output}
    found = []
    for node in graph.node:
        if node.op_type in _BY_SHAPE_ALONE:
            ready = fixed_shape(types.get(node.input[0])) is not None
        else:
            ready = all(name in known for name in node.input if name)
        if (
            ready
            and _is_plain(node)
            and not wanted & set(node.output)
            and all(_is_small_type(types.get(name)) for name in node.output)
        ):
            known.update(node.output)
            found.append(node)
    # Constants alone add nothing: inference reads them where they are.
    read = {name for node in found if node.op_type != "Constant" for name in node.input}
    return [node for node in found if node.op_type != "Constant" or node.output[0] in read] if read else []


def _is_plain(node: onnx.NodeProto) -> bool:
    inner = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    return (
        node.domain in ("", "ai.onnx")
        and node.op_type not in _RANDOM
        and all(node.output)
        and not any(attribute.type in inner for attribute in node.attribute)
    )


def fixed_shape(kind: Any) -> list[int] | None:
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    return [dim.dim_value for dim in dims] if all(dim.HasField("dim_value") for dim in dims) else None


def _is_small_type(kind: Any) -> bool:
    shape = fixed_shape(kind)
    return shape is not None and _is_small(shape) and kind.tensor_type.elem_type != TensorProto.STRING


def _is_small(shape: Any) -> bool:
    return int(np.prod(np.array(shape, dtype=np.float64))) <= MAX_ELEMENTS


def _evaluate(proto: onnx.ModelProto, nodes: list[Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """Value by name of everything that `nodes` make; nothing if the evaluator cannot do one of them."""
    from onnx.reference import ReferenceEvaluator

    made = {name for node in nodes for name in node.output}
    read = {name for node in nodes for name in node.input if name}
    weights = [
        tensor for tensor in proto.graph.initializer if tensor.name in read and tensor.data_location != TensorProto.EXTERNAL
    ]
    given = made | {tensor.name for tensor in weights}
    # Of these only the shape is read, and a view of one zero has any shape at no cost.
    stand_ins = {name: np.broadcast_to(np.float32(0), fixed_shape(types[name]) or ()) for name in read - given}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in stand_ins]
    outputs = [onnx.ValueInfoProto(name=name) for name in made]
    graph = helper.make_graph(nodes, "sizes", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    try:
        with np.errstate(all="ignore"):  # both branches of a Where are evaluated; the model takes the one that is defined
            values = ReferenceEvaluator(model).run(None, stand_ins)
    except Exception as error:  # an operator may lack an implementation, or fail in its own way: then the sizes stay unknown
        log.debug("sizes stay unknown: %s", error)
        return {}
    return {name: np.asarray(value) for name, value in zip((value.name for value in outputs), values, strict=True)}
