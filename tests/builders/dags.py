"""Small random models and fleets, and the best plan of each by trying them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product

import numpy as np
from hypothesis import strategies as st

from multiedge.fleet import Device, Fleet, Link
from multiedge.graph import Graph, Node, Tensor
from multiedge.plan import Stage, Transfer, direct_transfers, relay_transfers
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.profile import Profile


@st.composite
def graphs(draw: st.DrawFn, most_nodes: int = 5) -> Graph:
    """A connected-enough graph: each node reads one or two earlier tensors or the input, some read a parameter, and one
    in eight reads nothing, as constants do."""
    count = draw(st.integers(1, most_nodes))
    tensors, parameters, nodes = {"x": Tensor("x", nbytes=draw(st.integers(1, 9)))}, {}, []
    for index in range(count):
        made = ["x", *(f"t{earlier}" for earlier in range(index))]
        reads = draw(st.lists(st.sampled_from(made), min_size=1, max_size=2, unique=True))
        if index and draw(st.integers(0, 7)) == 0:
            reads = []
        if draw(st.booleans()):
            name = f"w{draw(st.integers(0, 2))}"
            parameters.setdefault(name, Tensor(name, nbytes=draw(st.integers(1, 9))))
            reads.append(name)
        nodes.append(Node(f"n{index}", "Op", tuple(reads), (f"t{index}",)))
        tensors[f"t{index}"] = Tensor(f"t{index}", nbytes=draw(st.integers(1, 9)))
    unread = [f"t{i}" for i in range(count) if not any(f"t{i}" in node.inputs for node in nodes)]
    return Graph("random", tuple(nodes), ("x",), tuple(unread), tensors, parameters)


def fused_sets(graph: Graph) -> st.SearchStrategy[frozenset[str]]:
    """Tensors that a runtime could fuse away: each the one output of its node, read by one other node only."""
    single = [
        name
        for name, maker in graph.producer.items()
        if len(graph.consumers.get(name, ())) == 1 and len(graph.nodes[maker].writes) == 1 and name not in graph.outputs
    ]
    return st.just(frozenset[str]()) | st.frozensets(st.sampled_from(single), max_size=3) if single else st.just(frozenset())


def keeps_fused(profile: Profile, stages: Sequence[Stage]) -> bool:
    """Whether the maker and the readers of each fused tensor are in one stage."""
    graph = profile.graph
    home = {node: index for index, stage in enumerate(stages) for node in stage.nodes}
    tied = [(graph.producer[name], *graph.consumers[name]) for name in profile.fused]
    return all(len({home[node] for node in nodes}) == 1 for nodes in tied)


@st.composite
def instances(
    draw: st.DrawFn, most_nodes: int = 5, most_devices: int = 3, limited: bool = True, least_devices: int = 1
) -> tuple[Profile, Fleet]:
    """A profile with times of its own for each device, and a fleet with links of different speed."""
    graph = draw(graphs(most_nodes))
    names = [f"d{i}" for i in range(draw(st.integers(least_devices, most_devices)))]
    memory = st.integers(15, 80) if limited else st.none()
    devices = tuple(
        Device(name, memory_bytes=draw(memory), runtime_bytes=draw(st.integers(0, 3)) if limited else 0) for name in names
    )
    rates = st.sampled_from([0.5, 1.0, 2.0, 8.0, float("inf")])
    links = {pair: Link(draw(rates), latency_s=draw(st.sampled_from([0.0, 0.5, 2.0]))) for pair in permutations(names, 2)}
    fleet = Fleet(devices, links, source=draw(st.sampled_from([None, *names])))
    count = len(graph.nodes)
    times = st.lists(st.integers(0, 9), min_size=count, max_size=count)
    seconds = {name: np.array(draw(times), dtype=float) for name in names}
    overhead_s = {name: float(draw(st.integers(0, 2))) for name in names}
    zeros = np.zeros(count)
    fused = draw(fused_sets(graph))
    return Profile(graph, zeros.astype(np.int64), zeros, seconds, overhead_s=overhead_s, fused=fused), fleet


Placed = tuple[list[Stage], tuple[Transfer, ...]]


def one_stage_per_device(profile: Profile, fleet: Fleet) -> Iterator[Placed]:
    """Every plan that can run, keeps fused nodes whole, with at most one stage per device and direct transfers."""
    for choice in product(fleet.names, repeat=len(profile)):
        for order in permutations(sorted(set(choice))):
            stages = [Stage(d, tuple(v for v in range(len(choice)) if choice[v] == d)) for d in order]
            transfers = direct_transfers(profile.graph, stages)
            if keeps_fused(profile, stages) and not violations(profile, fleet, stages, transfers):
                yield stages, transfers
                break


def contiguous(profile: Profile, fleet: Fleet) -> Iterator[Placed]:
    """Every plan that can run, keeps fused nodes whole and cuts the order of nodes into stages that hand on all that is
    still needed."""
    count = len(profile)
    for stops in product((False, True), repeat=count - 1):
        edges = [0, *(index + 1 for index, stop in enumerate(stops) if stop), count]
        for order in permutations(fleet.names, len(edges) - 1):
            stages = [Stage.span(d, a, b) for d, a, b in zip(order, edges, edges[1:], strict=False)]
            transfers = relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())
            if keeps_fused(profile, stages) and not violations(profile, fleet, stages, transfers):
                yield stages, transfers


def least(profile: Profile, fleet: Fleet, placed: Iterator[Placed], objective: str) -> float | None:
    """The smallest value of the objective over the plans, None if there are none."""
    values = (cost.objective_value(objective, cost.estimate(profile, fleet, *plan)) for plan in placed)
    return min(values, default=None)
