"""Which node of the graph that a runtime made of a model does the work of which node of the model, and whose time that is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multiedge.graph import Graph
from multiedge.profile import Floats, Ints

NO_OWNER = -1


@dataclass(frozen=True)
class Ownership:
    """`owner`, (n,), is the index of the optimised node that does the work of each node of the model, or NO_OWNER if that was
    folded into a constant before the first run. `group`, (m,), is for each optimised node the one to which its own time
    belongs: itself, or for a node that only serves another (a Reorder) that other, or NO_OWNER if that is not known."""

    owner: Ints
    group: Ints


def depends_on_inputs(graph: Graph) -> npt.NDArray[np.bool_]:
    """Whether each node, (n,), reads anything that follows from the model's inputs; if not, it can be folded."""
    fed = set(graph.inputs)
    found = np.zeros(len(graph.nodes), dtype=np.bool_)
    for index, node in enumerate(graph.nodes):
        if not fed.isdisjoint(node.reads):
            found[index] = True
            fed.update(node.writes)
    return found


def hidden_tensors(graph: Graph, ownership: Ownership, visible: Collection[str] = ()) -> frozenset[str]:
    """Activations that are made and read by the work of one node of the runtime only, and are none of `visible`."""
    owner, seen = ownership.owner, {*visible, *graph.outputs}
    return frozenset(
        name
        for name, maker in graph.producer.items()
        if name not in seen
        and owner[maker] != NO_OWNER
        and graph.consumers.get(name)
        and all(owner[reader] == owner[maker] for reader in graph.consumers[name])
    )


def claim_left_over(graph: Graph, owner: Ints) -> None:
    """Gives what is still no one's to the owner of the latest node it reads from; pure constants stay without."""
    for index in range(len(graph.nodes)):
        if owner[index] == NO_OWNER:
            sources = [graph.producer[name] for name in graph.activations_read(index) if name in graph.producer]
            owned = [source for source in sources if owner[source] != NO_OWNER]
            if owned:
                owner[index] = owner[max(owned)]


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


def without_probe(kernel_s: Floats, total_s: float) -> Floats:
    """Kernel times, (m,), that add up to `total_s`.

    The profiler costs the same for each node, so the excess is taken off evenly, though never more than half of a node's
    time; the rest is scaled.
    """
    excess = max(0.0, float(kernel_s.sum()) - total_s) / max(len(kernel_s), 1)
    left = np.maximum(kernel_s - excess, kernel_s / 2)
    return np.asarray(left * (total_s / max(float(left.sum()), 1e-12)), dtype=np.float64)
