"""What runs one after the other of a composed file, and its models as files of their own, which plain runtimes open.

The models of a workflow may have different opsets, and no runtime has the operators of multiedge.composed.DOMAIN. So what is
opened of a composed file, or of a part of one, are the models between these operators, each with the opsets that it came with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import helper

from multiedge.composed import DOMAIN, Segment, segment_of
from multiedge.graph import Graph
from multiedge.onnx_io.extract import Extractor
from multiedge.onnx_io.model_file import ModelFile
from multiedge.onnx_io.presence import presence_of
from multiedge.onnx_io.segments import ONNX_DOMAIN
from multiedge.onnx_io.weight_files import linked_or_copied

ROWS = "multiedge_rows"
"""The first dimension of models whose items are joined."""


@dataclass(frozen=True)
class Group:
    """Consecutive nodes of a composed graph that are computed for the same items.

    Attributes:
        segment: Name of the segment that they belong to.
        nodes: Their indices; each operator of workflows is alone.
        inputs: Tensors that they read and do not make, without parameters.
        outputs: Tensors of theirs that others read or the caller gets.
    """

    segment: str
    nodes: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def groups_of(graph: Graph) -> tuple[Group, ...]:
    """What runs one after the other of a composed graph, in order.

    A group ends where another segment begins, and where nodes would read what is there for other items: whether a tensor is
    made thus depends on no cut of the model.
    """
    presence = presence_of(graph)
    groups: list[list[int]] = []
    last: object = None
    for index, node in enumerate(graph.nodes):
        if not node.writes or set(node.writes) <= graph.parameters.keys():
            continue
        kind = index if node.domain == DOMAIN else (segment_of(node.name), presence[node.writes[0]])
        if kind != last:
            groups.append([])
        groups[-1].append(index)
        last = kind
    return tuple(_group(graph, tuple(nodes)) for nodes in groups)


def _group(graph: Graph, nodes: tuple[int, ...]) -> Group:
    own, wanted = set(nodes), set(graph.outputs)
    made = dict.fromkeys(name for index in nodes for name in graph.nodes[index].writes)
    read = dict.fromkeys(name for index in nodes for name in graph.activations[index])
    return Group(
        segment_of(graph.nodes[nodes[0]].name),
        nodes,
        inputs=tuple(name for name in read if name not in made),
        outputs=tuple(name for name in made if name in wanted or not own.issuperset(graph.consumers.get(name, ()))),
    )


def write_models(
    model: ModelFile, graph: Graph, groups: Iterable[Group], segments: Mapping[str, Segment], folder: Path
) -> None:
    """Writes groups of a composed file that are models to `folder`, which is there, each as `file_of` names it.

    Weights are linked, or copied where links are not possible. CutError for a tensor whose type the file does not state.
    """
    extractor, store = Extractor(model, graph), linked_or_copied(folder, model.references.values())
    for group in groups:
        store.place(_name(group), _model_of(extractor, group, segments[group.segment]), model.references)


def file_of(group: Group) -> str:
    """The name of the file of a group."""
    return f"{_name(group)}.onnx"


def _name(group: Group) -> str:
    return f"{group.segment}-{group.nodes[0]}"


def _model_of(extractor: Extractor, group: Group, segment: Segment) -> Any:
    proto, _ = extractor.part(_name(group), group.nodes, group.outputs)
    if segment.batch > 1:
        _open_rows(proto.graph)
    del proto.opset_import[:], proto.metadata_props[:]
    proto.opset_import.extend(
        helper.make_opsetid("" if domain == ONNX_DOMAIN else domain, version) for domain, version in segment.opsets.items()
    )
    return proto


def _open_rows(graph: Any) -> None:
    """Leaves the first dimension open, so that items can be joined: the workflow may state that each item has one row."""
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim[:1]:
            dim.dim_param = ROWS
    del graph.value_info[:]
