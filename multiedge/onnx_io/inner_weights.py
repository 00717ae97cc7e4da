"""Weights that lie inside nodes, that is in the bodies of If, Loop and Scan and in Constant nodes: brought to where cuts, costs
and memory see them, and where parts refer to them.

A runtime maps weights that a part refers to. Those inside a part's file exist up to three times while it is loaded: as they are
read, in the runtime's structures, and as they are laid out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from multiedge.onnx_io.weights import inline, is_external, reference

LIFTED_BYTES = 4096
"""Smaller weights stay where they are: they are sizes and axes, whose values shape inference needs there."""

LIFTED_CONSTANT_BYTES = 1 << 20
"""Constant nodes of the model itself with less than this stay nodes: their values may decide shapes."""

FIRST_FREE_IR = 4
"""In older versions of the format an initialiser is an input, too, which a caller may give."""

_WITHOUT_GRAPHS = frozenset(
    {onnx.AttributeProto.INT, onnx.AttributeProto.INTS, onnx.AttributeProto.FLOAT, onnx.AttributeProto.TENSOR}
)
"""Kinds of attributes that contain no graph; most attributes are of these."""


def subgraphs(attribute: onnx.AttributeProto) -> list[Any]:
    """The graphs in one attribute of a node."""
    if attribute.type in _WITHOUT_GRAPHS:
        return []
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def bodies(node: onnx.NodeProto) -> list[Any]:
    """The graphs in all attributes of a node."""
    return [graph for attribute in node.attribute for graph in subgraphs(attribute)]


def captures(node: onnx.NodeProto) -> tuple[str, ...]:
    """Names that the node's sub-graphs read from outside, without repeats."""
    found: dict[str, None] = {}
    for graph in bodies(node):
        found.update(dict.fromkeys(_free_names(graph)))
    return tuple(found)


def _free_names(graph: onnx.GraphProto) -> Iterator[str]:
    bound = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    bound |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        yield from (name for name in (*node.input, *captures(node)) if name and name not in bound)
        bound.update(node.output)
    yield from (value.name for value in graph.output if value.name not in bound)


def inline_inner_weights(graph: onnx.GraphProto, folder: Path) -> None:
    """Reads external tensors inside attributes and bodies, which runtimes do not all follow, into the structure."""
    for node in graph.node:
        for attribute in node.attribute:
            inner = subgraphs(attribute)
            tensors = [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
            for tensor in (*tensors, *(tensor for child in inner for tensor in child.initializer)):
                if is_external(tensor):
                    inline(tensor, reference(tensor, folder))
            for child in inner:
                inline_inner_weights(child, folder)


def lift_inner_weights(proto: onnx.ModelProto) -> None:
    """Moves large initialisers of bodies, and what Constant nodes hold, to the initialisers of the model, whose names a body
    may read. External ones stay external. Models of before IR 4 are left as they are."""
    if proto.ir_version < FIRST_FREE_IR:
        return
    used = set(_names(proto.graph))
    for node in proto.graph.node:
        for body in bodies(node):
            _lift(body, proto.graph, used)
    for name, tensor in [*_held_by_constants(proto.graph)]:
        if _size(tensor) >= LIFTED_CONSTANT_BYTES:
            _move(proto.graph, name, tensor, proto.graph, name)


def _lift(body: Any, target: Any, used: set[str]) -> None:
    for node in body.node:
        for inner in bodies(node):
            _lift(inner, target, used)
    fixed = {value.name for value in (*body.input, *body.output)}
    own = ((tensor.name, tensor) for tensor in body.initializer)
    for name, tensor in [*own, *_held_by_constants(body)]:
        if name not in fixed and _size(tensor) >= LIFTED_BYTES:
            moved = _free_name(f"{body.name}/{name}", used)
            _move(body, name, tensor, target, moved)
            _rename(body, name, moved)


def _move(source: Any, name: str, tensor: onnx.TensorProto, target: Any, new_name: str) -> None:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    copy.name = new_name
    _remove(source, name)
    target.initializer.append(copy)


def _size(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor; of an external one by four for each element."""
    return int(4 * math.prod(tensor.dims) if is_external(tensor) else tensor.ByteSize())


def _held_by_constants(graph: Any) -> Iterator[tuple[str, onnx.TensorProto]]:
    """What Constant nodes of the graph hold, each with the name by which other nodes read it."""
    for node in graph.node:
        values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
        if node.op_type == "Constant" and values:
            yield node.output[0], values[0]


def _remove(body: Any, name: str) -> None:
    for index in reversed(range(len(body.initializer))):
        if body.initializer[index].name == name:
            del body.initializer[index]
    for index in reversed(range(len(body.node))):
        if name in body.node[index].output:
            del body.node[index]


def _rename(body: Any, old: str, new: str) -> None:
    """Lets the nodes of a body, and of the bodies in these, read `new` in place of `old`."""
    for node in body.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
        for inner in bodies(node):
            if old not in set(own_names(inner)):
                _rename(inner, old, new)


def _free_name(wanted: str, used: set[str]) -> str:
    name, number = wanted, 1
    while name in used:
        number += 1
        name = f"{wanted}_{number}"
    used.add(name)
    return name


def own_names(graph: Any) -> Iterator[str]:
    """Every name that the graph itself defines."""
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (name for node in graph.node for name in node.output)


def _names(graph: Any) -> Iterator[str]:
    """Every name that the graph and the bodies in it define."""
    yield from own_names(graph)
    for node in graph.node:
        for body in bodies(node):
            yield from _names(body)
