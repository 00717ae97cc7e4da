"""Small random models on small random fleets, the same for the same seed on every machine.

They are made to be awkward: ties, tensors of no bytes, outputs that are made early, shared parameters, fused tensors, equal
devices, links that differ by direction, tight memories, nanoseconds and days.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import permutations

from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.graph import Graph, Node
from multiedge.profile import Profile
from tests.builders.graphs import graph_of
from tests.builders.profiles import profile_of

SCALES_S = (1.0, 1.0, 1.0, 1e-9, 1e-4, 1e5)
SCALES_BYTES = (1, 1, 1000, 1 << 30)


@dataclass(frozen=True)
class Options:
    """What the cases of one test may hold."""

    nodes: tuple[int, int] = (1, 5)
    devices: tuple[int, int] = (1, 3)
    limited: bool = True
    powered: bool = False
    early_outputs: bool = True
    scales_s: tuple[float, ...] = SCALES_S
    overheads: bool = True


def random_case(seed: int, options: Options | None = None) -> tuple[Profile, Fleet]:
    """A model with times of its own on each device, and the fleet."""
    options = options or Options()
    rng = random.Random(seed)
    scale_s, scale_bytes = rng.choice(options.scales_s), rng.choice(SCALES_BYTES)
    graph = _graph(rng, rng.randint(*options.nodes), scale_bytes, early=options.early_outputs)
    fleet = _fleet(rng, options, graph, scale_s, scale_bytes)
    count = len(graph.nodes)
    draw = rng.choice([lambda: float(rng.randint(0, 3)), lambda: rng.uniform(0, 5)])
    common = [draw() * scale_s for _ in range(count)]
    seconds, overhead_s = {}, {}
    for device in fleet.devices:
        kind = rng.choice(["equal", "factor", "own"])
        factor = rng.choice([0.5, 2.0, 3.0]) if kind == "factor" else 1.0
        seconds[device.name] = [draw() * scale_s for _ in range(count)] if kind == "own" else [factor * each for each in common]
        overhead_s[device.name] = rng.choice([0.0, 0.0, 1.0]) * scale_s if options.overheads else 0.0
    fused = [name for name in _fusible(graph) if rng.random() < 0.15]
    return profile_of(graph, seconds, overhead_s=overhead_s, fused=fused), fleet


def _graph(rng: random.Random, count: int, scale_bytes: int, *, early: bool) -> Graph:
    nodes, parameters, made = [], {}, ["x"]
    for index in range(count):
        reads = list(
            dict.fromkeys([made[-1] if rng.random() < 0.7 else rng.choice(made), *rng.sample(made, rng.randint(0, 1))])
        )
        if index and rng.random() < 0.08:
            reads = []
        if rng.random() < 0.5:
            name = f"w{rng.randint(0, 2)}"
            parameters.setdefault(name, rng.choice([0, 1, 4, 9]) * scale_bytes)
            reads.append(name)
        writes = [f"t{index}"] if rng.random() < 0.85 else [f"t{index}", f"u{index}"]
        nodes.append(Node(f"n{index}", "Op", tuple(reads), tuple(writes)))
        made += writes
    read = {name for node in nodes for name in node.inputs}
    outputs = [name for name in made[1:] if name not in read]
    if early and rng.random() < 0.3:
        outputs.append(rng.choice(made[1:]))
    if not early:
        outputs = list(nodes[-1].outputs)
    sizes = {name: rng.choice([0, 1, 2, 5, 9]) * scale_bytes for name in made}
    return graph_of(*nodes, outputs=tuple(dict.fromkeys(outputs)), tensors=sizes, parameters=parameters)


def _fusible(graph: Graph) -> list[str]:
    """Tensors that a runtime could keep inside a fused node: the one output of their node, read by one other node only."""
    readers = {name: [node for node in graph.nodes if name in node.inputs] for node in graph.nodes for name in node.outputs}
    single = {node.outputs[0] for node in graph.nodes if len(node.outputs) == 1}
    return [name for name, found in readers.items() if len(found) == 1 and name in single and name not in graph.outputs]


def _fleet(rng: random.Random, options: Options, graph: Graph, scale_s: float, scale_bytes: int) -> Fleet:
    names = [f"d{index}" for index in range(rng.randint(*options.devices))]
    whole = sum(each.nbytes or 0 for each in [*graph.tensors.values(), *graph.parameters.values()])
    tight = options.limited and rng.random() < 0.6
    rate = scale_bytes / scale_s
    alike = rng.random() < 0.4
    devices: list[Device] = []
    for name in names:
        values = {}
        if tight and rng.random() < 0.8:
            runtime_bytes = rng.choice([0, 2]) * scale_bytes
            values = {"memory_bytes": runtime_bytes + round(rng.uniform(0.3, 2.0) * whole), "runtime_bytes": runtime_bytes}
            values |= {"memory_margin": rng.choice([0.0, 0.0, 0.12])}
        if options.powered or rng.random() < 0.7:
            idle_w = rng.choice([0.0, 1.0, 10.0])
            values |= {"power": Power(idle_w, idle_w + rng.choice([0.0, 1.0, 20.0]))}
            values |= {"joules_per_byte": rng.choice([0.0, 0.5, 5.0]) * scale_s / scale_bytes}
        values |= {"bandwidth_bytes_per_s": rng.choice([0.5, 2.0, 8.0, float("inf")]) * rate}
        values |= {"latency_s": rng.choice([0.0, 0.5, 2.0]) * scale_s}
        devices.append(Device(name, **values) if not (alike and devices) else Device(**{**vars(devices[0]), "name": name}))
    links = {}
    if rng.random() < 0.6:
        for pair in permutations(names, 2):
            if rng.random() < 0.8:
                latency_s, loss = rng.choice([0.0, 0.5, 2.0]) * scale_s, rng.choice([0.0, 0.0, 0.2])
                links[pair] = Link(rng.choice([0.5, 1.0, 4.0, float("inf")]) * rate, latency_s, loss=loss)
    return Fleet(tuple(devices), links, source=rng.choice([None, *names]))
