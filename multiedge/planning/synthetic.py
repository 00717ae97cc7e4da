"""Made-up models and fleets of any size from a seed, to try strategies on: for tests, benchmarks and experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.graph import Graph, Node, Tensor
from multiedge.profile import Floats, Profile

MIB = 1 << 20


def synthetic_graph(nodes: int, seed: int = 0, *, skips: float = 0.3, outputs: int = 1, shared: float = 0.1) -> Graph:
    """A connected graph of `nodes` nodes in topological order.

    Each node reads its predecessor's tensor and, with probability `skips`, one made up to eight nodes before. Tensors
    and parameters have random sizes; a share `shared` of the nodes reads the parameter of an earlier node as well.
    The last `outputs` results are spread over the graph, the last node's among them.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 64, nodes + 1) * 4096
    tensors = {"t0": Tensor("t0", "float32", (int(sizes[0]) // 4,), int(sizes[0]))}
    parameters = {}
    made = []
    for index in range(nodes):
        reads = [f"t{index}"]
        if rng.random() < skips:
            reads.append(f"t{int(rng.integers(max(0, index - 8), index + 1))}")
        if rng.random() < 0.7:
            nbytes = int(rng.integers(1, 256)) * 4096
            parameters[f"w{index}"] = Tensor(f"w{index}", "float32", (nbytes // 4,), nbytes)
            reads.append(f"w{index}")
        if parameters and rng.random() < shared:
            reads.append(str(rng.choice(list(parameters))))
        name, nbytes = f"t{index + 1}", int(sizes[index + 1])
        tensors[name] = Tensor(name, "float32", (nbytes // 4,), nbytes)
        made.append(Node(f"n{index}", "Op", tuple(dict.fromkeys(reads)), (name,)))
    early = [int(at) + 1 for at in rng.choice(nodes - 1, min(outputs, nodes) - 1, replace=False)] if nodes > 1 else []
    results = tuple(f"t{index}" for index in sorted({*early, nodes}))
    return Graph(
        f"synthetic-{nodes}", tuple(made), ("t0",), results, tensors, parameters, model_hash=f"synthetic-{nodes}-{seed}"
    )


def synthetic_fleet(
    counts: Sequence[int], seed: int = 0, *, memory_bytes: Sequence[int] | None = None, links: bool = True, source: bool = False
) -> Fleet:
    """A fleet with counts[i] equal devices of type i, named 'a0', 'a1', 'b0', ...

    Types differ in speed, watts and interface; with `links` the pairs of types have links of their own. `memory_bytes`
    is by type. With `source` the first device is where items arise.
    """
    rng = np.random.default_rng(seed)
    devices: list[Device] = []
    kinds: list[int] = []
    for kind, count in enumerate(counts):
        speed, idle_w = float(rng.uniform(0.25, 2.0)), float(rng.uniform(1, 10))
        like = Device(
            name="",
            type=chr(ord("a") + kind % 26),
            memory_bytes=1 << 40 if memory_bytes is None else int(memory_bytes[kind]),
            speed=speed,
            bandwidth_bytes_per_s=float(rng.uniform(5, 120)) * 1e6,
            latency_s=float(rng.uniform(0, 2e-3)),
            power=Power(idle_w, idle_w + float(rng.uniform(2, 40)) * speed, "synthetic"),
            joules_per_byte=float(rng.uniform(0, 2e-7)),
        )
        for number in range(count):
            devices.append(replace(like, name=f"{like.type}{number}" if kind < 26 else f"{like.type}{kind}_{number}"))
            kinds.append(kind)
    declared: dict[tuple[str, str], Link] = {}
    if links:
        table = {
            (a, b): Link(float(10 ** rng.uniform(6, 8.5)), float(rng.uniform(0, 3e-3)))
            for a in range(len(counts))
            for b in range(len(counts))
        }
        for first, a in zip(devices, kinds, strict=True):
            for second, b in zip(devices, kinds, strict=True):
                if first is not second:
                    declared[first.name, second.name] = table[a, b]
    return Fleet(tuple(devices), declared, name=f"synthetic-{len(devices)}", source=devices[0].name if source else None)


def synthetic_profile(graph: Graph, fleet: Fleet, seed: int = 0, *, unrelated: float = 0.3, overhead_s: float = 0.0) -> Profile:
    """Times of `graph` on the fleet: work / speed, each node up to `unrelated` faster or slower, alike for one type."""
    rng = np.random.default_rng(seed)
    count = len(graph.nodes)
    macs = (rng.gamma(0.7, 2e8, count) + 1e5).astype(np.int64)
    flops = (2 * macs).astype(np.float64)
    per_type: dict[str, Floats] = {}
    seconds = {}
    for device in fleet.devices:
        factors = per_type.setdefault(device.type, rng.uniform(1 - unrelated, 1 + unrelated, count))
        seconds[device.name] = flops / (2e10 * (device.speed or 1.0)) * factors
    return Profile(
        graph,
        macs,
        flops,
        seconds,
        dict.fromkeys(seconds, "synthetic"),
        overhead_s=dict.fromkeys(seconds, overhead_s),
    )
