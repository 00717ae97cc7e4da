"""Placements of language models on the instances that Helix was published with: our rate, our bound, and theirs.

    python benchmarks/helix.py [--instances NAME,...] [--time-limit 55] [--seed 0] [--json FILE]

An instance states how many tokens per second a node passes by the number of layers that it holds, and what each link carries
(benchmarks/data/helix-instances.json, from Helix, ASPLOS 2025). The engine is that of the strategy `flow`. Each placement is
checked here without the engine's code: the flow on each link by its limits, and the largest flow by a linear program of its
own. The record holds each placement, with the flow of each link.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables
from benchmarks.page import Benchmark
from benchmarks.record import Case, Figure, Measure, Record, Row, add_option
from benchmarks.tables import figure, table
from multiedge.errors import ConfigError, did_you_mean
from partitioners.engine.flow_network import OUTSIDE, Flow, Network
from partitioners.engine.flow_uniform import solve_uniform

DATA = Path(__file__).resolve().parent / "data" / "helix-instances.json"
TOLERANCE = 1e-6
SOURCE, SINK = -1, -2

Hop = tuple[int, int]


@dataclass(frozen=True)
class Instance:
    """Nodes, layers and links; rates in tokens per second.

    Attributes:
        name: Name in the file.
        layers: Layers of the model.
        rates: By node, what it passes when it holds 1, 2, ... layers.
        links: What each (from, to) carries; SOURCE and SINK are where tokens come from and go to.
        published: Objective, bound and seconds that Helix published.
    """

    name: str
    layers: int
    rates: tuple[tuple[float, ...], ...]
    links: Mapping[Hop, float]
    published: Mapping[str, float]


def instances() -> dict[str, Instance]:
    """The published instances by name."""
    data = json.loads(DATA.read_text(encoding="utf-8"))["instances"]
    return {name: _instance(name, each) for name, each in data.items()}


def _instance(name: str, data: dict[str, Any]) -> Instance:
    links = {(a, b): rate for a, b, rate in data["links"]}
    links |= {(SOURCE, node): rate for node, rate in data["from_source"]}
    links |= {(node, SINK): rate for node, rate in data["to_sink"]}
    rates = tuple(tuple(each) for each in data["tokens_per_s_by_layers_held"])
    return Instance(name, data["layers"], rates, links, data["published"])


def network_of(instance: Instance) -> Network:
    """The instance for the engine: an item is a token, and each message has one byte."""
    layers, count = instance.layers, len(instance.rates)
    spans = []
    for rates in instance.rates:
        seconds = np.full((layers + 1, layers + 1), np.inf)
        for held, rate in enumerate(rates, 1):
            starts = np.arange(layers + 1 - held)
            seconds[starts, starts + held] = 1.0 / rate
        spans.append(seconds)
    between = np.full((count, count), np.inf)
    enter, leave = np.full(count, np.inf), np.full(count, np.inf)
    for (a, b), rate in instance.links.items():
        if a == SOURCE:
            enter[b] = 1.0 / rate
        elif b == SINK:
            leave[a] = 1.0 / rate
        else:
            between[a, b] = 1.0 / rate
    results = np.zeros(layers + 1)
    results[layers] = 1.0
    return Network(layers, tuple(spans), (None,) * count, np.zeros(count), np.ones(layers + 1), results, between, enter, leave)


@dataclass(frozen=True)
class Placement:
    """Start and number of layers of each node that holds any, and the tokens per second on each link that carries any."""

    held: Mapping[int, tuple[int, int]]
    flows: Mapping[Hop, float]

    @classmethod
    def of(cls, flow: Flow) -> Placement:
        """The placement of a flow."""
        held = {node: (each.start, each.stop - each.start) for node, each in enumerate(flow.placement) if each}
        flows = {(a, b if b != OUTSIDE else SINK): rate for (a, b), rate in flow.hops.items() if rate > TOLERANCE}
        return cls(held, flows)


def violations(instance: Instance, placement: Placement) -> list[str]:
    """What is wrong with a placement and its flow: layers, links, limits, and what enters a node but does not leave it."""
    wrong = []
    for node, (start, count) in placement.held.items():
        if not (0 <= start < start + count <= instance.layers and 1 <= count <= len(instance.rates[node])):
            wrong.append(f"node {node} cannot hold layers {start} to {start + count - 1}")
    allowed = possible_hops(instance, placement.held)
    into, out = dict.fromkeys(placement.held, 0.0), dict.fromkeys(placement.held, 0.0)
    for (a, b), rate in placement.flows.items():
        if rate > allowed.get((a, b), 0.0) * (1 + TOLERANCE):
            wrong.append(f"{rate:.3f} tokens/s from {a} to {b} are more than {allowed.get((a, b), 0.0):.3f}")
        if a in out:
            out[a] += rate
        if b in into:
            into[b] += rate
    for node, (_, count) in placement.held.items():
        if abs(into[node] - out[node]) > TOLERANCE * max(1.0, into[node]):
            wrong.append(f"node {node} gets {into[node]:.6f} tokens/s and passes {out[node]:.6f}")
        most = instance.rates[node][count - 1] if 1 <= count <= len(instance.rates[node]) else 0.0
        if into[node] > most * (1 + TOLERANCE):
            wrong.append(f"node {node} passes {into[node]:.3f} tokens/s, more than {most:.3f}")
    return wrong


def possible_hops(instance: Instance, held: Mapping[int, tuple[int, int]]) -> dict[Hop, float]:
    """The links that tokens may take, with what they carry: from a node to one that holds its next layer and more."""
    ends = {node: start + count for node, (start, count) in held.items()}
    hops = {}
    for (a, b), rate in instance.links.items():
        if a == SOURCE:
            may = b in held and held[b][0] == 0
        elif b == SINK:
            may = ends.get(a) == instance.layers
        else:
            may = a in held and b in held and held[b][0] <= ends[a] < ends[b]
        if may:
            hops[a, b] = rate
    return hops


def largest_rate(instance: Instance, held: Mapping[int, tuple[int, int]]) -> float:
    """The largest flow through what the nodes hold, in tokens per second, by a linear program over the links."""
    from scipy.optimize import linprog

    hops = possible_hops(instance, held)
    order = list(hops)
    nodes = list(held)
    conserved, passed = np.zeros((len(nodes), len(order))), np.zeros((len(nodes), len(order)))
    for column, (a, b) in enumerate(order):
        if b in held:
            conserved[nodes.index(b), column] += 1
            passed[nodes.index(b), column] = 1
        if a in held:
            conserved[nodes.index(a), column] -= 1
    limits = [instance.rates[node][held[node][1] - 1] for node in nodes]
    gain = [-float(a == SOURCE) for a, _ in order]
    bounds = [(0.0, hops[hop]) for hop in order]
    answer = linprog(gain, A_ub=passed, b_ub=limits, A_eq=conserved, b_eq=np.zeros(len(nodes)), bounds=bounds, method="highs")
    return -float(answer.fun)


def row_of(instance: Instance, time_limit_s: float, seed: int) -> Row:
    """What the engine finds for an instance. AssertionError if the placement does not stand the checks."""
    network = network_of(instance)
    begin = perf_counter()
    solved = solve_uniform(network, time_limit_s=time_limit_s, seed=seed)
    seconds = perf_counter() - begin
    placement = Placement.of(solved.flow)
    wrong = violations(instance, placement)
    checked = largest_rate(instance, placement.held)
    if wrong or abs(checked - solved.flow.rate) > TOLERANCE * checked:
        raise AssertionError(f"{instance.name}: {'; '.join(wrong)} rate {solved.flow.rate}, checked {checked}")
    figures = {
        "rate": checked,
        "bound": solved.most_rate,
        "gap": solved.most_rate / checked - 1.0,
        "seconds": seconds,
        "helix_rate": instance.published["objective"],
        "helix_bound": instance.published["bound"],
        "helix_seconds": instance.published["seconds"],
        "ratio": checked / instance.published["objective"],
    }
    details = {
        "placement": [
            {"node": node, "start": start, "layers": count} for node, (start, count) in sorted(placement.held.items())
        ],
        "flow": [
            {"from": "source" if a == SOURCE else a, "to": "sink" if b == SINK else b, "tokens_per_s": round(rate, 3)}
            for (a, b), rate in sorted(placement.flows.items())
        ],
    }
    case: Case = {"instance": instance.name, "nodes": len(instance.rates), "layers": instance.layers}
    return Row(case, {name: Figure(value) for name, value in figures.items()}, details=details)


def section(record: Record) -> str:
    """What the record says, and its table."""
    better = sum((row.median("ratio") or 0.0) > 1 + 1e-4 for row in record.rows)
    proven = sum((row.median("gap") or 0.0) < 1e-6 for row in record.rows)
    columns = [
        tables.case("instance"),
        figure("rate", "tokens/s", ".1f"),
        figure("bound", "bound", ".1f"),
        figure("gap", "gap", ".1%"),
        figure("seconds", "s", ".1f"),
        figure("helix_rate", "Helix", ".1f"),
        figure("helix_bound", "its bound", ".0f"),
        figure("helix_seconds", "its s", ".0f"),
        figure("ratio", "ratio", ".2f"),
    ]
    return (
        "Tokens per second of the strategy `flow` on the placement instances that were published with Helix (ASPLOS 2025),"
        f" beside Helix's own objective, bound and solver time. Of {len(record.rows)}, {better} are better than Helix's, and"
        f" {proven} are proven optimal.\n\n"
        "Every placement is checked by a flow computation that shares no code with the engine;"
        f" the record holds what each node holds and the flow of each link.\n\n{table(columns, record.rows)}"
    )


BENCHMARK = Benchmark(
    "helix",
    "Placements with several paths, against Helix",
    {
        "rate": Measure("tokens/s", "largest flow of the placement that was found"),
        "bound": Measure("tokens/s", "no placement has a larger flow"),
        "gap": Measure("1", "bound over rate, less 1"),
        "seconds": Measure("s", "time to find both"),
        "helix_rate": Measure("tokens/s", "objective that Helix published"),
        "helix_bound": Measure("tokens/s", "bound that Helix published"),
        "helix_seconds": Measure("s", "time that Helix's solver took on 20 threads"),
        "ratio": Measure("1", "rate over Helix's"),
    },
    section,
)


def measure(names: Sequence[str], time_limit_s: float, seed: int) -> Iterator[Row]:
    """A row for each instance; progress goes to stderr."""
    known = instances()
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        yield row_of(known[name], time_limit_s, seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints what the page shows, and writes the record where asked to. The exit status."""
    parser = argparse.ArgumentParser(description="our rate and bound on the instances that Helix was published with")
    parser.add_argument("--instances", default=",".join(instances()), help="names, with commas (default: all)")
    parser.add_argument("--time-limit", type=float, default=55.0, metavar="SECONDS", help="for each instance (default: 55)")
    parser.add_argument("--seed", type=int, default=0)
    add_option(parser)
    args = parser.parse_args(argv)
    names = args.instances.split(",")
    for name in names:
        if name not in instances():
            raise ConfigError(f"unknown instance '{name}'{did_you_mean(name, instances())}")
    settings = {"time_limit_s": args.time_limit, "seed": args.seed}
    return BENCHMARK.finish(settings, lambda: list(measure(names, args.time_limit, args.seed)), args.json)


if __name__ == "__main__":
    sys.exit(main())
