"""The numbers of all contiguous plans of a model on a fleet, as arrays.

A contiguous plan cuts the topological order into stages, each on devices of its own, and every stage hands on all
that is still needed (relay transfers). Exchangeable devices form a group; only how many of a group are
used matters, so that sixteen devices of four types have 5^4 states and not 2^16. All costs equal those of
`multiedge.planning.cost`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet
from multiedge.plan import Stage
from multiedge.planning.devices import exchangeable
from multiedge.profile import Floats, Ints, Profile
from partitioners.engine.memory import result_bytes
from partitioners.engine.times import StageTimes
from partitioners.engine.windows import Windows, memory_windows, within_memory

MOST_CELLS = 200_000_000
"""Table entries (states x ways to run a stage x boundaries) up to which a search is tried."""


@dataclass(frozen=True)
class Way:
    """One way to run a stage: on `replicas` devices of group `group`, which take items in turn."""

    group: int
    replicas: int = 1


@dataclass(frozen=True)
class Placed:
    """Nodes [start, stop) run in way number `way`."""

    way: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Chain:
    """Arrays over groups g, ways w and boundaries p = 0 ... n.

    `times[g]`: seconds of stages; `overhead_s[g]`: per stage. `cut`, `results`: bytes that cross p, and bytes of outputs of
    the first p nodes. `per_byte_s[v, w]`, `latency_s[v, w]`: the link from way v to way w, as
    each replica sees it; inf where there is none. `enter_*[w]` and `leave_*[w]`: the same from and to the place where
    items arise, zero if the fleet names none. `source`: the group that holds that place.
    """

    profile: Profile
    fleet: Fleet
    groups: tuple[tuple[str, ...], ...]
    ways: tuple[Way, ...]
    times: tuple[StageTimes, ...]
    overhead_s: Floats
    cut: Floats
    results: Floats
    windows: tuple[Windows, ...]
    per_byte_s: Floats
    latency_s: Floats
    enter_per_byte_s: Floats
    enter_latency_s: Floats
    leave_per_byte_s: Floats
    leave_latency_s: Floats
    source: int | None

    @classmethod
    def of(cls, profile: Profile, fleet: Fleet, *, replicate: bool = False, searched: bool = True) -> Chain:
        """The arrays for a model on a fleet; ConfigError if the fleet has too many different devices to search.

        If it is not `searched`, every fleet will do, and there are no windows.
        """
        groups = exchangeable(profile, fleet)
        most = [len(group) if replicate else 1 for group in groups]
        ways = tuple(Way(group, r) for group, count in enumerate(most) for r in range(1, count + 1))
        if searched and not is_searchable(groups, len(profile), replicate=replicate):
            raise ConfigError(
                f"{fleet.name}: {len(fleet.devices)} devices of {len(groups)} kinds are too many to search for"
                f" {len(profile)} nodes; state devices of one kind alike, or leave some out"
            )
        heads = [fleet.device(group[0]) for group in groups]
        between = [[_between(fleet, groups, a, b) for b in ways] for a in ways]
        enter = [_to_source(fleet, heads[way.group], way, inward=True) for way in ways]
        leave = [_to_source(fleet, heads[way.group], way, inward=False) for way in ways]
        times = [StageTimes.of(profile, head.name) for head in heads]
        rooms = [head.available_bytes for head in heads]
        source = next((index for index, group in enumerate(groups) if fleet.source in group), None)
        return cls(
            profile,
            fleet,
            groups,
            ways,
            times=tuple(within_memory(profile, rooms, times)),
            overhead_s=np.array([profile.overhead_s.get(head.name, 0.0) for head in heads]),
            cut=profile.cut_bytes.astype(np.float64),
            results=result_bytes(profile).astype(np.float64),
            windows=tuple(memory_windows(profile, rooms, times)) if searched else (),
            per_byte_s=np.array([[pair[0] for pair in row] for row in between]),
            latency_s=np.array([[pair[1] for pair in row] for row in between]),
            enter_per_byte_s=np.array([pair[0] for pair in enter]),
            enter_latency_s=np.array([pair[1] for pair in enter]),
            leave_per_byte_s=np.array([pair[0] for pair in leave]),
            leave_latency_s=np.array([pair[1] for pair in leave]),
            source=source,
        )

    def __len__(self) -> int:
        """Number of nodes."""
        return len(self.profile)

    @cached_property
    def seconds(self) -> Floats:
        """Prefix sums of the least time of each node, (groups, n + 1): of stages where times add up, a bound elsewhere."""
        return np.array([times.prefix for times in self.times])

    @cached_property
    def hand_over_s(self) -> Floats:
        """Seconds for which handing over boundary q occupies the link from v to w, (ways, ways, n + 1); inf without a link."""
        linked = np.isfinite(self.per_byte_s)
        seconds = np.where(linked, self.per_byte_s, 0.0)[:, :, None] * self.cut
        return np.where(linked[:, :, None], seconds, np.inf)

    @cached_property
    def outputs(self) -> Ints:
        """Number of outputs of the model that the first p nodes make, (n + 1,)."""
        graph = self.profile.graph
        outputs = set(graph.outputs)
        return np.cumsum([0, *(len(outputs.intersection(node.writes)) for node in graph.nodes)])

    @cached_property
    def early_results(self) -> bool:
        """Whether outputs of the model are made before its last node."""
        return bool(self.results[-2] > 0) if len(self) else False

    def compute_s(self, way: int, start: int, stop: int) -> float:
        """Seconds of one item in the stage; on r replicas one item ends every compute_s / r."""
        group = self.ways[way].group
        return self.times[group].between(start, stop) + float(self.overhead_s[group])

    def stages(self, path: Sequence[Placed]) -> tuple[Stage, ...]:
        """The stages of a path, each on the next free devices of its group."""
        free = [list(group) for group in self.groups]
        stages = []
        for placed in path:
            way = self.ways[placed.way]
            devices = [free[way.group].pop(0) for _ in range(way.replicas)]
            stages.append(Stage.span(devices[0], placed.start, placed.stop, tuple(devices[1:])))
        return tuple(stages)

    def bottleneck_s(self, path: Sequence[Placed]) -> float:
        """Seconds per item of the busiest device or link of a path."""
        busiest = float(self.enter_per_byte_s[path[0].way] * self.cut[0])
        for index, placed in enumerate(path):
            way = placed.way
            made = float(self.results[placed.stop] - self.results[placed.start])
            busiest = max(busiest, self.compute_s(way, placed.start, placed.stop) / self.ways[way].replicas)
            if index + 1 < len(path):
                following = path[index + 1].way
                busiest = max(busiest, float(self.per_byte_s[way, following] * self.cut[placed.stop]))
                if self.ways[following].group == self.source:
                    made += float(self.cut[placed.stop])
            busiest = max(busiest, float(self.leave_per_byte_s[way]) * made)
        return busiest


def _between(fleet: Fleet, groups: Sequence[Sequence[str]], a: Way, b: Way) -> tuple[float, float]:
    """Seconds per byte and latency between two ways, each pair of replicas carrying its share of the items."""
    if a.group == b.group:
        if a.replicas + b.replicas > len(groups[a.group]):
            return np.inf, np.inf
        link = fleet.link(groups[a.group][0], groups[a.group][1])
    else:
        link = fleet.link(groups[a.group][0], groups[b.group][0])
    return link.occupancy_s(1.0) / (a.replicas * b.replicas), link.latency_s


def _to_source(fleet: Fleet, device: Device, way: Way, *, inward: bool) -> tuple[float, float]:
    if fleet.source is None:
        return 0.0, 0.0
    ends = (fleet.source, device.name) if inward else (device.name, fleet.source)
    link = fleet.link(*ends)
    return link.occupancy_s(1.0) / way.replicas, link.latency_s


def is_searchable(
    groups: Sequence[Sequence[str]], nodes: int, *, replicate: bool = False, most_cells: float = math.inf
) -> bool:
    """Whether the tables of a search have at most MOST_CELLS entries, or `most_cells` if that is less."""
    ways = sum(len(group) for group in groups) if replicate else len(groups)
    return float(np.prod([len(group) + 1.0 for group in groups])) * ways * (nodes + 1) <= min(MOST_CELLS, most_cells)
