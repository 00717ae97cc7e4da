"""Hand-written parts made into stages: the tensors that enter and leave each part say which nodes it holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from multiedge.errors import PlanError, did_you_mean
from multiedge.fleet import PartitionPoint
from multiedge.graph import Graph
from multiedge.plan import Stage


def stages_from_points(graph: Graph, points: Sequence[PartitionPoint]) -> tuple[Stage, ...]:
    """One stage per point: every node that its outputs depend on, back to its inputs.

    Nodes that compute constants belong to the first part that needs them, and nodes that no output depends on join the
    latest part that feeds them. Raises PlanError, with all findings, for names that the model does not have, for a part
    that needs a tensor which it neither makes nor lists, and for a part without nodes.
    """
    wrong = _unknown_names(graph, points)
    if wrong:
        raise _refusal(graph, wrong)
    home: dict[int, int] = {}
    constant = _constant_nodes(graph)
    for number, point in enumerate(points):
        own = _nodes_between(graph, point.input_names, point.output_names)
        clash = [node for node in sorted(own) if node in home and node not in constant]
        wrong += [_overlap(graph, points, number, node, home[node]) for node in clash[-1:]]
        home.update({node: number for node in own if node not in home})
    if not wrong:
        _adopt_unread(graph, home)
        wrong += _incomplete(graph, points, home)
    if wrong:
        raise _refusal(graph, wrong)
    return tuple(
        Stage(point.device_name, tuple(sorted(node for node, number in home.items() if number == index)))
        for index, point in enumerate(points)
    )


def _refusal(graph: Graph, wrong: Sequence[str]) -> PlanError:
    return PlanError(f"{graph.name}: the partition points do not fit the model: " + "; ".join(wrong), wrong)


def _unknown_names(graph: Graph, points: Sequence[PartitionPoint]) -> list[str]:
    """What is wrong with the tensor names of the points, each with its place."""
    if not points:
        return ["partition_points: expected at least one part, got none"]
    known = {*graph.producer, *graph.inputs, *graph.parameters}
    wrong = []
    for number, point in enumerate(points):
        for key, names in (("input_names", point.input_names), ("output_names", point.output_names)):
            wrong += [
                f"partition_points[{number}].{key}: the model has no tensor '{name}'{_near(name, known)}"
                for name in names
                if name not in known
            ]
    return wrong


def _near(name: str, known: Iterable[str]) -> str:
    """A suggestion, but not the list of a model's thousand tensors."""
    hint = did_you_mean(name, known)
    return hint if "did you mean" in hint else ""


def _nodes_between(graph: Graph, inputs: Iterable[str], outputs: Iterable[str]) -> set[int]:
    """Nodes that `outputs` depend on, not looking behind `inputs`."""
    stop = set(inputs)
    found: set[int] = set()
    pending = [name for name in outputs if name not in stop]
    while pending:
        node = graph.producer.get(pending.pop())
        if node is not None and node not in found:
            found.add(node)
            pending += [name for name in graph.activations_read(node) if name not in stop]
    return found


def _constant_nodes(graph: Graph) -> set[int]:
    """Nodes that depend on no input of the model."""
    found: set[int] = set()
    for index in range(len(graph.nodes)):
        sources = [graph.producer.get(name) for name in graph.activations_read(index)]
        if all(source in found for source in sources):
            found.add(index)
    return found


def _overlap(graph: Graph, points: Sequence[PartitionPoint], number: int, node: int, owner: int) -> str:
    missing = ", ".join(f"'{name}'" for name in graph.nodes[node].writes)
    return (
        f"partition_points[{number}] ('{points[number].device_name}') also needs {missing}, which part {owner}"
        f" ('{points[owner].device_name}') makes: add it to input_names"
    )


def _adopt_unread(graph: Graph, home: dict[int, int]) -> None:
    """Puts each node that leads to no output of the model where its inputs are made."""
    useful = _nodes_between(graph, (), graph.outputs)
    for index in range(len(graph.nodes)):
        if index not in home and index not in useful:
            sources = [graph.producer[name] for name in graph.activations_read(index) if name in graph.producer]
            home[index] = max((home[source] for source in sources if source in home), default=0)


def _incomplete(graph: Graph, points: Sequence[PartitionPoint], home: dict[int, int]) -> list[str]:
    held = set(home.values())
    wrong = [
        f"partition_points[{number}] ('{point.device_name}') holds no node: its outputs are among its inputs, or another part's"
        for number, point in enumerate(points)
        if number not in held
    ]
    lost = [index for index in range(len(graph.nodes)) if index not in home]
    if lost:
        names = ", ".join(f"'{graph.nodes[index].name}'" for index in lost[:3])
        wrong.append(
            f"{len(lost)} of {len(graph.nodes)} nodes are in no part, the first are {names}: add the tensors they lead to"
        )
    return wrong
