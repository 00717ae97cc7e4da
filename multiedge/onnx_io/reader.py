"""A model file as a Graph."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto

from multiedge.composed import Composition, segment_of
from multiedge.errors import ModelError, one_line
from multiedge.graph import Graph, Node, Tensor
from multiedge.onnx_io.inner_weights import bodies, captures, own_names
from multiedge.onnx_io.model_file import ModelFile, open_model
from multiedge.onnx_io.runtime_types import types_of
from multiedge.onnx_io.segments import composition_of
from multiedge.onnx_io.states import Pair, longer_shapes, with_states
from multiedge.onnx_io.types import open_sizes, parameter_of, tensor_of, with_shapes

OF_EXPORTERS = frozenset({"", "graph", "main_graph", "torch_jit", "torch-jit-export", "tf2onnx"})
"""Names that exporters give every graph: the name of the file says more, and tells models apart."""


def read_graph(
    path: str | os.PathLike[str], shapes: Mapping[str, Sequence[int]] | None = None, states: Sequence[Pair] = ()
) -> Graph:
    """The model of an ONNX file as a Graph; weights are not loaded.

    Initialisers, and tensors made from them alone, are `parameters`. Nodes that make such constants are just before their first
    reader.

    Args:
        path: The ONNX file.
        shapes: Shapes, by name, for inputs with open dimensions. An open first dimension that no shape gives is taken as a
            batch of 1, see `Graph.free_batch`; tensors that depend on other open dimensions have no `nbytes`.
        states: Pairs of an input and the output that is this input of the next step, in addition to those of decoders, which
        are
            found by their names.

    Returns:
        The Graph.

    Raises:
        ModelError: If the file is missing or is no valid ONNX model, or has no such states.
    """
    model = open_model(path)
    proto, free_batch = with_shapes(model.proto, shapes or {}, str(path), model.initialisers)
    graph = graph_of(model, proto, states)
    return replace(graph, free_batch=free_batch, growing=_growing(model, graph) if graph.states else ())


def declared_graph(path: str | os.PathLike[str], states: Sequence[Pair] = ()) -> Graph:
    """The model of an ONNX file with every dimension as the file declares it: open ones, the batch too, stay open. `states` are
    those of `read_graph`."""
    model = open_model(path)
    return graph_of(model, model.proto, states)


def declared_ends(data: bytes, place: str) -> dict[str, Tensor]:
    """The inputs and outputs that a model file declares, by name; files beside it need not be there.

    Raises ModelError, which begins with `place`, for what is no model.
    """
    try:
        graph = onnx.ModelProto.FromString(data).graph
    except DecodeError as error:
        raise ModelError(f"{place}: is no ONNX model: {one_line(error)}") from None
    open_sizes(graph)
    return {value.name: tensor_of(value.name, value.type) for value in (*graph.input, *graph.output)}


def graph_of(model: ModelFile, proto: Any, states: Sequence[Pair] = ()) -> Graph:
    """The Graph of an opened model, with the input shapes of `proto`; `states` are those of `read_graph`."""
    types = model.types if proto is model.proto else types_of(proto, model.path.parent)
    parameters = _parameters(model, types)
    graph = proto.graph
    nodes = tuple(_node(node) for node in graph.node)
    inputs = tuple(value.name for value in graph.input if value.name not in model.initialisers)
    names = dict.fromkeys((*inputs, *(name for node in nodes for name in node.writes)))
    composition = composition_of(proto)
    rates = _rates(nodes, composition) if composition else {}
    graph_of_file = Graph(
        name=model.path.stem if graph.name in OF_EXPORTERS else graph.name,
        nodes=nodes,
        inputs=inputs,
        outputs=tuple(value.name for value in graph.output),
        tensors={name: replace(tensor_of(name, types.get(name)), rate=rates.get(name, 1.0)) for name in names},
        parameters=parameters,
        opsets={item.domain or "ai.onnx": item.version for item in proto.opset_import},
        ir_version=proto.ir_version,
        model_hash=model.model_hash,
        path=str(model.path),
        composition=composition,
    )
    declared = {value.name: tensor_of(value.name, value.type) for value in (*model.graph.input, *model.graph.output)}
    return with_states(graph_of_file, declared, states)


def _rates(nodes: Iterable[Node], composition: Composition) -> dict[str, float]:
    """The share of items for which there is each tensor that a node makes: that of its segment."""
    rates = {name: segment.rate for name, segment in composition.segments.items()}
    return {name: rates.get(segment_of(node.name), 1.0) for node in nodes for name in node.writes}


def _growing(model: ModelFile, graph: Graph) -> tuple[str, ...]:
    """The tensors that nodes make whose size is another one if there is one more token before the step."""
    shapes = longer_shapes(graph)
    if not shapes:
        return ()
    proto, _ = with_shapes(model.proto, shapes, graph.name, model.initialisers)
    types = types_of(proto, model.path.parent)
    made = [name for name in graph.producer if name not in graph.parameters]
    return tuple(name for name in made if tensor_of(name, types.get(name)).shape != graph.tensors[name].shape)


def _parameters(model: ModelFile, types: Mapping[str, Any]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in model.initialisers.items():
        values = getattr(tensor, "values", tensor)
        found[name] = parameter_of(name, values.data_type, tensor.dims)
    for name in sorted(model.constants - found.keys()):
        found[name] = tensor_of(name, types.get(name))
    return found


def _node(node: onnx.NodeProto) -> Node:
    return Node(
        name=node.name,
        op_type=node.op_type,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        domain=node.domain,
        captures=captures(node),
        attributes={attribute.name: _attribute(attribute) for attribute in node.attribute},
        bodies=tuple(_read_inside(body) for body in bodies(node)),
    )


def _read_inside(body: onnx.GraphProto) -> dict[str, tuple[str, ...]]:
    """What the nodes of a sub-graph read that none of them makes, by type of operator."""
    own = set(own_names(body))
    read: dict[str, dict[str, None]] = {}
    for node in body.node:
        read.setdefault(node.op_type, {}).update(dict.fromkeys(name for name in node.input if name and name not in own))
    return {op_type: tuple(names) for op_type, names in read.items() if names}


def _attribute(attribute: onnx.AttributeProto) -> Any:
    kind = attribute.type
    if kind in (AttributeProto.INT, AttributeProto.FLOAT):
        return attribute.i if kind == AttributeProto.INT else attribute.f
    if kind == AttributeProto.STRING:
        return attribute.s.decode("utf-8", "replace")
    if kind in (AttributeProto.INTS, AttributeProto.FLOATS):
        return tuple(attribute.ints if kind == AttributeProto.INTS else attribute.floats)
    if kind == AttributeProto.STRINGS:
        return tuple(text.decode("utf-8", "replace") for text in attribute.strings)
    if kind == AttributeProto.TENSOR:
        return tuple(attribute.t.dims)
    if kind == AttributeProto.GRAPH:
        return len(attribute.g.node)
    return None
