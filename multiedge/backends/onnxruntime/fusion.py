"""Which nodes of a model became which nodes of the graph that onnxruntime made of it.

The optimiser fuses nodes (Conv + Relu, the nine nodes of a LayerNorm), folds constants, drops what does nothing and
lays tensors out anew. A stage runs such a graph, so its times are the ones that count; they belong to the nodes that they
came from. Tensors keep their names through all of this, except where a new layout gets tensors of its own ('..._nchwc'
nodes, Reorder nodes); names of nodes survive less often.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multiedge.backends.ownership import NO_OWNER, Ownership, claim_left_over, depends_on_inputs, hidden_tensors
from multiedge.graph import Graph
from multiedge.profile import Ints

LAYOUT_SUFFIX = "_nchwc"
_TOKEN = re.compile(r"_token_\d+$")
"""What onnxruntime appends to names to make them unique."""
REORDERS = ("ReorderInput", "ReorderOutput")


@dataclass(frozen=True)
class OptimisedNode:
    """A node of the graph that really ran."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def is_blocked(node: OptimisedNode) -> bool:
    """Whether the node works on, or makes or undoes, tensors that are laid out in blocks."""
    return node.name.endswith(LAYOUT_SUFFIX) or node.op_type in REORDERS


def owners(graph: Graph, optimised: Sequence[OptimisedNode]) -> Ownership:
    """Who does whose work.

    First each optimised node claims the nodes that make its outputs, or that bear its name. Then it claims what it
    swallowed on the way from its inputs. Nodes left over were fused behind the node that they read from.
    """
    aliases = _aliases(graph, optimised)
    by_name = {node.name: index for index, node in enumerate(graph.nodes) if node.name}
    anchors = [sorted(set(_anchors(graph, node, aliases, by_name))) for node in optimised]
    owner = np.full(len(graph.nodes), NO_OWNER, dtype=np.int64)
    for index in sorted(range(len(optimised)), key=lambda index: optimised[index].op_type in REORDERS):
        for anchor in anchors[index]:
            if owner[anchor] == NO_OWNER:
                owner[anchor] = index
    visible = {aliases.get(name, name) for node in optimised for name in (*node.inputs, *node.outputs)}
    constant = ~depends_on_inputs(graph)
    for index, found in sorted(enumerate(anchors), key=lambda pair: pair[1]):
        for anchor in (anchor for anchor in found if owner[anchor] == index):
            _claim_backwards(graph, optimised[index], anchor, index, owner, visible, constant)
    claim_left_over(graph, owner)
    return Ownership(owner, _groups(optimised, owner, anchors))


def fused_tensors(graph: Graph, optimised: Sequence[OptimisedNode], ownership: Ownership) -> frozenset[str]:
    """Activations that never exist while the whole model runs: made and read by the work of one optimised node only.

    A cut at one of them undoes the fusion."""
    aliases = _aliases(graph, optimised)
    visible = {aliases.get(name, name) for node in optimised for name in (*node.inputs, *node.outputs)}
    return hidden_tensors(graph, ownership, visible)


def _groups(optimised: Sequence[OptimisedNode], owner: Ints, anchors: Sequence[Sequence[int]]) -> Ints:
    """The owner of each optimised node's time. One that owns nothing serves the owner of its anchor, otherwise the node that
    it reads from, otherwise the one that reads from it."""
    owning = set(owner.tolist())
    group = np.array([index if index in owning else NO_OWNER for index in range(len(optimised))], dtype=np.int64)
    maker = {name: index for index, node in enumerate(optimised) for name in node.outputs if name}
    for index, node in enumerate(optimised):
        if group[index] == NO_OWNER:
            served = [int(owner[anchor]) for anchor in anchors[index]]
            served += [int(group[maker[name]]) for name in node.inputs if name in maker]
            group[index] = next((one for one in served if one != NO_OWNER), NO_OWNER)
    for index in reversed(range(len(optimised))):
        for name in optimised[index].inputs:
            if name in maker and group[maker[name]] == NO_OWNER:
                group[maker[name]] = group[index]
    return group


def _aliases(graph: Graph, optimised: Sequence[OptimisedNode]) -> dict[str, str]:
    """The model's own name of each tensor that the optimiser renamed, where it is known."""
    found: dict[str, str] = {}
    for node in optimised:
        if node.name.endswith(LAYOUT_SUFFIX):
            original = node.name.removesuffix(LAYOUT_SUFFIX)
            made = [original] if original in graph.producer else _outputs_of(graph, original)
            found.update((new, old) for new, old in zip(node.outputs, made, strict=False) if new not in graph.producer)
        elif node.op_type == "ReorderOutput" and node.outputs[0] in graph.producer:
            found[node.inputs[0]] = node.outputs[0]
    for node in optimised:
        if node.op_type == "ReorderInput":
            found.setdefault(node.outputs[0], found.get(node.inputs[0], node.inputs[0]))
    return found


def _outputs_of(graph: Graph, name: str) -> list[str]:
    return [tensor for node in graph.nodes if node.name == name for tensor in node.writes]


def _anchors(graph: Graph, node: OptimisedNode, aliases: Mapping[str, str], by_name: Mapping[str, int]) -> Iterator[int]:
    names = [aliases.get(name, name) for name in node.outputs if name]
    if node.op_type in REORDERS:
        names = [aliases.get(node.inputs[0], node.inputs[0])]
    yield from (graph.producer[name] for name in names if name in graph.producer)
    bare = _TOKEN.sub("", node.name).removesuffix(LAYOUT_SUFFIX)
    fused = node.name.rstrip("/").rpartition("/")[0]
    found = next((by_name[name] for name in (node.name, bare, fused) if name in by_name), None)
    if found is not None:
        yield found


def _claim_backwards(
    graph: Graph,
    node: OptimisedNode,
    anchor: int,
    index: int,
    owner: Ints,
    visible: set[str],
    constant: npt.NDArray[np.bool_],
) -> None:
    """Gives to `node` all that lies between its inputs and `anchor` and is no one's.

    A fused product (FusedConv, FusedMatMul, ...) ends at the product: what comes before belongs to someone else.
    """
    core = node.op_type.removeprefix("Fused")
    waiting = [anchor]
    while waiting:
        current = waiting.pop()
        if owner[current] == index and graph.nodes[current].op_type == core:
            continue
        for name in graph.activations_read(current):
            source = graph.producer.get(name, NO_OWNER)
            if source != NO_OWNER and owner[source] == NO_OWNER and name not in visible and not constant[source]:
                owner[source] = index
                waiting.append(source)
