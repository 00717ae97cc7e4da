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

from multiedge.graph import Graph
from multiedge.profile import Floats, Ints

LAYOUT_SUFFIX = "_nchwc"
_TOKEN = re.compile(r"_token_\d+$")
"""What onnxruntime appends to names to make them unique."""
REORDERS = ("ReorderInput", "ReorderOutput")
NO_OWNER = -1


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


@dataclass(frozen=True)
class Ownership:
    """`owner`, (n,), is the index of the optimised node that does the work of each node of the model, or NO_OWNER if that was
    folded into a constant before the first run. `group`, (m,), is for each optimised node the one to which its own time
    belongs: itself, or for a node that only serves another (a Reorder) that other, or NO_OWNER if that is not known."""

    owner: Ints
    group: Ints


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
    _claim_left_over(graph, owner)
    return Ownership(owner, _groups(optimised, owner, anchors))


def depends_on_inputs(graph: Graph) -> npt.NDArray[np.bool_]:
    """Whether each node, (n,), reads anything that follows from the model's inputs; if not, it can be folded."""
    fed = set(graph.inputs)
    found = np.zeros(len(graph.nodes), dtype=np.bool_)
    for index, node in enumerate(graph.nodes):
        if not fed.isdisjoint(node.reads):
            found[index] = True
            fed.update(node.writes)
    return found


def fused_tensors(graph: Graph, optimised: Sequence[OptimisedNode], ownership: Ownership) -> frozenset[str]:
    """Activations that never exist while the whole model runs: made and read by the work of one optimised node only.

    A cut at one of them undoes the fusion."""
    aliases = _aliases(graph, optimised)
    visible = {aliases.get(name, name) for node in optimised for name in (*node.inputs, *node.outputs)} | set(graph.outputs)
    owner = ownership.owner
    return frozenset(
        name
        for name, maker in graph.producer.items()
        if name not in visible
        and owner[maker] != NO_OWNER
        and graph.consumers.get(name)
        and all(owner[reader] == owner[maker] for reader in graph.consumers[name])
    )


def spread(ownership: Ownership, optimised_s: Floats, weights: Floats) -> Floats:
    """Seconds of each node of the model, (n,): each optimised node's time over the nodes that it does the work of, in
    proportion to `weights`. Time that belongs to no node in particular goes over all, in proportion to theirs."""
    owner, group = ownership.owner, ownership.group
    known = group != NO_OWNER
    totals = np.zeros(len(optimised_s))
    np.add.at(totals, group[known], optimised_s[known])
    owned = owner != NO_OWNER
    share = np.where(owned, np.maximum(weights, 1e-9), 0.0)
    shares = np.zeros(len(optimised_s))
    np.add.at(shares, owner[owned], share[owned])
    seconds = np.zeros(len(owner))
    seconds[owned] = share[owned] / shares[owner[owned]] * totals[owner[owned]]
    rest = float(optimised_s[~known].sum())
    if rest and seconds.sum() > 0:
        seconds *= 1 + rest / seconds.sum()
    return seconds


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


def _claim_left_over(graph: Graph, owner: Ints) -> None:
    """Gives what is still no one's to the owner of the latest node it reads from; pure constants stay without."""
    for index in range(len(graph.nodes)):
        if owner[index] == NO_OWNER:
            sources = [graph.producer[name] for name in graph.activations_read(index) if name in graph.producer]
            owned = [source for source in sources if owner[source] != NO_OWNER]
            if owned:
                owner[index] = owner[max(owned)]
