"""Which tensors of a composed graph are there for the same items."""

from __future__ import annotations

from multiedge.composed import DOMAIN, FIRST_OF, WHEN
from multiedge.graph import Graph

Presence = frozenset[str]
"""The nodes WHEN and FIRST_OF that decide whether a tensor is there. Those with the same ones are there for the same items."""
ALWAYS: Presence = frozenset()


def presence_of(graph: Graph) -> dict[str, Presence]:
    """What decides whether each tensor of a composed graph is there; of a part, its inputs included, as its file states."""
    stated = graph.composition.presence if graph.composition else {}
    known = {name: frozenset(nodes) for name, nodes in stated.items()}
    for node in graph.nodes:
        is_first_of = (node.domain, node.op_type) == (DOMAIN, FIRST_OF)
        own = {node.name} if is_first_of or (node.domain, node.op_type) == (DOMAIN, WHEN) else set()
        read = [] if is_first_of else [known.get(name, ALWAYS) for name in node.reads]
        known.update(dict.fromkeys(node.writes, ALWAYS.union(own, *read)))
    return known
