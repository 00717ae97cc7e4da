"""What no plan can beat in the time of one request."""

from __future__ import annotations

import numpy as np

from multiedge.fleet import Fleet
from multiedge.profile import Floats, Profile
from partitioners.engine.load_bound import load_bound
from partitioners.engine.times import node_seconds


def latency_bound(profile: Profile, fleet: Fleet) -> float:
    """The larger of the longest path through the graph and the load bound; holds for every plan.

    f[v, d] is the earliest that node v can be done on device d, each path to it taken alone:

        f[v, d] = seconds[v, d] + max over tensors m that v reads of min over devices e of
                  (f[u, e] + transfer(e, d, m) + overhead_d if e != d)                  u makes m; f is 0 at the caller

    where transfer takes the fastest way, over other devices if that is faster, as plans that hand on do. It is the
    optimum for a chain of nodes, and below it where branches share devices or links.
    """
    graph, names = profile.graph, fleet.names
    overhead = np.array([profile.overhead_s.get(name, 0.0) for name in names])
    seconds = node_seconds(profile, fleet)
    ways = _Ways(fleet)
    done = np.zeros((len(profile), len(names)))
    for node in range(len(profile)):
        ready = overhead
        for name in graph.activations_read(node):
            size = graph.size_of(name)
            if name in graph.producer:
                before = done[graph.producer[name]]
                arrivals = before[:, None] + ways.between(size) + overhead[None, :]
                np.fill_diagonal(arrivals, before)
                ready = np.maximum(ready, arrivals.min(axis=0))
            else:
                ready = np.maximum(ready, overhead + ways.from_caller(size))
        done[node] = ready + seconds[node]
    last = [float(done[node].min()) for node in range(len(profile))]
    for name in graph.outputs:
        if name in graph.producer:
            size = graph.size_of(name)
            last.append(float((done[graph.producer[name]] + ways.to_caller(size)).min()))
    return max(max(last, default=0.0), load_bound(seconds))


class _Ways:
    """Seconds that a message needs at least from each device to each other, relays allowed."""

    def __init__(self, fleet: Fleet) -> None:
        links = [[fleet.link(a, b) for b in fleet.names] for a in fleet.names]
        self._per_byte = np.array([[link.occupancy_s(1.0) for link in row] for row in links])
        self._delay = np.array([[link.latency_s for link in row] for row in links])
        self._source = None if fleet.source is None else fleet.names.index(fleet.source)
        self._known: dict[int, Floats] = {}

    def between(self, nbytes: int) -> Floats:
        """(from, to)."""
        if nbytes not in self._known:
            seconds = self._delay + nbytes * self._per_byte
            for via in range(len(seconds)):
                seconds = np.minimum(seconds, seconds[:, via : via + 1] + seconds[via : via + 1, :])
            self._known[nbytes] = seconds
        return self._known[nbytes]

    def from_caller(self, nbytes: int) -> Floats:
        free: Floats = np.zeros(len(self._delay))
        return free if self._source is None else self.between(nbytes)[self._source]

    def to_caller(self, nbytes: int) -> Floats:
        free: Floats = np.zeros(len(self._delay))
        return free if self._source is None else self.between(nbytes)[:, self._source]
