"""From a composed file to its session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from multiedge.backends.composed.functions import function_of
from multiedge.backends.composed.operations import FirstOfRun, ModelRun, TransformRun, WhenRun
from multiedge.backends.composed.session import ComposedSession, Operation
from multiedge.backends.contract import Batching, Session
from multiedge.backends.kept import key_of, made_once
from multiedge.composed import DOMAIN, TRANSFORM, WHEN, Composition, Condition
from multiedge.errors import ModelError
from multiedge.formats.composed import call_of
from multiedge.graph import Graph, Node
from multiedge.onnx_io.groups import Group, file_of, groups_of, write_models
from multiedge.onnx_io.model_file import open_model
from multiedge.onnx_io.reader import declared_graph

OpenModel = Callable[[Path], Session]
LAYOUT = "groups 1"
"""Raise the number when the files of groups are written in another way."""


def open_composed(path: Path, keep: Path, open_model_file: OpenModel) -> ComposedSession:
    """A session on a composed file. Its models are kept in `keep` as files of their own, which `open_model_file` opens.

    ModelError if one of them, or a function, cannot be opened.
    """
    graph = declared_graph(path)
    composition = graph.composition
    if composition is None:
        raise ModelError(f"{path}: is no file that was composed of a workflow")
    groups = groups_of(graph)
    folder = model_files(path, graph, keep)
    operations: list[Operation] = []
    try:
        for group in groups:
            if graph.nodes[group.nodes[0]].domain == DOMAIN:
                operations.append(operation_of(graph, group, path))
            elif group.outputs:
                operations.append(_model(graph, group, composition, open_model_file(folder / file_of(group))))
    except BaseException:
        for operation in operations:
            operation.close()
        raise
    made = {name for operation in operations for name in (*operation.inputs, *operation.outputs)}
    return ComposedSession(graph.inputs, [name for name in graph.outputs if name in made], operations)


def model_files(path: Path, graph: Graph, keep: Path) -> Path:
    """The folder in `keep` with the models of a composed file, each as `file_of` names it; written if it is not there.

    `graph` is that of the file.
    """
    segments = graph.composition.segments if graph.composition else {}
    models = [group for group in groups_of(graph) if group.outputs and graph.nodes[group.nodes[0]].domain != DOMAIN]
    return made_once(
        folder_of(path, keep),
        lambda draft: write_models(open_model(path), graph, models, segments, draft),
        "models of a workflow",
    )


def folder_of(path: Path, keep: Path) -> Path:
    """The folder in `keep` with the models of the composed file at `path`."""
    return keep / key_of(path, LAYOUT)


def _model(graph: Graph, group: Group, composition: Composition, session: Session) -> ModelRun:
    segment = composition.segments[group.segment]
    batching = Batching(segment.batch, segment.timeout_s) if _has_rows(graph, group) else Batching()
    return ModelRun(group.segment, group.inputs, group.outputs, session, graph.tensors, batching)


def _has_rows(graph: Graph, group: Group) -> bool:
    """Whether the first dimension of all that goes in and comes out can be that of the items: a cut inside a model may send
    tensors whose first dimension is another one, by which items must not be joined."""
    shapes = [graph.tensors[name].shape for name in (*group.inputs, *group.outputs)]
    sizes = {shape[0] if shape else 0 for shape in shapes if shape is not None}
    return len({size for size in sizes if isinstance(size, int)}) <= 1 and 0 not in sizes


def operation_of(graph: Graph, group: Group, path: Path) -> Operation:
    """What computes a node of the domain of workflows, in a composed file; ModelError for a function that is not there."""
    node, place = graph.nodes[group.nodes[0]], f"{path}: step '{group.segment}'"
    if node.op_type == TRANSFORM:
        return _transform(graph, group.segment, node, place)
    if node.op_type == WHEN:
        condition = Condition.of(node.attributes)
        return WhenRun(group.segment, node.inputs[0], node.inputs[1:], node.outputs, condition)
    return FirstOfRun(group.segment, node.inputs, node.outputs)


def _transform(graph: Graph, name: str, node: Node, place: str) -> TransformRun:
    call = call_of(node.attributes, place)
    return TransformRun(name, node.inputs, node.outputs, call, function_of(call, place), graph.tensors)
