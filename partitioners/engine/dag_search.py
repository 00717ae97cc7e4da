"""Good placements of a graph, found by cutting many of its topological orders into a chain."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from partitioners.engine.dag import Dag

Placement = tuple[int, ...]
"""The device index of each group."""
Order = tuple[int, ...]
"""Device indices in the order of their stages."""

_TOLERANCE = 1e-5


def topological_orders(dag: Dag, count: int, seed: int) -> Iterator[list[int]]:
    """`count` orders of the groups: the given one first, then random ones: any ready group, mostly depth first (a branch
    to its end) and mostly breadth first in turn, since each lets other sets of groups stand before a cut."""
    rng = random.Random(seed)
    yield list(range(len(dag)))
    for number in range(count - 1):
        waiting = [len(before) for before in dag.predecessors]
        ready = [group for group, left in enumerate(waiting) if not left]
        order: list[int] = []
        while ready:
            aimed = (-1, 0)[number % 2] if number % 3 and rng.random() < 0.8 else rng.randrange(len(ready))
            group = ready.pop(aimed)
            order.append(group)
            for reader in dag.successors[group]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)
        yield order


class ChainCutter:
    """Cuts one topological order into a stage per device, any device order and subset, for the least bottleneck.

    For a bottleneck T, g[S] is the farthest prefix that the devices of the set S can finish (the recurrence of
    `throughput`); T is found by bisection. Exact for compute times. Links are held to what crosses a cut over `bytes_per_s`,
    infinite: not at all.
    """

    def __init__(self, dag: Dag, overhead_s: Sequence[float], bytes_per_s: float = float("inf")) -> None:
        self._dag = dag
        self._overhead_s = overhead_s
        self._bytes_per_s = bytes_per_s

    def cut(self, order: Sequence[int], below_s: float, above_s: float) -> Placement | None:
        """A placement with a bottleneck below `below_s`, near the least (searched from `above_s` upwards), or None."""
        chosen = self._dag.seconds[list(order)]
        prefixes = [[0.0, *np.cumsum(chosen[:, device]).tolist()] for device in range(chosen.shape[1])]
        crossing = self._crossing_bytes(order)
        stops = self._cut(prefixes, crossing, below_s * (1 - _TOLERANCE))
        if stops is None:
            return None
        high, low = below_s, above_s
        while high - low > _TOLERANCE * low:
            middle = (low + high) / 2
            found = self._cut(prefixes, crossing, middle)
            if found is None:
                low = middle
            else:
                high, stops = middle, found
        return self._placement(order, stops)

    def _crossing_bytes(self, order: Sequence[int]) -> list[int]:
        """Bytes that cross each boundary of the order, 0 at both ends; empty where links do not matter."""
        if self._bytes_per_s == float("inf"):
            return []
        position = {group: index for index, group in enumerate(order)}
        change = np.zeros(len(order) + 2, dtype=np.int64)
        for message in self._dag.messages:
            if message.source >= 0 and message.readers:
                change[position[message.source] + 1] += message.nbytes
                change[max(position[reader] for reader in message.readers) + 1] -= message.nbytes
        return np.cumsum(change)[: len(order) + 1].tolist()  # type: ignore[no-any-return]

    def _cut(self, prefixes: list[list[float]], crossing: list[int], limit_s: float) -> list[tuple[int, int]] | None:
        """(device, stop) of each stage within `limit_s`, or None."""
        devices, end = len(prefixes), len(prefixes[0]) - 1
        allowed = self._allowed(crossing, limit_s)
        farthest = [0] * (1 << devices)
        last = [-1] * (1 << devices)
        for chosen in range(1, 1 << devices):
            for device in range(devices):
                if chosen >> device & 1:
                    start = farthest[chosen ^ (1 << device)]
                    room = prefixes[device][start] + limit_s - self._overhead_s[device]
                    stop = bisect_right(prefixes[device], room) - 1
                    stop = allowed[stop] if allowed else stop
                    if stop > farthest[chosen]:
                        farthest[chosen], last[chosen] = stop, device
            if farthest[chosen] == end:
                return _walk_back(chosen, farthest, last)
        return None

    def _allowed(self, crossing: list[int], limit_s: float) -> list[int]:
        """For each boundary the nearest one at or before it whose bytes cross within `limit_s`."""
        if not crossing:
            return []
        fits = np.asarray(crossing) <= limit_s * self._bytes_per_s
        return np.maximum.accumulate(np.where(fits, np.arange(len(crossing)), 0)).tolist()  # type: ignore[no-any-return]

    def _placement(self, order: Sequence[int], stops: list[tuple[int, int]]) -> Placement:
        device_of = [0] * len(order)
        start = 0
        for device, stop in stops:
            for group in order[start:stop]:
                device_of[group] = device
            start = stop
        return tuple(device_of)


def _walk_back(chosen: int, farthest: list[int], last: list[int]) -> list[tuple[int, int]]:
    """(device, stop) in the order of stages; devices that add nothing to the prefix hold no stage."""
    stops: list[tuple[int, int]] = []
    while farthest[chosen]:
        before = chosen ^ (1 << last[chosen])
        if farthest[chosen] > farthest[before]:
            stops.append((last[chosen], farthest[chosen]))
        chosen = before
    return stops[::-1]
