"""What a composed file states of its segments, and each segment as a model of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import onnx
from onnx import helper

from multiedge.composed import DOMAIN, Composition, segment_of
from multiedge.formats.composed import parse_composition
from multiedge.onnx_io.inner_weights import captures

ONNX_DOMAIN = "ai.onnx"


def composition_of(proto: Any) -> Composition | None:
    """What the metadata of a model say of its segments; None if it was not composed of a workflow.

    Raises:
        ModelError: If they cannot be read.
    """
    for entry in proto.metadata_props:
        if entry.key == DOMAIN:
            return parse_composition(entry.value, proto.graph.name)
    return None


@dataclass(frozen=True)
class Run:
    """Nodes of one segment that follow each other in a model.

    Attributes:
        segment: Name of the segment.
        nodes: The nodes.
        reads: What they read that none of them makes, in the order of first use.
        makes: What they make.
    """

    segment: str
    nodes: tuple[Any, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]

    @property
    def is_own(self) -> bool:
        """Whether it is one node of the domain of workflows, for which there is no runtime."""
        return bool(self.nodes[0].domain == DOMAIN)


def runs_of(graph: Any) -> Iterator[Run]:
    """The nodes of a composed graph, in order, by segments. A segment has several runs where nodes of others are between."""
    for segment, group in groupby(graph.node, key=lambda node: segment_of(node.name)):
        nodes = tuple(group)
        makes = tuple(name for node in nodes for name in node.output if name)
        made = set(makes)
        read = dict.fromkeys(name for node in nodes for name in (*node.input, *captures(node)) if name and name not in made)
        yield Run(segment, nodes, tuple(read), makes)


def model_of(run: Run, proto: Any, opsets: Mapping[str, int], types: Mapping[str, Any], wanted: Collection[str]) -> Any:
    """The nodes of a run as a model of its own.

    Args:
        run: The nodes.
        proto: The composed model that they are from.
        opsets: The versions of the operators of their segment.
        types: TypeProto of what the run reads and makes, by name, as far as it is known.
        wanted: Names of tensors that others read; those of the run are outputs of the model.

    Returns:
        A ModelProto, whose large weights are where those of `proto` are.
    """
    model = onnx.ModelProto(ir_version=proto.ir_version, producer_name=proto.producer_name)
    model.graph.name = run.segment
    model.graph.node.extend(run.nodes)
    reads, makes = set(run.reads), set(run.makes)
    model.graph.initializer.extend(tensor for tensor in proto.graph.initializer if tensor.name in reads)
    model.graph.sparse_initializer.extend(each for each in proto.graph.sparse_initializer if each.values.name in reads)
    model.graph.quantization_annotation.extend(
        each for each in proto.graph.quantization_annotation if each.tensor_name in makes
    )
    model.graph.value_info.extend(value for value in proto.graph.value_info if value.name in makes)
    fixed = {tensor.name for tensor in model.graph.initializer} | {each.values.name for each in model.graph.sparse_initializer}
    model.graph.input.extend(_value(name, types) for name in run.reads if name not in fixed)
    model.graph.output.extend(_value(name, types) for name in run.makes if name in wanted)
    model.functions.extend(function for function in proto.functions if function.domain in opsets)
    model.opset_import.extend(
        helper.make_opsetid("" if domain == ONNX_DOMAIN else domain, version) for domain, version in opsets.items()
    )
    return model


def _value(name: str, types: Mapping[str, Any]) -> Any:
    return onnx.ValueInfoProto(name=name, type=types.get(name))
