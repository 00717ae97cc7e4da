"""Places to cut, chosen without devices: by number of parts, or by the tensors that a person names."""

from __future__ import annotations

from collections.abc import Sequence

from multiedge.errors import CutError, did_you_mean
from multiedge.graph import Cut, Graph


def boundaries_at(graph: Graph, cuts: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """The boundary of each cut, ascending, given the tensors that should cross it (others that must will cross too).

    Raises CutError for a tensor that no node makes, or a cut that leaves nothing on one side of it.
    """
    found = []
    for tensors in cuts:
        for name in tensors:
            if name in graph.inputs:
                raise CutError(f"{graph.name}: cannot cut at '{name}': it is an input of the model; name what a node makes")
            if name not in graph.producer or name in graph.parameters:
                raise CutError(f"{graph.name}: cannot cut at '{name}': no node makes a tensor of that name{_near(graph, name)}")
        found.append(graph.boundary_at(tensors))
    ends = [0, *sorted(set(found)), len(graph.nodes)]
    if len(set(found)) < len(found) or ends[1] == 0 or ends[-2] >= ends[-1]:
        named = ", ".join("+".join(tensors) for tensors in cuts)
        raise CutError(f"{graph.name}: the cuts at {named} leave a part without nodes; name places further apart")
    return tuple(ends[1:-1])


def _near(graph: Graph, name: str) -> str:
    return did_you_mean(name, set(graph.producer) - set(graph.parameters)) if len(graph.producer) < 5000 else ""


def boundaries_for(graph: Graph, parts: int) -> tuple[int, ...]:
    """`parts` - 1 boundaries near equal shares of the parameters and nodes, each moved to the cheapest cut close by.

    Raises CutError if the model has fewer nodes than parts.
    """
    count = len(graph.nodes)
    if not 1 <= parts <= count:
        raise CutError(f"{graph.name}: expected 1 to {count} parts, one node each at least, got {parts}")
    reach = max(1, count // (4 * parts))
    found: list[int] = []
    for number in range(1, parts):
        middle = round(count * number / parts)
        least = found[-1] + 1 if found else 1
        most = count - (parts - number)
        near = range(max(least, middle - reach), min(most, middle + reach) + 1) or range(least, least + 1)
        whole = [after for after in near if after not in graph.closed_boundaries] or near
        found.append(min(whole, key=lambda after: (_bytes(graph.cuts[after]), abs(after - middle))))
    return tuple(found)


def cheapest_cuts(graph: Graph, count: int) -> tuple[Cut, ...]:
    """The `count` inner cuts that carry the fewest bytes, in order of the model; of equal neighbours the first."""
    inner = [cut for cut in graph.cuts[1:-1] if cut.tensors and cut.after not in graph.closed_boundaries]
    distinct = [cut for number, cut in enumerate(inner) if number == 0 or cut.tensors != inner[number - 1].tensors]
    return tuple(sorted(sorted(distinct, key=_bytes)[:count], key=lambda cut: cut.after))


def _bytes(cut: Cut) -> float:
    return float("inf") if cut.nbytes is None else cut.nbytes
