"""`multiedge simulate`: a plan on a changing fleet, without running it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from multiedge.commands.plan import costs, in_words
from multiedge.commands.profile import parse_shapes
from multiedge.errors import ConfigError, PlanError, require_least
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.trace import read_trace
from multiedge.measurements import Measurements
from multiedge.metrics import MetricValue, compute
from multiedge.onnx_io import read_graph, read_manifest
from multiedge.plan import Plan
from multiedge.profile import Profile
from multiedge.replanning.replan import replan
from multiedge.run import DEFAULT_STRATEGY, plan_model
from multiedge.simulation.simulate import Load, simulate
from multiedge.trace import Trace

FIGURES = ("fps", "fps_predicted", "latency_mean_s", "latency_p90_s", "energy_per_item_j", "utilisation", "completed", "failed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL|PLAN_DIR", help="ONNX file, or a folder that `multiedge plan -o` wrote")
    parser.add_argument("--devices", metavar="FILE", required=True, help="devices.yaml")
    parser.add_argument("--trace", metavar="FILE", help="what happens to the fleet (docs/simulate.md); default: nothing")
    parser.add_argument("--profile", metavar="FILE", help="what nodes cost, from `multiedge profile -o`; default: estimated")
    parser.add_argument("--strategy", metavar="NAME", default=DEFAULT_STRATEGY, help="for a MODEL (default: %(default)s)")
    parser.add_argument("--items", type=int, default=100, metavar="N", help="timed items (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=0, metavar="N", help="items before the timed ones (default: 0)")
    parser.add_argument("--rate", type=float, metavar="PER_S", help="items due per second; default: as fast as they go")
    parser.add_argument("--in-flight", type=int, metavar="N", help="items under way at most; default: as many as fill it")
    parser.add_argument("--adaptive", action="store_true", help="also with a new plan after each event")
    parser.add_argument("--tolerance", type=float, default=0.05, help="what a plan may lose to spare moves (default: 0.05)")
    parser.add_argument("--detect", type=float, default=0.0, metavar="S", help="seconds until an event is known (default: 0)")
    parser.add_argument("--shape", action="append", default=[], metavar="INPUT=1,3,224,224", help="size of a dynamic input")
    parser.add_argument("--json", action="store_true", help="print figures and faults as JSON")


def run(args: argparse.Namespace) -> int:
    require_least("--tolerance", args.tolerance, 0)
    require_least("--detect", args.detect, 0)
    fleet = read_fleet(args.devices)
    plan, profile = planned(args, fleet)
    trace = read_trace(args.trace, fleet) if args.trace else Trace(name="no trace")
    load = Load(args.items, args.warmup, interval_of(args.rate), args.in_flight)
    runs = {"static": simulate(plan, profile, fleet, trace, load, detect_s=args.detect)}
    if args.adaptive:
        replanner = partial(replan, tolerance=args.tolerance)
        runs["adaptive"] = simulate(plan, profile, fleet, trace, load, replanner=replanner, detect_s=args.detect)
    if args.json:
        print(json.dumps(as_json(plan, trace, runs), indent=1, allow_nan=False))
    else:
        show(plan, trace, runs, Console())
    return 0


def planned(args: argparse.Namespace, fleet: Fleet) -> tuple[Plan, Profile]:
    """The plan of the folder, or the strategy's for the model, and the profile it is simulated with."""
    if Path(args.model).is_dir():
        manifest = read_manifest(args.model)
        if manifest.plan is None:
            raise PlanError(f"{args.model}/plan.json: expected a plan with stages, got none; write the parts again")
        return manifest.plan, costs(read_graph(manifest.model, parse_shapes(args.shape)), fleet, args.profile)
    profile = costs(read_graph(args.model, parse_shapes(args.shape)), fleet, args.profile)
    return plan_model(profile, fleet, args.strategy), profile


def interval_of(rate: float | None) -> float:
    """Seconds between items; 0 without a rate."""
    if rate is None:
        return 0.0
    if rate <= 0:
        raise ConfigError(f"--rate: expected items per second, more than zero, got {rate:g}")
    return 1.0 / rate


def figures(plan: Plan, found: Measurements) -> dict[str, MetricValue]:
    return compute(found, FIGURES, plan=plan)


def as_json(plan: Plan, trace: Trace, runs: Mapping[str, Measurements]) -> dict[str, Any]:
    return {
        "strategy": plan.strategy,
        "objective": plan.objective,
        "bottleneck_s": plan.estimate.bottleneck_s,
        "trace": trace.name,
        "trace_events": len(trace.events),
        "runs": {name: _run_json(plan, found) for name, found in runs.items()},
    }


def _run_json(plan: Plan, found: Measurements) -> dict[str, Any]:
    return {
        "figures": {
            name: {"value": figure.value, "unit": figure.unit, "direction": figure.direction, "note": figure.note}
            for name, figure in figures(plan, found).items()
        },
        "window_s": found.stop_s - found.start_s,
        "replans": sum(event.kind == "replan" for event in found.events),
        "loaded_bytes": sum(event.nbytes for event in found.events if event.kind == "load"),
        "faults": [
            {"kind": f.kind, "device": f.device, "detected_s": f.detected_s, "recovered_s": f.recovered_s, "detail": f.detail}
            for f in found.faults
        ],
        "errors": sorted({item.error for item in found.items if item.error}),
        "settings": dict(found.settings),
    }


def show(plan: Plan, trace: Trace, runs: Mapping[str, Measurements], console: Console) -> None:
    """Prints one column of figures per run, then faults and errors."""
    table = Table(title=f"'{plan.strategy}' under '{trace.name}', simulated", title_justify="left")
    table.add_column("figure")
    for name in runs:
        table.add_column(name, justify="right", no_wrap=True)
    rows = {name: figures(plan, found) for name, found in runs.items()}
    for figure in FIGURES:
        table.add_row(figure, *(_cell(values[figure]) for values in rows.values()))
    console.print(table)
    console.print(f"planned: {plan.objective} {in_words(plan.objective, plan.value)}", markup=False, highlight=False)
    for line in trace.story(max(found.stop_s for found in runs.values())):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for name, found in runs.items():
        for line in _incidents(found):
            console.print(f"{name}: {line}", markup=False, highlight=False, soft_wrap=True)


def _cell(figure: MetricValue) -> str:
    return "-" if figure.value is None else f"{figure.value:.5g} {figure.unit if figure.unit != '1' else ''}".strip()


def _incidents(found: Measurements) -> list[str]:
    lines = [
        f"{fault.kind} {fault.device}".rstrip()
        + f" at {fault.detected_s:.4g} s, "
        + (f"answered at {fault.recovered_s:.4g} s: {fault.detail}" if fault.recovered_s is not None else "not answered")
        + (f" ({fault.detail})" if fault.recovered_s is None and fault.detail else "")
        for fault in found.faults
    ]
    errors: dict[str, int] = {}
    for item in found.items:
        if item.error:
            errors[item.error] = errors.get(item.error, 0) + 1
    return lines + [f"{count} items {error}" for error, count in errors.items()]
