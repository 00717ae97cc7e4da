"""Every strategy on a fixed set of models and fleets: objective, proven bound, gap, seconds, and the ratio to the optimum.

    python benchmarks/plan.py [--models NAME,...] [--fleets NAME,...] [--strategies NAME,...] [--exact-s 30] [--json]

Costs are the static profile's (a roofline per device), so figures compare strategies and say nothing about a machine.
Ratios are bottleneck over that of `throughput`, and latency over that of `latency`, on the same model and fleet: both are
optima of contiguous plans, proven where the gap is 0; strategies that are not bound to contiguous plans may be below 1.
Last comes the mean over all models of each baseline's ratio, by fleet.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import onnx
from rich.console import Console
from rich.table import Table

from multiedge.errors import ConfigError, MultiedgeError, did_you_mean
from multiedge.fleet import Device, Fleet, Power
from multiedge.onnx_io import read_graph
from multiedge.plan import Plan
from multiedge.planning.synthetic import synthetic_graph, synthetic_profile
from multiedge.profile import Profile
from multiedge.run import plan_model, profile_model

REPOSITORY = Path(__file__).resolve().parent.parent
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
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
"""Devices as one meets them at the edge; speeds are relative to the static profiler's reference."""
FLEETS = {
    "two": {"laptop": 1, "pi5": 1},
    "three": {"jetson": 1, "phone": 1, "pi4": 1},
    "four": {"laptop": 1, "jetson": 1, "phone": 1, "pi5": 1},
    "five": {"jetson": 1, "phone": 1, "tablet": 1, "pi5": 1, "pi4": 1},
    "eight": dict.fromkeys(KINDS, 1),
    "sixteen": {"jetson": 4, "phone": 4, "pi5": 4, "pi4": 4},
}


@dataclass(frozen=True)
class Row:
    """One strategy on one model and fleet. `value` and `lower_bound` are seconds, or joules for energy; None is not known."""

    model: str
    nodes: int
    fleet: str
    strategy: str
    objective: str
    value: float | None
    lower_bound: float | None
    gap: float | None
    seconds: float
    devices: int
    bottleneck_s: float | None
    latency_s: float | None
    to_best_throughput: float | None = None
    to_best_latency: float | None = None
    failure: str = ""


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
    """What the model costs on the fleet; LookupError if the model is not at hand."""
    devices = fleet_of(fleet)
    if model.startswith("chain_"):
        return synthetic_profile(synthetic_graph(int(model.removeprefix("chain_")), seed=1), devices, seed=1)
    return profile_model(read_graph(path_of(model)), devices)


def path_of(model: str) -> Path:
    """The model's file: from the onnx package, or as the tests exported it."""
    if model.startswith("light_"):
        return LIGHT / f"{model}.onnx"
    found = sorted((REPOSITORY / ".cache" / "models").glob(f"{model}-*.onnx"))
    if not found:
        raise LookupError(f"{model} is not exported; run: make test")
    return found[-1]


def rows_of(model: str, fleet: str, strategies: Sequence[str], exact_s: float) -> Iterator[Row]:
    """A row for each strategy."""
    profile, devices = profile_of(model, fleet), fleet_of(fleet)
    best: dict[str, float] = {}
    for objective in ("throughput", "latency"):
        best[objective] = plan_model(profile, devices, objective).value
    for strategy in strategies:
        if strategy in ("exact", "branches", "mincut") and len(profile) * len(devices.devices) > MOST_FOR_DAGS:
            continue
        if strategy == "replicated" and all(count == 1 for count in FLEETS[fleet].values()):
            continue
        name, options = ALIASES.get(strategy, (strategy, {"time_limit_s": exact_s} if strategy == "exact" else {}))
        start = perf_counter()
        try:
            plan = plan_model(profile, devices, name, **options)
        except MultiedgeError as error:
            seconds = perf_counter() - start
            yield Row(model, len(profile), fleet, strategy, "", None, None, None, seconds, 0, None, None, failure=str(error))
        else:
            yield _row(model, fleet, strategy, plan, perf_counter() - start, best, len(profile))


def _row(model: str, fleet: str, strategy: str, plan: Plan, seconds: float, best: dict[str, float], nodes: int) -> Row:
    expected = plan.estimate
    return Row(
        model=model,
        nodes=nodes,
        fleet=fleet,
        strategy=strategy,
        objective=plan.objective,
        value=plan.value,
        lower_bound=plan.lower_bound,
        gap=plan.gap,
        seconds=seconds,
        devices=len({device for stage in plan.stages for device in stage.devices}),
        bottleneck_s=expected.bottleneck_s,
        latency_s=expected.latency_s,
        to_best_throughput=expected.bottleneck_s / best["throughput"],
        to_best_latency=expected.latency_s / best["latency"],
    )


def mean_ratios(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """By fleet and strategy the mean of bottleneck over optimal bottleneck, over the models that it could plan."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row.to_best_throughput is not None:
            found.setdefault(row.fleet, {}).setdefault(row.strategy, []).append(row.to_best_throughput)
    return {fleet: {name: statistics.mean(values) for name, values in by.items()} for fleet, by in found.items()}


def show(rows: Sequence[Row]) -> None:
    """Prints the rows and the mean ratios."""
    table = Table(title="Strategies", title_justify="left")
    for name in ("model", "fleet", "strategy"):
        table.add_column(name)
    for name in ("value", "bound", "gap", "seconds", "devices", "x throughput", "x latency"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(f"{row.model} ({row.nodes})", row.fleet, row.strategy, *_cells(row))
    means = Table(title="Bottleneck over the optimal one, mean over models", title_justify="left")
    ratios = mean_ratios(rows)
    names = [name for name in STRATEGIES if any(name in by for by in ratios.values())]
    for name in ("fleet", *names):
        means.add_column(name, justify="left" if name == "fleet" else "right")
    for fleet, by in ratios.items():
        means.add_row(fleet, *(f"{by[name]:.2f}" if name in by else "-" for name in names))
    console = Console(width=max(160, Console().width))
    console.print(table)
    console.print(means)


def _cells(row: Row) -> list[str]:
    if row.failure:
        return ["none", "", "", f"{row.seconds:.2f}", "0", row.failure[:40], ""]
    unit, factor = ("J", 1.0) if row.objective == "energy" else ("ms", 1e3)
    shown = ["unknown" if number is None else f"{number * factor:.4g} {unit}" for number in (row.value, row.lower_bound)]
    gap = "unproven" if row.gap is None else f"{row.gap:.2%}"
    return [*shown, gap, f"{row.seconds:.2f}", str(row.devices), f"{row.to_best_throughput:.2f}", f"{row.to_best_latency:.2f}"]


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
    parser.add_argument("--json", action="store_true", help="print rows and mean ratios as JSON, not as tables")
    args = parser.parse_args()
    strategies = chosen(args.strategies, STRATEGIES, "--strategies")
    rows: list[Row] = []
    for model in chosen(args.models, MODELS, "--models"):
        for fleet in chosen(args.fleets, tuple(FLEETS), "--fleets"):
            print(f"{model} on {fleet}", file=sys.stderr)
            try:
                rows += rows_of(model, fleet, strategies, args.exact_s)
            except LookupError as error:
                print(f"not run: {error}", file=sys.stderr)
                break
    if args.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "mean_ratio_to_best_throughput": mean_ratios(rows)}, indent=1))
    else:
        show(rows)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MultiedgeError as error:
        sys.exit(f"error: {error}")
