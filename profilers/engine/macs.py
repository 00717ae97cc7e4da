"""Work of every node of a model, by the rules of `profilers.engine.rules`: no session, no weights, milliseconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from multiedge.graph import Graph, Node, Tensor
from multiedge.profile import Bools, Floats, Ints
from profilers.engine.rules import Call, Count, Shape, UnknownShapeError, rule_of

VIEWS = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Constant", "Shape", "Size"))
"""Operators that every runtime answers without touching the data."""
PICKERS = frozenset(("Gather", "GatherElements", "GatherND", "Slice", "Split", "Compress"))
"""Operators that read no more of their first input than they write."""
CONVOLUTIONS = frozenset(("MatMul", "Gemm", "Conv"))
"""Operators that published MAC counts are usually made of."""


@dataclass(frozen=True)
class Work:
    """Arrays of one entry per node: multiply-accumulates, all operations, and bytes read and written once each.

    `is_counted` is False for a node whose operations are not known; its bytes are counted. `uncounted` names, for people, each
    such operator and tensor."""

    macs: Ints
    flops: Floats
    moved_bytes: Floats
    is_counted: Bools
    uncounted: tuple[str, ...]


def count_work(graph: Graph) -> Work:
    """The work of every node. What cannot be counted is listed, never silently zero."""
    counts: list[Count | None] = []
    operators, tensors = Counter[str](), dict[str, None]()
    for node in graph.nodes:
        rule = rule_of(node.op_type, node.domain)
        try:
            counts.append(rule(_call(graph, node)) if rule else None)
        except UnknownShapeError as error:
            counts.append(None)
            tensors[error.name] = None
        except (KeyError, IndexError, ValueError):
            counts.append(None)
            operators[f"{_title(node)} of an unusual form"] += 1
        if rule is None:
            operators[_title(node)] += 1
    return Work(
        macs=np.array([count.macs if count else 0 for count in counts], dtype=np.int64),
        flops=np.array([count.flops if count else 0 for count in counts], dtype=np.float64),
        moved_bytes=np.array([_moved_bytes(graph, node) for node in graph.nodes], dtype=np.float64),
        is_counted=np.array([count is not None for count in counts], dtype=np.bool_),
        uncounted=(
            *(f"operator {name} ({number} node{'s' if number > 1 else ''})" for name, number in operators.items()),
            *(f"tensor '{name}' (no static shape)" for name in tensors),
        ),
    )


def product_macs(graph: Graph, work: Work) -> int:
    """MACs of MatMul, Gemm and Conv alone: what published figures count."""
    return int(sum(macs for node, macs in zip(graph.nodes, work.macs.tolist(), strict=True) if node.op_type in CONVOLUTIONS))


def tensor_of(graph: Graph, name: str) -> Tensor | None:
    """The activation or parameter of that name."""
    return graph.tensors.get(name) or graph.parameters.get(name)


def _title(node: Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _call(graph: Graph, node: Node) -> Call:
    def shaped(names: tuple[str, ...]) -> tuple[tuple[str, Shape | None], ...]:
        return tuple((name, _static_shape(tensor_of(graph, name))) for name in names)

    return Call(node.op_type, shaped(node.inputs), shaped(node.outputs), node.attributes)


def _static_shape(tensor: Tensor | None) -> Shape | None:
    if tensor is None or tensor.shape is None:
        return None
    known = tuple(dim for dim in tensor.shape if isinstance(dim, int))
    return known if len(known) == len(tensor.shape) else None


def _moved_bytes(graph: Graph, node: Node) -> int:
    """Bytes that the node must read and write at least, each tensor once."""
    if node.op_type in VIEWS:
        return 0
    written = sum(_nbytes(graph, name) for name in node.writes)
    if node.op_type in PICKERS:
        return 2 * written + sum(_nbytes(graph, name) for name in node.reads[1:])
    return written + sum(_nbytes(graph, name) for name in node.reads)


def _nbytes(graph: Graph, name: str) -> int:
    return graph.size_of(name)
