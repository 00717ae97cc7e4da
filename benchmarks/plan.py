"""Every strategy on a fixed set of models and fleets: objective, proven bound, gap, seconds, and the ratio to the optimum.

    python benchmarks/plan.py [--models NAME,...] [--fleets NAME,...] [--strategies NAME,...] [--exact-s 30] [--json FILE]

Costs are the static profile's (a roofline per device), so figures compare strategies and say nothing about a machine.
Ratios are bottleneck over that of `throughput`, and latency over that of `latency`, on the same model and fleet: both are
optima of contiguous plans, proven where the gap is 0; strategies that are not bound to contiguous plans may be below 1.
The record holds a row for each model, fleet and strategy; the tables summarise them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Case, Figure, Measure, Record, Row, add_option
from benchmarks.tables import MISSING, between, markdown
from multiedge.errors import ConfigError, MultiedgeError, did_you_mean
from multiedge.fleet import Device, Fleet, Power
from multiedge.onnx_io import read_graph
from multiedge.plan import Plan
from multiedge.planning.synthetic import synthetic_graph, synthetic_profile
from multiedge.profile import Profile
from multiedge.run import plan_model, profile_model

MODELS = (
    "vit_b16",
    "light_inception_v1",
    "light_inception_v2",
    "light_densenet121",
    "light_squeezenet",
    "light_resnet50",
    "chain_503",
    "chain_5000",
)
BASELINES = ("single", "memory_matching", "equal_parameters", "equal_flops", "random")
STRATEGIES = ("throughput", "replicated", "latency", "energy", "exact", "branches", "mincut", *BASELINES)
ALIASES: dict[str, tuple[str, dict[str, Any]]] = {"replicated": ("throughput", {"replicate": True})}
MOST_FOR_DAGS = 8000
"""Nodes x devices up to which the strategies that look at the whole graph are run."""

GIB = 1 << 30
KINDS = {
    "server": Device("", "gpu", 8 * GIB, 8.0, bandwidth_bytes_per_s=1.25e8, latency_s=2e-4, power=Power(40, 150, "made up")),
    "laptop": Device("", "cpu", 4 * GIB, 3.0, bandwidth_bytes_per_s=6e7, latency_s=1e-3, power=Power(6, 35, "made up")),
    "jetson": Device("", "gpu", 2 * GIB, 2.0, bandwidth_bytes_per_s=1.25e8, latency_s=3e-4, power=Power(3, 15, "made up")),
    "phone": Device("", "cpu", GIB, 1.5, bandwidth_bytes_per_s=2e7, latency_s=3e-3, power=Power(0.5, 5, "made up")),
    "tablet": Device("", "cpu", GIB, 1.0, bandwidth_bytes_per_s=2e7, latency_s=3e-3, power=Power(0.8, 6, "made up")),
    "pi5": Device("", "cpu", GIB, 0.6, bandwidth_bytes_per_s=1.25e8, latency_s=3e-4, power=Power(3, 9, "made up")),
    "pi4": Device("", "cpu", GIB // 2, 0.3, bandwidth_bytes_per_s=1.25e8, latency_s=3e-4, power=Power(2.5, 6, "made up")),
    "camera": Device("", "cpu", GIB // 4, 0.15, bandwidth_bytes_per_s=1e7, latency_s=2e-3, power=Power(1, 3, "made up")),
}
"""Devices as found at the edge; speeds are relative to the static profiler's reference."""
FLEETS = {
    "two": {"laptop": 1, "pi5": 1},
    "three": {"jetson": 1, "phone": 1, "pi4": 1},
    "four": {"laptop": 1, "jetson": 1, "phone": 1, "pi5": 1},
    "five": {"jetson": 1, "phone": 1, "tablet": 1, "pi5": 1, "pi4": 1},
    "eight": dict.fromkeys(KINDS, 1),
    "sixteen": {"jetson": 4, "phone": 4, "pi5": 4, "pi4": 4},
}


def fleet_of(name: str) -> Fleet:
    """The fleet of that name."""
    devices = [
        replace(KINDS[kind], name=kind if count == 1 else f"{kind}{number}")
        for kind, count in FLEETS[name].items()
        for number in range(count)
    ]
    return Fleet(tuple(devices), name=name)


@cache
def profile_of(model: str, fleet: str) -> Profile:
    """What the model costs on the fleet; LookupError if there is no such model."""
    devices = fleet_of(fleet)
    if model.startswith("chain_"):
        return synthetic_profile(synthetic_graph(int(model.removeprefix("chain_")), seed=1), devices, seed=1)
    return profile_model(read_graph(path_of(model)), devices, reference="declared")


def rows_of(model: str, fleet: str, strategies: Sequence[str], exact_s: float) -> Iterator[Row]:
    """A row for each strategy."""
    profile, devices = profile_of(model, fleet), fleet_of(fleet)
    best = {objective: plan_model(profile, devices, objective).value for objective in ("throughput", "latency")}
    for strategy in strategies:
        if strategy in ("exact", "branches", "mincut") and len(profile) * len(devices.devices) > MOST_FOR_DAGS:
            continue
        if strategy == "replicated" and all(count == 1 for count in FLEETS[fleet].values()):
            continue
        case: Case = {"model": model, "nodes": len(profile), "fleet": fleet, "strategy": strategy}
        name, options = ALIASES.get(strategy, (strategy, {"time_limit_s": exact_s} if strategy == "exact" else {}))
        start = perf_counter()
        try:
            plan = plan_model(profile, devices, name, **options)
        except MultiedgeError as error:
            yield Row(case, failure=str(error))
        else:
            yield Row(case, figures_of(plan, perf_counter() - start, best))


def figures_of(plan: Plan, seconds: float, best: dict[str, float]) -> dict[str, Figure]:
    """By measure; a bound and a gap only where the plan has them."""
    value, bound = ("value_j", "bound_j") if plan.objective == "energy" else ("value_s", "bound_s")
    known = {
        value: plan.value,
        bound: plan.lower_bound,
        "gap": plan.gap,
        "seconds": seconds,
        "devices": len({device for stage in plan.stages for device in stage.devices}),
        "to_best_throughput": plan.estimate.bottleneck_s / best["throughput"],
        "to_best_latency": plan.estimate.latency_s / best["latency"],
    }
    return {name: Figure(number) for name, number in known.items() if number is not None}


def section(record: Record) -> str:
    """What the record says, and its tables: ratios to the optimum by fleet, and proofs."""
    strategies = [name for name in STRATEGIES if any(row.case["strategy"] == name for row in record.rows)]
    proven = _of(record, "throughput", "gap")
    baseline = mean_ratios(record, "memory_matching").values()
    return (
        f"`throughput` proves its plan optimal for {_closed(proven)} of {len(proven)} pairs of model and fleet;"
        f" the bottleneck of `memory_matching` is on average {between(baseline, '.1f')} times as long.\n\n"
        f"Bottleneck over that of `throughput`, mean over the models, by fleet:\n\n{_ratio_table(record, strategies)}\n\n"
        f"Gaps to the proven bound, and planning time:\n\n{_proof_table(record, strategies)}"
    )


def _ratio_table(record: Record, strategies: Sequence[str]) -> str:
    fleets = list(dict.fromkeys(str(row.case["fleet"]) for row in record.rows))
    rows = []
    for strategy in strategies:
        ratios = mean_ratios(record, strategy)
        rows.append([strategy, *(f"{ratios[fleet]:.2f}" if fleet in ratios else MISSING for fleet in fleets)])
    return markdown(["strategy", *fleets], rows)


def mean_ratios(record: Record, strategy: str) -> dict[str, float]:
    """By fleet the mean of bottleneck over optimal bottleneck, over the models that the strategy could plan."""
    ratios: dict[str, list[float]] = {}
    for row in record.rows:
        ratio = row.median("to_best_throughput")
        if row.case["strategy"] == strategy and ratio is not None:
            ratios.setdefault(str(row.case["fleet"]), []).append(ratio)
    return {fleet: statistics.mean(values) for fleet, values in ratios.items()}


def _proof_table(record: Record, strategies: Sequence[str]) -> str:
    heads = ["strategy", "plans", "gap 0.00%", "median gap", "largest gap", "median s", "longest s"]
    return markdown(heads, [[strategy, *_proof_cells(record, strategy)] for strategy in strategies])


def _proof_cells(record: Record, strategy: str) -> list[str]:
    gaps, seconds = _of(record, strategy, "gap"), _of(record, strategy, "seconds")
    if not seconds:
        return ["0", *[MISSING] * 5]
    times = [f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"]
    if not gaps:
        return [str(len(seconds)), "unproven", MISSING, MISSING, *times]
    return [str(len(seconds)), str(_closed(gaps)), f"{statistics.median(gaps):.2%}", f"{max(gaps):.2%}", *times]


def _closed(gaps: Sequence[float]) -> int:
    """How many of the gaps are 0 in the table's two decimal places."""
    return sum(gap < 5e-5 for gap in gaps)


def _of(record: Record, strategy: str, measure: str) -> list[float]:
    """The figures of one strategy."""
    rows = [row for row in record.rows if row.case["strategy"] == strategy]
    return [median for row in rows if (median := row.median(measure)) is not None]


BENCHMARK = Benchmark(
    "plan",
    "Strategies against the optimum",
    {
        "value_s": Measure("s", "what the strategy makes small: bottleneck or latency"),
        "value_j": Measure("J", "what `energy` makes small: energy per item"),
        "bound_s": Measure("s", "no plan is below this"),
        "bound_j": Measure("J", "no plan is below this"),
        "gap": Measure("1", "how far the value may be above the optimum; absent: unproven"),
        "seconds": Measure("s", "time to plan"),
        "devices": Measure("1", "devices in use"),
        "to_best_throughput": Measure("1", "bottleneck over that of the strategy `throughput`"),
        "to_best_latency": Measure("1", "latency over that of the strategy `latency`"),
    },
    section,
)


def chosen(text: str | None, known: Sequence[str], option: str) -> list[str]:
    """The comma-separated names, or all."""
    names = list(known) if text is None else text.split(",")
    for name in names:
        if name not in known:
            raise ConfigError(f"{option}: '{name}' is not known{did_you_mean(name, known)}")
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description="Every strategy on a fixed set of models and fleets.")
    parser.add_argument("--models", metavar="A,B", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--fleets", metavar="A,B", help=f"of {', '.join(FLEETS)}")
    parser.add_argument("--strategies", metavar="A,B", help=f"of {', '.join(STRATEGIES)}")
    parser.add_argument("--exact-s", type=float, default=30.0, metavar="S", help="time limit of 'exact' (default: 30)")
    add_option(parser)
    args = parser.parse_args()
    models, fleets = chosen(args.models, MODELS, "--models"), chosen(args.fleets, tuple(FLEETS), "--fleets")
    strategies = chosen(args.strategies, STRATEGIES, "--strategies")
    return BENCHMARK.finish(
        {"exact_s": args.exact_s}, lambda: list(all_rows(models, fleets, strategies, args.exact_s)), args.json
    )


def all_rows(models: Sequence[str], fleets: Sequence[str], strategies: Sequence[str], exact_s: float) -> Iterator[Row]:
    """The rows of each model on each fleet."""
    for model in models:
        for fleet in fleets:
            print(f"{model} on {fleet}", file=sys.stderr, flush=True)
            yield from rows_of(model, fleet, strategies, exact_s)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MultiedgeError as error:
        sys.exit(f"error: {error}")
