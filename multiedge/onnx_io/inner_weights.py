"""Weights that lie inside the bodies of If, Loop and Scan: brought to where cuts, costs and memory see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from multiedge.onnx_io.weights import inline, is_external, reference

LIFTED_BYTES = 4096
"""Smaller weights stay where they are: they are sizes and axes, whose values shape inference needs there."""

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
    """Moves large initialisers of bodies, and what Constant nodes hold there, to the initialisers of the model, whose names a
    body may read. Models of before IR 4 are left as they are."""
    if proto.ir_version < FIRST_FREE_IR:
        return
    used = set(_names(proto.graph))
    for node in proto.graph.node:
        for body in bodies(node):
            _lift(body, proto.graph, used)


def _lift(body: Any, target: Any, used: set[str]) -> None:
    for node in body.node:
        for inner in bodies(node):
            _lift(inner, target, used)
    fixed = {value.name for value in (*body.input, *body.output)}
    for name, tensor in [*_weights(body)]:
        if name not in fixed and tensor.ByteSize() >= LIFTED_BYTES:
            moved = target.initializer.add()
            moved.CopyFrom(tensor)
            moved.name = _free_name(f"{body.name}/{name}", used)
            _remove(body, name)
            _rename(body, name, moved.name)


def _weights(body: Any) -> Iterator[tuple[str, onnx.TensorProto]]:
    """The body's own weights, each with the name by which its nodes read it."""
    yield from ((tensor.name, tensor) for tensor in body.initializer)
    for node in body.node:
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
            if old not in set(_own_names(inner)):
                _rename(inner, old, new)


def _free_name(wanted: str, used: set[str]) -> str:
    name, number = wanted, 1
    while name in used:
        number += 1
        name = f"{wanted}_{number}"
    used.add(name)
    return name


def _own_names(graph: Any) -> Iterator[str]:
    """Every name that the graph itself defines."""
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (name for node in graph.node for name in node.output)


def _names(graph: Any) -> Iterator[str]:
    """Every name that the graph and the bodies in it define."""
    yield from _own_names(graph)
    for node in graph.node:
        for body in bodies(node):
            yield from _names(body)
