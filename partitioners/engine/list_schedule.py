"""One request over a graph of groups: who computes what when, by list scheduling."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multiedge.fleet import Fleet
from multiedge.plan import CALLER
from multiedge.profile import Profile
from partitioners.engine.dag import Dag
from partitioners.engine.dag_search import Placement


@dataclass(frozen=True)
class _Arrival:
    """A message that a group needs: who makes it (CALLER: an input) and its bytes."""

    source: int
    nbytes: int


class Scheduler:
    """Times of placements of one graph on one fleet, under the rules of `cost.request_latency_s` as far as groups show
    them: links are shared freely, devices compute one group at a time, overhead is due where a stage begins."""

    def __init__(self, dag: Dag, profile: Profile, fleet: Fleet) -> None:
        self._dag = dag
        self._names = fleet.names
        self._source = None if fleet.source is None else fleet.names.index(fleet.source)
        links = [[fleet.link(a, b) for b in fleet.names] for a in fleet.names]
        self._per_byte = [[link.occupancy_s(1.0) for link in row] for row in links]
        self._delay = [[link.latency_s for link in row] for row in links]
        self._seconds: list[list[float]] = dag.whole_seconds.tolist()
        self._overhead_s = [profile.overhead_s.get(name, 0.0) for name in fleet.names]
        self._room = [device.available_bytes for device in fleet.devices]
        self._weights = [int(sum(profile.parameter_bytes[list(nodes)])) for nodes in dag.members]
        self._arrivals: list[list[_Arrival]] = [[] for _ in dag.members]
        self._returned: list[int] = [0] * len(dag)
        for message in dag.messages:
            for reader in message.readers:
                self._arrivals[reader].append(_Arrival(message.source, message.nbytes))
            if message.returned:
                self._returned[message.source] += message.nbytes

    def heft(self) -> tuple[Placement, list[int]]:
        """A placement and the order it was made in: groups by the longest way to the end at mean cost, each where it is
        done first (Topcuoglu et al., TPDS 2002), on devices whose memory still holds its parameters."""
        order = self.priority_order()
        device_of, held = [-1] * len(order), [0] * len(self._names)
        done, free, last = [0.0] * len(order), [0.0] * len(self._names), [-1] * len(self._names)
        for group in order:
            fits = [d for d in range(len(free)) if held[d] + self._weights[group] <= self._room[d]]
            finish = {d: self._finish(group, d, device_of, done, free, last) for d in fits or range(len(free))}
            device = min(finish, key=lambda d: finish[d])
            device_of[group], done[group], free[device], last[device] = device, finish[device], finish[device], group
            held[device] += self._weights[group]
        return tuple(device_of), order

    def makespan(self, placement: Sequence[int], order: Sequence[int]) -> float:
        """Seconds of one request if each device takes its groups in `order`."""
        done, free, last = [0.0] * len(order), [0.0] * len(self._names), [-1] * len(self._names)
        end = 0.0
        for group in order:
            device = placement[group]
            done[group] = free[device] = self._finish(group, device, placement, done, free, last)
            last[device] = group
            back = self._transfer(device, CALLER, self._returned[group]) if self._returned[group] else 0.0
            end = max(end, done[group] + back)
        return end

    def improve(self, placement: Placement, order: Sequence[int], moves: int, seed: int, crossing_s: float) -> Placement:
        """Hill climbing: `moves` times a random run of connected groups goes to another device and stays there if the
        price falls: the makespan and `crossing_s` for each edge between devices, which keeps idle groups in place. Then
        each group once is tried on the devices of its neighbours."""
        rng = random.Random(seed)
        best, price = list(placement), self._price(placement, order, crossing_s)

        def attempt(groups: Sequence[int], device: int) -> None:
            nonlocal best, price
            trial = list(best)
            for group in groups:
                trial[group] = device
            found = self._price(trial, order, crossing_s) if trial != best else price
            if found < price:
                best, price = trial, found

        for _ in range(moves if len(self._names) > 1 else 0):
            attempt(self._random_run(rng), rng.randrange(len(self._names)))
        for group in order if moves else ():
            beside = (*self._dag.predecessors[group], *self._dag.successors[group])
            for device in sorted({best[other] for other in beside}):
                attempt([group], device)
        return tuple(best)

    def _price(self, placement: Sequence[int], order: Sequence[int], crossing_s: float) -> float:
        crossings = sum(placement[a] != placement[b] for a, b in self._dag.edges)
        return self.makespan(placement, order) + crossing_s * crossings

    def priority_order(self) -> list[int]:
        """Groups by falling distance to the end, which is a topological order."""
        mean_s = self._dag.whole_seconds.mean(axis=1)
        pairs = [(a, b) for a in range(len(self._names)) for b in range(len(self._names)) if a != b]
        per_byte = float(np.mean([self._per_byte[a][b] for a, b in pairs])) if pairs else 0.0
        delay = float(np.mean([self._delay[a][b] for a, b in pairs])) if pairs else 0.0
        way = {(arrival.source, group): 0.0 for group, found in enumerate(self._arrivals) for arrival in found}
        for group, found in enumerate(self._arrivals):
            for arrival in found:
                way[arrival.source, group] = max(way[arrival.source, group], delay + arrival.nbytes * per_byte)
        rank = [0.0] * len(self._dag)
        for group in reversed(range(len(self._dag))):
            after = [way[group, reader] + rank[reader] for reader in self._dag.successors[group]]
            rank[group] = float(mean_s[group]) + max(after, default=0.0)
        height = self._heights()
        return sorted(range(len(self._dag)), key=lambda group: (-rank[group], -height[group], group))

    def _heights(self) -> list[int]:
        """Edges to the end: what orders groups that take no time."""
        height = [0] * len(self._dag)
        for group in reversed(range(len(self._dag))):
            height[group] = max((height[reader] + 1 for reader in self._dag.successors[group]), default=0)
        return height

    def _random_run(self, rng: random.Random) -> list[int]:
        """A random group and up to 31 that follow it, each the only choice or a random one."""
        run = [rng.randrange(len(self._dag))]
        length = rng.choice((1, 2, 4, 8, 16, 32))
        while len(run) < length and self._dag.successors[run[-1]]:
            run.append(rng.choice(self._dag.successors[run[-1]]))
        return run

    def _finish(
        self,
        group: int,
        device: int,
        device_of: Sequence[int],
        done: Sequence[float],
        free: Sequence[float],
        last: Sequence[int],
    ) -> float:
        ready, waits = free[device], last[device] < 0
        for arrival in self._arrivals[group]:
            if arrival.source == CALLER:
                ready = max(ready, self._transfer(CALLER, device, arrival.nbytes))
            elif device_of[arrival.source] == device:
                ready = max(ready, done[arrival.source])
            else:
                sent = done[arrival.source] + self._transfer(device_of[arrival.source], device, arrival.nbytes)
                ready, waits = max(ready, sent), True
        return ready + (self._overhead_s[device] if waits else 0.0) + self._seconds[group][device]

    def _transfer(self, a: int, b: int, nbytes: int) -> float:
        if self._source is None and CALLER in (a, b):
            return 0.0
        a = self._source if a == CALLER and self._source is not None else a
        b = self._source if b == CALLER and self._source is not None else b
        return 0.0 if a == b else self._delay[a][b] + nbytes * self._per_byte[a][b]
