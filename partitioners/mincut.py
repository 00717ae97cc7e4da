"""Two devices, no memory limits: the placement of least serial time as a minimum cut of the graph.

Nodes on the source's side of the cut run on the first device, the others on the second; they may interleave. The weight
of a cut is the time of one request that does one thing after another,

    sum over nodes of seconds on its device + sum over tensors of transfer time, once per tensor and receiving device

by one auxiliary vertex per tensor and direction, as in DADS (Hu et al., INFOCOM 2019), which extends Neurosurgeon's cut
of a chain (Kang et al., ASPLOS 2017).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from time import perf_counter

import numpy as np

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet, Link
from multiedge.plan import CALLER, Plan, Stage, direct_transfers
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from multiedge.proof import Plans, Scope
from partitioners.engine.contract import unused
from partitioners.engine.dag import Dag, build_dag
from partitioners.engine.dag_search import Placement
from partitioners.engine.latency_bound import latency_bound
from partitioners.engine.staging import widest_stages

_SCALE = 1 << 29
"""The flow solver counts in 32-bit integers: the whole of one device's time is this many units, so a cut's weight is
right to some 2e-9 of it per edge."""


class MinCut:
    """Least serial time of one request over all placements on two devices; with more devices, on the best two of them.

    The plan's latency, which lets stages and transfers overlap, is at most that (overhead per stage apart). Placements
    that would not fit memory are refused, since the cut does not see it.
    """

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The best plan, its note naming the least serial time; InfeasibleError if it exceeds a memory."""
        start = perf_counter()
        profile.require_additive(fleet.names)
        dag = build_dag(profile, fleet)
        places = range(len(fleet.names))
        pairs = list(combinations(places, 2)) or [(0, 0)]
        found = [least_serial_placement(dag, fleet, pair) for pair in pairs]
        stages = min(
            (widest_stages(dag, fleet, placement) for placement, _ in found),
            key=lambda each: cost.estimate(profile, fleet, each, direct_transfers(profile.graph, each)).latency_s,
        )
        serial_s = min(seconds for _, seconds in found)
        return _plan(profile, fleet, stages, serial_s, start)


def _plan(profile: Profile, fleet: Fleet, stages: tuple[Stage, ...], serial_s: float, start: float) -> Plan:
    transfers = direct_transfers(profile.graph, stages)
    wrong = violations(profile, fleet, stages, transfers)
    if wrong:
        raise InfeasibleError(
            f"mincut: {'; '.join(wrong)}; the cut does not see memory, use 'latency' or 'branches' for this fleet", wrong
        )
    plan = cost.make_plan("mincut", "latency", profile, fleet, stages, transfers)
    return replace(
        plan,
        lower_bound=min(plan.value, latency_bound(profile, fleet)),
        scope=Scope(Plans.ALL),
        solve_s=perf_counter() - start,
        left_out=unused(fleet, stages, "the cut of least serial time takes two devices at most, and is best without it"),
        notes=(f"least serial time of any placement: {serial_s:.6g} s",),
    )


def least_serial_placement(dag: Dag, fleet: Fleet, pair: tuple[int, int]) -> tuple[Placement, float]:
    """The device of each group, one of `pair`, and its serial time, which is the least."""
    first, second = pair
    if first == second:
        return (first,) * len(dag), serial_seconds(dag, fleet, (first,) * len(dag))
    network = _Network(len(dag))
    for group in range(len(dag)):
        network.add(network.source, group, float(dag.whole_seconds[group, second]))
        network.add(group, network.sink, float(dag.whole_seconds[group, first]))
    for message in dag.messages:
        ends = (first, second)
        if message.source == CALLER:
            into = [_seconds(fleet, None, end, message.nbytes) for end in ends]
            network.tensor(network.sink, message.readers, 0.0, into[0])
            network.tensor(network.source, message.readers, into[1], 0.0)
            continue
        there = _seconds(fleet, first, second, message.nbytes)
        back = _seconds(fleet, second, first, message.nbytes)
        network.tensor(message.source, message.readers, there, back)
        if message.returned:
            network.add(network.source, message.source, _seconds(fleet, second, None, message.nbytes))
            network.add(message.source, network.sink, _seconds(fleet, first, None, message.nbytes))
    on_first = network.source_side()
    placement = tuple(first if group in on_first else second for group in range(len(dag)))
    return placement, serial_seconds(dag, fleet, placement)


def serial_seconds(dag: Dag, fleet: Fleet, placement: Placement) -> float:
    """Time of one request that computes and sends one thing after another, overhead per stage left out."""
    total = float(dag.whole_seconds[np.arange(len(dag)), list(placement)].sum())
    for message in dag.messages:
        source = None if message.source == CALLER else placement[message.source]
        targets = {placement[reader] for reader in message.readers if placement[reader] != source}
        total += sum(_seconds(fleet, source, target, message.nbytes) for target in targets)
        total += _seconds(fleet, source, None, message.nbytes) if message.returned else 0.0
    return total


def _seconds(fleet: Fleet, a: int | None, b: int | None, nbytes: int) -> float:
    """Transfer time between devices, None being the caller."""
    source = fleet.source if a is None else fleet.names[a]
    target = fleet.source if b is None else fleet.names[b]
    link = Link() if source is None or target is None else fleet.link(source, target)
    return link.transfer_s(nbytes)


class _Network:
    """A flow network: vertices 0 ... n-1 are groups, then source and sink, then one vertex per tensor and direction."""

    def __init__(self, groups: int) -> None:
        self.source, self.sink = groups, groups + 1
        self._vertices = groups + 2
        self._edges: list[tuple[int, int, float]] = []

    def add(self, a: int, b: int, seconds: float) -> None:
        """An edge that costs `seconds` if a is on the source's side and b is not."""
        if seconds > 0 and a != b:
            self._edges.append((a, b, seconds))

    def tensor(self, maker: int, readers: tuple[int, ...], there_s: float, back_s: float) -> None:
        """Costs `there_s` once if the maker is on the source's side and any reader is not; `back_s` the other way."""
        if there_s > 0:
            self.add(maker, self._vertices, there_s)
            self._edges += [(self._vertices, reader, np.inf) for reader in readers]
            self._vertices += 1
        if back_s > 0:
            self.add(self._vertices, maker, back_s)
            self._edges += [(reader, self._vertices, np.inf) for reader in readers]
            self._vertices += 1

    def source_side(self) -> set[int]:
        """The vertices on the source's side of a minimum cut."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        most = min(self._total(self.source, 0), self._total(self.sink, 1)) or 1.0
        # No minimum cut holds an edge that outweighs putting everything on one side, rounding of each edge included.
        ceiling = _SCALE + len(self._edges)
        units = [min(round(seconds / most * _SCALE), ceiling) if seconds < np.inf else ceiling for *_, seconds in self._edges]
        rows, columns = [a for a, *_ in self._edges], [b for _, b, _ in self._edges]
        shape = (self._vertices, self._vertices)
        capacity = coo_matrix((np.array(units, dtype=np.int64), (rows, columns)), shape=shape).tocsr()
        capacity.data = np.minimum(capacity.data, ceiling).astype(np.int32)
        capacity = capacity.astype(np.int32)
        flow = maximum_flow(capacity, self.source, self.sink).flow
        residual = (capacity - flow).tocsr()
        residual.data = np.maximum(residual.data, 0)
        residual.eliminate_zeros()
        reached = breadth_first_order(residual, self.source, return_predecessors=False)
        return {int(vertex) for vertex in reached}

    def _total(self, vertex: int, side: int) -> float:
        return float(sum(edge[2] for edge in self._edges if edge[side] == vertex))
