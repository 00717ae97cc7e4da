"""Which nodes run where, and what the stages send to each other: a plan without its figures.

Stages are sets of nodes in topological order, each on one device, or on several equal ones that take items in turn. Transfers
are the tensors that stages send to each other; paths are the ways of items through the stages, where there are several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from multiedge.errors import PlanError
from multiedge.fleet import Encoding
from multiedge.graph import Graph

CALLER = -1
"""In place of a stage number: the caller, who sends items and gets results."""


@dataclass(frozen=True)
class Stage:
    """Nodes that run as one sub-model.

    Attributes:
        device: Name of the device that runs them.
        nodes: Indices of nodes, ascending.
        replicas: Names of other devices that run the same stage on other items.
    """

    device: str
    nodes: tuple[int, ...]
    replicas: tuple[str, ...] = ()

    @classmethod
    def span(cls, device: str, start: int, stop: int, replicas: tuple[str, ...] = ()) -> Stage:
        """The stage of consecutive nodes.

        Args:
            device: Name of the device that runs them.
            start: First node.
            stop: End of the nodes, not included.
            replicas: Names of other devices that run the same stage on other items.

        Returns:
            The Stage.
        """
        return cls(device, tuple(range(start, stop)), replicas)

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of all its devices."""
        return (self.device, *self.replicas)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The nodes as half-open ranges."""
        found: list[tuple[int, int]] = []
        for node in self.nodes:
            if found and found[-1][1] == node:
                found[-1] = (found[-1][0], node + 1)
            else:
                found.append((node, node + 1))
        return tuple(found)


@dataclass(frozen=True)
class Transfer:
    """Tensors that one stage sends to another for every item, in one message.

    In a relay plan each stage sends everything that is still needed to the next stage, which forwards what it does not use.
    In a direct plan each tensor is sent to each stage that reads it.

    Attributes:
        source: Number of the sending stage; CALLER is the caller.
        target: Number of the receiving stage; CALLER is the caller.
        tensors: Names of the tensors.
        nbytes: Their size together, before they are encoded, in the mean over all items; None if it is not known.
        encoding: How they are sent between devices.
    """

    source: int
    target: int
    tensors: tuple[str, ...]
    nbytes: int | None
    encoding: Encoding = Encoding.NONE

    @property
    def known_bytes(self) -> int:
        """`nbytes`, where it must be known; PlanError if it is not."""
        if self.nbytes is None:
            raise PlanError(f"the size of {', '.join(self.tensors)} is not known; plan with --shape, or with --measure-shapes")
        return self.nbytes


@dataclass(frozen=True)
class Path:
    """Stages that an item passes, one after another, and how many items do so.

    Attributes:
        stages: Numbers of stages, ascending; together they hold every node once.
        items_per_s: Items per second that take this path while the plan runs at its full rate. Of many items, each path gets
            the share that its rate has in the sum of all rates.
    """

    stages: tuple[int, ...]
    items_per_s: float

    @property
    def steps(self) -> frozenset[tuple[int, int]]:
        """The (source, target) of every transfer of an item on this path, from and to the caller included."""
        hops = zip((CALLER, *self.stages), self.stages, strict=False)
        return frozenset(hops) | {(stage, CALLER) for stage in self.stages}


class HasRate(Protocol):
    """What takes so many items per second."""

    @property
    def items_per_s(self) -> float: ...


def next_path(paths: Sequence[HasRate], taken: Sequence[int]) -> int:
    """The path of the next item, so that at any time each path has had its share of the items, to within one item.

    The item goes where it would be complete first if each path served one item after another at its rate.

    Args:
        paths: The paths of a plan.
        taken: How many items have taken each path so far.

    Returns:
        Number of the path; the first one of several equal ones.
    """
    return min(range(len(paths)), key=lambda number: (taken[number] + 1) / paths[number].items_per_s)


def relay_transfers(graph: Graph, stages: Sequence[Stage], nbytes: Sequence[int]) -> tuple[Transfer, ...]:
    """Transfers of a relay plan of contiguous stages.

    Args:
        graph: The model.
        stages: Consecutive ranges of nodes, in order.
        nbytes: Bytes that cross each boundary, `Profile.cut_bytes`.

    Returns:
        A transfer to each stage, and the results to the caller.
    """
    found = [Transfer(CALLER, 0, graph.cuts[0].tensors, int(nbytes[0]))]
    after = 0
    for index, stage in enumerate(stages[:-1]):
        after += len(stage.nodes)
        found.append(Transfer(index, index + 1, graph.cuts[after].tensors, int(nbytes[after])))
    return tuple(found) + _result_transfers(graph, stages)


def path_transfers(graph: Graph, stages: Sequence[Stage], paths: Sequence[Path], nbytes: Sequence[int]) -> tuple[Transfer, ...]:
    """Transfers of a plan with several paths through contiguous stages, each of which forwards all that is still needed.

    Args:
        graph: The model.
        stages: Ranges of nodes; those of one path follow each other.
        paths: The ways of items through the stages.
        nbytes: Bytes that cross each boundary, `Profile.cut_bytes`.

    Returns:
        One transfer for each two stages that follow each other in a path, and the results to the caller.
    """
    hops = sorted({(a, b) for path in paths for a, b in path.steps if b != CALLER})
    moves = tuple(Transfer(a, b, graph.cuts[stages[b].nodes[0]].tensors, int(nbytes[stages[b].nodes[0]])) for a, b in hops)
    producer, results = graph.producer, []
    for number, stage in enumerate(stages):
        names = tuple(name for name in graph.outputs if stage.nodes[0] <= producer.get(name, CALLER) <= stage.nodes[-1])
        if names:
            results.append(Transfer(number, CALLER, names, graph.sent_bytes_of(names)))
    return moves + tuple(results)


def direct_transfers(graph: Graph, stages: Sequence[Stage]) -> tuple[Transfer, ...]:
    """Transfers of a direct plan: each tensor once to each stage that reads it, from the stage that makes it.

    Args:
        graph: The model.
        stages: Sets of nodes that cover the model.

    Returns:
        A transfer for each pair of stages that share tensors, and the results to the caller.
    """
    home = {node: index for index, stage in enumerate(stages) for node in stage.nodes}
    wanted: dict[tuple[int, int], list[str]] = {}
    for index, stage in enumerate(stages):
        for name in dict.fromkeys(name for node in stage.nodes for name in graph.activations_read(node)):
            made_by = graph.producer.get(name)
            source = CALLER if made_by is None else home[made_by]
            if source != index:
                wanted.setdefault((source, index), []).append(name)
    moves = [Transfer(a, b, tuple(names), graph.sent_bytes_of(names)) for (a, b), names in sorted(wanted.items())]
    return tuple(moves) + _result_transfers(graph, stages)


def _result_transfers(graph: Graph, stages: Sequence[Stage]) -> tuple[Transfer, ...]:
    home = {node: index for index, stage in enumerate(stages) for node in stage.nodes}
    made: dict[int, list[str]] = {}
    for name in graph.outputs:
        if name in graph.producer:
            made.setdefault(home[graph.producer[name]], []).append(name)
    return tuple(Transfer(source, CALLER, tuple(names), graph.sent_bytes_of(names)) for source, names in sorted(made.items()))
