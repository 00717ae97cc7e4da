"""Small random models on small random fleets, the same for the same seed on every machine.

They are made to be awkward: ties, tensors of no bytes, outputs that are made early, shared parameters, fused tensors, equal
devices, links that differ by direction, tight memories, nanoseconds and days.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.graph import Graph, Node
from multiedge.profile import Floats, Profile
from multiedge.spans import BatchedSpans, MeasuredSpans, SpanCost
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
    spans: bool = False
    """Whether the times of some devices do not add up."""


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
    profile = profile_of(graph, seconds, overhead_s=overhead_s, fused=fused)
    return (replace(profile, spans=_spans(rng, profile, scale_s)) if options.spans else profile), fleet


def _spans(rng: random.Random, profile: Profile, scale_s: float) -> dict[str, SpanCost]:
    """Times of most devices that do not add up: batches that memory limits, and tables with holes, dearer or cheaper than sums.

    Devices with the same times get equal costs or, at times, costs of their own.
    """
    alike: dict[tuple[float, ...], SpanCost] = {}
    spans: dict[str, SpanCost] = {}
    for name, seconds in profile.seconds.items():
        cost = rng.choice([_batched, _measured, _measured])(rng, seconds, scale_s)
        if rng.random() < 0.7:
            spans[name] = alike.setdefault(tuple(seconds), cost) if rng.random() < 0.8 else cost
    return spans


def _batched(rng: random.Random, seconds: Floats, scale_s: float) -> SpanCost:
    count = len(seconds)
    room, most = float(rng.randint(12, 60)), rng.choice([1, 4, 8])
    state = np.array([rng.choice([0, 1, 3]) for _ in range(count)])
    return BatchedSpans(seconds * rng.choice([1.0, 3.0]), seconds + 0.1 * scale_s, np.full(count, 8), state, room, most)


def _measured(rng: random.Random, seconds: Floats, scale_s: float) -> SpanCost:
    """Spans of some length at most, between all boundaries or some; longer ones may be quicker than shorter ones."""
    count = len(seconds)
    inner = [boundary for boundary in range(1, count) if rng.random() < 0.85]
    ends = (0, *inner, count)
    longest, bend = rng.randint(1, count + 1), rng.choice([0.5, 1.0, 1.5])
    table = np.full((len(ends), len(ends)), np.inf)
    for i, start in enumerate(ends):
        for j, stop in enumerate(ends[i + 1 :], i + 1):
            if stop - start <= longest and rng.random() < 0.95:
                own = float(seconds[start:stop].sum()) + 0.2 * scale_s
                table[i, j] = own * (stop - start) ** (bend - 1) * rng.choice([1.0, 1.0, 0.5])
    return MeasuredSpans(ends, table)


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
