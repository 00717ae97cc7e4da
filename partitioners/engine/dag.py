"""A profile as a graph of groups: what the strategies for graphs search over.

A group is a node, or what the runtime fuses into one, with the constants that only it reads. Moving such a constant (a
node without inputs, whose parameters are no larger than what it makes) to its reader saves the transfer and never costs
memory, so no optimum is lost where the constant takes no time. Where it takes a little, bounds leave that time out.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multiedge.errors import ProfileError
from multiedge.fleet import Fleet
from multiedge.plan import CALLER
from multiedge.planning.memory import BUFFERED_ITEMS
from multiedge.profile import Floats, Profile
from partitioners.engine.times import node_seconds


@dataclass(frozen=True)
class Message:
    """A tensor that groups read: made by group `source` (CALLER: an input of the model). `returned`: an output too."""

    nbytes: int
    source: int
    readers: tuple[int, ...]
    returned: bool


@dataclass(frozen=True, eq=False)
class Dag:
    """Groups in topological order. `seconds` is (groups, devices) without the absorbed constants, which makes bounds
    hold; `whole_seconds` is with them."""

    members: tuple[tuple[int, ...], ...]
    seconds: Floats
    whole_seconds: Floats
    edges: tuple[tuple[int, int], ...]
    messages: tuple[Message, ...]
    devices: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.members)

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        found: list[list[int]] = [[] for _ in self.members]
        for a, b in self.edges:
            found[a].append(b)
        return tuple(map(tuple, found))

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        found: list[list[int]] = [[] for _ in self.members]
        for a, b in self.edges:
            found[b].append(a)
        return tuple(map(tuple, found))

    @cached_property
    def ancestors(self) -> Floats:
        """(groups, groups) of 0 and 1: row v marks all that v depends on, v included."""
        reach = np.eye(len(self), dtype=bool)
        for group in range(len(self)):
            for before in self.predecessors[group]:
                reach[group] |= reach[before]
        return reach.astype(np.float64)


def build_dag(profile: Profile, fleet: Fleet, *, absorb_share: float = 0.0, absorb_all: bool = False) -> Dag:
    """The groups of `profile`. Constants that take time are absorbed too as long as all of them together take no more
    than `absorb_share` of the model's time on every device. `absorb_all` absorbs them whatever time and memory they
    take: for heuristics, since an optimum may be lost. Where times do not add up, nothing else is absorbed: a device may not be
    able to hold a constant with its reader."""
    seconds = node_seconds(profile, fleet)
    home = _absorb(profile, seconds, busy=absorb_all, large=absorb_all)
    if profile.spans and not absorb_all:
        home = list(range(len(profile)))
    elif absorb_share and not absorb_all:
        wider = _absorb(profile, seconds, busy=True, large=False)
        moved = [node for node, group in enumerate(wider) if group != node]
        share = seconds[moved].sum(axis=0) / np.maximum(seconds.sum(axis=0), 1e-300)
        home = wider if share.max() <= absorb_share else home
    number = _numbers(profile, home)
    members: list[list[int]] = [[] for _ in set(number)]
    for node, group in enumerate(number):
        members[group].append(node)
    messages = tuple(_messages(profile, number))
    edges = {(m.source, reader) for m in messages for reader in m.readers if m.source != CALLER}
    whole = np.zeros((len(members), len(fleet.names)))
    np.add.at(whole, number, seconds)
    unabsorbed = np.zeros_like(whole)
    heads = [node for node, reader in enumerate(home) if reader == node]
    np.add.at(unabsorbed, [number[node] for node in heads], seconds[heads])
    return Dag(tuple(map(tuple, members)), unabsorbed, whole, tuple(sorted(edges)), messages, fleet.names)


def _numbers(profile: Profile, home: list[int]) -> list[int]:
    """The group of each node: that of the node whose group it joins, together with all that fused tensors tie to it.
    Groups are numbered in topological order."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = profile.graph
    tied = [(node, reader) for name in profile.fused for node in [graph.producer[name]] for reader in graph.consumers[name]]
    tied += [(after - 1, after) for after in sorted(graph.closed_boundaries)]
    pairs = np.array([*enumerate(home), *tied], dtype=np.int64).reshape(-1, 2)
    ties = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(home), len(home)))
    label: list[int] = connected_components(ties, directed=False)[1].tolist()
    last = {group: node for node, group in enumerate(label)}
    before: dict[int, set[int]] = {group: set() for group in last}
    for node in range(len(home)):
        sources = (graph.producer[name] for name in graph.activations_read(node) if name in graph.producer)
        before[label[node]].update(label[source] for source in sources)
    rank = {group: number for number, group in enumerate(_in_order(profile, before, last))}
    return [rank[group] for group in label]


def _in_order(profile: Profile, before: Mapping[int, set[int]], last: Mapping[int, int]) -> Iterator[int]:
    """Groups in topological order, of those that could come next the one whose last node comes first."""
    after: dict[int, list[int]] = {group: [] for group in before}
    waiting = {group: len(sources - {group}) for group, sources in before.items()}
    for group, sources in before.items():
        for source in sources - {group}:
            after[source].append(group)
    ready = [(last[group], group) for group, count in waiting.items() if not count]
    heapq.heapify(ready)
    done = 0
    while ready:
        group = heapq.heappop(ready)[1]
        done += 1
        yield group
        for following in after[group]:
            waiting[following] -= 1
            if not waiting[following]:
                heapq.heappush(ready, (last[following], following))
    if done < len(before):
        raise ProfileError(
            f"profile of {profile.graph.name}: its fused tensors tie nodes together that others must run between;"
            " profile the model again, or plan with a strategy for chains, such as throughput"
        )


def _absorb(profile: Profile, seconds: Floats, *, busy: bool, large: bool) -> list[int]:
    """For each node the node whose group it joins, itself unless it is a constant of a single reader."""
    graph = profile.graph
    readers: list[set[int]] = [
        {reader for name in node.writes for reader in graph.consumers.get(name, ())} for node in graph.nodes
    ]
    outputs = set(graph.outputs)
    home = list(range(len(graph.nodes)))
    for index, node in enumerate(graph.nodes):
        names = graph.activations_read(index)
        fed = any(name not in graph.producer or home[graph.producer[name]] != index for name in names)
        small = large or profile.parameter_bytes[index] <= BUFFERED_ITEMS * profile.output_bytes[index]
        free = busy or not seconds[index].any()
        if not fed and len(readers[index]) == 1 and small and free and not outputs & set(node.writes):
            home[index] = next(iter(readers[index]))
    for index in reversed(range(len(home))):
        home[index] = home[home[index]]
    return home


def _messages(profile: Profile, group_of: list[int]) -> Iterator[Message]:
    graph = profile.graph
    outputs = set(graph.outputs)
    for name in dict.fromkeys([*graph.inputs, *graph.producer]):
        if name in graph.parameters:
            continue
        source = group_of[graph.producer[name]] if name in graph.producer else CALLER
        readers = tuple(sorted({group_of[reader] for reader in graph.consumers.get(name, ())} - {source}))
        returned = name in outputs and source != CALLER
        if readers or returned:
            nbytes = graph.size_of(name)
            yield Message(nbytes, source, readers, returned)
