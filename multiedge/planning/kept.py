"""Costs of a model with states, as strategies see them.

What every layer reads and is made from token positions alone, such as the causal mask and rotary tables, would cross each cut.
A stage can make it for itself instead. Which nodes are computed again is a minimum cut: a node that is costs its seconds, a
tensor that is sent costs its bytes on a link of the fleet. The memory of states is that of all sequences.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise, permutations
from statistics import median

import numpy as np

from multiedge.fleet import Fleet
from multiedge.graph import Graph, Node, Tensor
from multiedge.profile import Profile
from multiedge.states import KEPT_ANSWERS, KEPT_BYTES, KEPT_STEP_BYTES, SEQUENCE

LEAST_BYTE_S = 1e-8
"""No link is taken as faster than 100 MB/s: to send a byte takes time on both processors, too."""
GROWTH = 1e6
"""How much longer a sequence may become than it was planned for: what grows with it is not sent if it can be made again."""
MOST_TABLE_BYTES = 1 << 20
"""A node that reads a larger parameter is not computed again: each stage would hold that."""
MOST_PAIRS = 256
"""Links that are looked at for the price of a byte."""
PLACES = 8
"""Boundaries, at least, at which prices are compared."""
STATES_OF_A_LAYER = 2
"""Keys and values."""
MEASURES = ("Shape", "Size")
"""Operators that make sizes, which are small, of what may be large."""
Vertex = tuple[str, str]


def with_kept_states(profile: Profile, fleet: Fleet, sequences: int = 1, recomputed: Sequence[str] | None = None) -> Profile:
    """The costs of a model whose stages keep states and compute again what is cheaper than sending it.

    Args:
        profile: Costs of the model.
        fleet: The devices.
        sequences: Sequences whose states a stage holds at the same time.
        recomputed: Tensors that stages compute again; None for those that cost less so.

    Returns:
        The Profile: what is computed again takes its time in each stage, as part of its overhead. The profile itself if the
        model has no states.
    """
    if not profile.graph.states:
        return profile
    if not profile.graph.recomputed and not profile.spans:
        profile = _with_recomputed(profile, cheaper_again(profile, fleet) if recomputed is None else recomputed)
    return replace(profile, graph=with_sequences(profile.graph, sequences))


def with_sequences(graph: Graph, sequences: int) -> Graph:
    """The graph whose states take the memory of several sequences: each has its own, and a step of one needs room for its next
    states, unless they are written to the buffer of the last ones. What a stage with states keeps of its answers is a parameter
    that all nodes of states read: it counts once for each stage."""
    parameters = dict(graph.parameters)
    for state in graph.states:
        copies = sequences + (0 if state.shared else 1)
        parameters[state.input] = replace(parameters[state.input], nbytes=graph.size_of(state.output) * copies)
    parameters[KEPT_ANSWERS] = Tensor(KEPT_ANSWERS, nbytes=kept_answer_bytes(graph) * sequences)
    with_states = {node for nodes in graph.state_nodes.values() for node in nodes}
    nodes = (
        replace(node, captures=tuple(dict.fromkeys((*node.captures, KEPT_ANSWERS)))) if index in with_states else node
        for index, node in enumerate(graph.nodes)
    )
    return replace(graph, nodes=tuple(nodes), parameters=parameters, sequences=sequences)


def kept_answer_bytes(graph: Graph) -> int:
    """The bytes of answers that a stage keeps of a sequence that has the context of the graph: of each step what crosses from
    one layer to the next. All that it may keep where states do not grow, since nothing says how many steps there are."""
    size = graph.step_size
    if size is None:
        return KEPT_BYTES
    made = [graph.producer[state.output] for state in graph.states]
    inner = range(min(made) + 1, max(made) + 1)
    crossing = [
        sum(graph.size_of(name) for name in graph.cuts[after].tensors if name in graph.producer)
        for after in inner
        if after not in graph.closed_boundaries
    ]
    return min(KEPT_BYTES, (min(crossing, default=0) // size.tokens + KEPT_STEP_BYTES) * size.context)


def recomputing(graph: Graph, names: Iterable[str]) -> Graph:
    """The graph in which each stage that reads one of these tensors makes it.

    Args:
        graph: The model.
        names: Tensors that nodes make.

    Returns:
        The Graph: the tensors are parameters, and their readers capture what they are made from.
    """
    made = {name for name in names if name in graph.producer}
    if not made:
        return graph
    sources: dict[str, dict[str, None]] = {}
    for index, node in enumerate(graph.nodes):
        if made.intersection(node.writes):
            reads = [name for name in graph.activations[index] if name not in made]
            inner = [name for read in graph.activations[index] if read in made for name in sources[read]]
            sources.update({name: dict.fromkeys((*reads, *inner)) for name in node.writes})

    def capturing(node: Node) -> Node:
        needed = dict.fromkeys(name for read in node.reads if read in made for name in sources[read] if name not in node.reads)
        return replace(node, captures=(*node.captures, *needed)) if needed and not made.intersection(node.writes) else node

    return replace(
        graph,
        nodes=tuple(map(capturing, graph.nodes)),
        parameters={**graph.parameters, **{name: graph.tensors[name] for name in sorted(made)}},
        recomputed=tuple(sorted({*graph.recomputed, *made})),
    )


def cheaper_again(profile: Profile, fleet: Fleet) -> tuple[str, ...]:
    """The tensors that cost less to be made again in a stage than to be sent to it.

    Args:
        profile: Costs of the model.
        fleet: The devices.

    Returns:
        Names, in the order of the model.
    """
    graph = profile.graph
    nodes = _of_positions(graph)
    byte_s = _byte_s(fleet)
    times = [profile.seconds_on(device) for device in fleet.names]
    seconds = {node: median(float(each[node]) for each in times) for node in nodes}
    again: set[int] = set()
    for boundary in _boundaries(graph):
        again |= _again_behind(graph, nodes, boundary, seconds, byte_s)
    return tuple(name for node in sorted(again) for name in graph.nodes[node].writes)


def _with_recomputed(profile: Profile, names: Sequence[str]) -> Profile:
    nodes = sorted({profile.graph.producer[name] for name in names})
    seconds = {device: times.copy() for device, times in profile.seconds.items()}
    overhead_s = dict(profile.overhead_s)
    for device, times in seconds.items():
        overhead_s[device] = overhead_s.get(device, 0.0) + float(times[nodes][np.isfinite(times[nodes])].sum())
        times[nodes] = np.where(np.isfinite(times[nodes]), 0.0, times[nodes])
    return replace(profile, graph=recomputing(profile.graph, names), seconds=seconds, overhead_s=overhead_s)


def _of_positions(graph: Graph) -> frozenset[int]:
    """Nodes that depend on integer inputs and sizes alone, read no large parameter, and make no result."""
    known = {name for name in graph.inputs if name != SEQUENCE and _is_integer(graph, name)}
    looped = {state.input for state in graph.states}
    kept = {*graph.outputs, *(state.output for state in graph.states)}
    found = set()
    for index, node in enumerate(graph.nodes):
        reads, parameters = _sent(graph, index), graph.parameters_read[index]
        is_light = looped.isdisjoint(parameters) and all(graph.size_of(name) <= MOST_TABLE_BYTES for name in parameters)
        is_whole = bool(reads) and known.issuperset(reads) and not node.bodies
        if is_whole and is_light and kept.isdisjoint(node.writes):
            found.add(index)
            known.update(node.writes)
        elif node.op_type in MEASURES:
            known.update(node.writes)
    return frozenset(found)


def _sent(graph: Graph, index: int) -> list[str]:
    """The activations that a node reads, without SEQUENCE, which each stage has anyway."""
    return [name for name in graph.activations[index] if name != SEQUENCE]


def _is_integer(graph: Graph, name: str) -> bool:
    dtype = graph.tensors[name].dtype or ""
    return "int" in dtype or dtype == "bool"


def _boundaries(graph: Graph) -> list[int]:
    """Boundaries in layers behind the first one, which are told by their states: what is alive there is read by several
    layers."""
    layers = sorted({nodes[0] for nodes in graph.state_nodes.values()})[STATES_OF_A_LAYER:]
    step = max(1, len(layers) // PLACES)
    return layers[::step]


def _byte_s(fleet: Fleet) -> float:
    """Seconds of a byte on the middle one of the links between devices."""
    pairs = islice(permutations(fleet.names, 2), MOST_PAIRS)
    return max(LEAST_BYTE_S, median([fleet.link(*pair).occupancy_s(1.0) for pair in pairs] or [0.0]))


def _again_behind(graph: Graph, nodes: frozenset[int], boundary: int, seconds: Mapping[int, float], byte_s: float) -> set[int]:
    """The nodes before a boundary that are cheaper to be computed again behind it than to have their results sent."""
    network: dict[Vertex, dict[Vertex, float]] = defaultdict(lambda: defaultdict(float))
    source, sink = ("", "source"), ("", "sink")
    pending = [
        name
        for index in range(boundary, len(graph.nodes))
        for name in _sent(graph, index)
        if graph.producer.get(name, boundary) in nodes and graph.producer[name] < boundary
    ]
    for name in pending:
        network[source]["tensor", name] = math.inf
    seen, growing = set(pending), frozenset(graph.growing)
    while pending:
        name = pending.pop()
        maker = graph.producer.get(name)
        price = graph.size_of(name) * byte_s * (GROWTH if name in growing else 1.0)
        if maker not in nodes or maker is None:
            network["tensor", name][sink] = price
            continue
        node = ("node", str(maker))
        network["tensor", name][node] = price
        network[node][sink] = seconds[maker] if maker < boundary else 0.0
        for read in _sent(graph, maker):
            network[node]["tensor", read] = math.inf
            if read not in seen:
                seen.add(read)
                pending.append(read)
    reached = _source_side(network, source, sink)
    return {node for node in nodes if node < boundary and ("node", str(node)) in reached}


def _source_side(network: dict[Vertex, dict[Vertex, float]], source: Vertex, sink: Vertex) -> set[Vertex]:
    """The vertices on the source's side of a minimum cut (Edmonds and Karp, "Theoretical improvements in algorithmic efficiency
    for network flow problems", 1972)."""
    while True:
        before: dict[Vertex, Vertex] = {source: source}
        queue = deque([source])
        while queue and sink not in before:
            vertex = queue.popleft()
            for following, left in network[vertex].items():
                if left > 0 and following not in before:
                    before[following] = vertex
                    queue.append(following)
        if sink not in before:
            return set(before)
        path = [sink]
        while path[-1] != source:
            path.append(before[path[-1]])
        hops = [(earlier, after) for after, earlier in pairwise(path)]
        flow = min(network[a][b] for a, b in hops)
        for a, b in hops:
            network[a][b] -= flow
            network[b][a] += flow
