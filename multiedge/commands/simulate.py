"""`multiedge simulate`: a plan on a changing fleet, without running it."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiedge.commands import _options
from multiedge.commands._terminal import new_console, new_table, print_line, share_bar
from multiedge.commands.arguments.simulate import POISSON
from multiedge.defaults import DEFAULT_STRATEGY, REPLAN_TOLERANCE
from multiedge.errors import ConfigError, PlanError, require_least
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.profile import require_fits
from multiedge.formats.trace import read_trace
from multiedge.measurements import Fault, Measurements
from multiedge.metrics import MetricValue, compute
from multiedge.onnx_io import read_graph, read_runnable
from multiedge.onnx_io.manifest import read_profile
from multiedge.plan import Plan
from multiedge.profile import Profile
from multiedge.report.measured import load_measured_plan
from multiedge.report.plan_text import batch_lines, measured_lines, value_text
from multiedge.report.summary import figures_json
from multiedge.report.units import human
from multiedge.run import node_costs, plan_model
from multiedge.simulation.presence import drawn_work, stage_batches
from multiedge.simulation.simulate import Items, ItemWork, Load, simulate
from multiedge.trace import Trace

if TYPE_CHECKING:
    from rich.console import Console

LATENCIES = ("latency_mean_s", "latency_p50_s", "latency_p90_s", "latency_p99_s")
FIGURES = ("fps", "fps_predicted", *LATENCIES, "energy_per_item_j", "utilisation", "completed", "failed")


def run(args: argparse.Namespace) -> int:
    _options.require_with(args, "adaptive", "trace")
    _options.require_with(args, "detect", "trace")
    _options.require_with(args, "tolerance", "adaptive")
    tolerance, detect_s = REPLAN_TOLERANCE if args.tolerance is None else args.tolerance, args.detect or 0.0
    require_least("--tolerance", tolerance, 0)
    require_least("--detect", detect_s, 0)
    load = Load(args.items, args.warmup, interval_of(args.rate), args.in_flight, seed_of(args))
    fleet = read_fleet(args.devices)
    trace = read_trace(args.trace, fleet) if args.trace else Trace(name="no trace")
    with share_bar("simulating") as progress:
        progress("plan", 0.0)
        plan, profile = planned(args, fleet)
        require_use_of_seed(args, profile)
        progress(f"{args.items} items", 0.2)
        work = measured_work(args.measured, profile, args.seed) if args.measured else drawn_work(profile.graph, args.seed or 0)
        batches = stage_batches(plan, profile.graph)
        if args.adaptive and batches:
            raise ConfigError(
                "--adaptive: steps of this workflow have a batch, which new plans would not keep; leave --adaptive out"
            )
        items = Items(work, batches)
        runs = {"static": simulate(plan, profile, fleet, trace, load, items=items, detect_s=detect_s)}
        if args.adaptive:
            from multiedge.replanning.replan import replan

            progress(f"{args.items} items with new plans", 0.6)
            replanner = partial(replan, tolerance=tolerance)
            runs["adaptive"] = simulate(plan, profile, fleet, trace, load, items=items, replanner=replanner, detect_s=detect_s)
    if args.json:
        print(json.dumps(as_json(plan, trace, runs), indent=1, allow_nan=False))
    else:
        show(plan, trace, runs, new_console())
    return 0


def planned(args: argparse.Namespace, fleet: Fleet) -> tuple[Plan, Profile]:
    """The plan of the folder, or the strategy's for the model, and the profile it is simulated with."""
    if not Path(args.model).is_dir():
        profile = node_costs(_options.read_sized(args, args.profile), fleet, args.profile, args.reference)
        return plan_model(profile, fleet, args.strategy or DEFAULT_STRATEGY), profile
    if args.strategy:
        raise ConfigError(f"--strategy: {args.model} holds a plan already; give the model, or leave --strategy out")
    manifest = read_runnable(args.model)
    if manifest.plan is None:
        raise PlanError(f"{args.model}/plan.json: expected a plan with stages, got none; write the parts again")
    if args.adaptive:
        manifest.require_uncalibrated("those of new plans would not be calibrated; leave --adaptive out")
    shapes = _options.parse_shapes(args.shape)
    kept = None if args.profile or args.reference or shapes else read_profile(manifest)
    graph = read_graph(manifest.model, shapes or manifest.input_shapes, manifest.state_pairs)
    if kept is None:
        return manifest.plan, node_costs(graph, fleet, args.profile, args.reference)
    require_fits(kept, graph, fleet)
    return manifest.plan, kept


def measured_work(path: str, profile: Profile, seed: int | None) -> ItemWork:
    """What items of a run took, in any plan of the model that ran; in turn without a seed."""
    measured = load_measured_plan(path)
    if [node.name for node in measured.graph.nodes] != [node.name for node in profile.graph.nodes]:
        raise ConfigError(
            f"--measured: {path} is of a run of the model '{measured.graph.name}', not of '{profile.graph.name}' as it is now;"
            " run a plan of this model"
        )
    absent = [name for name in measured.run.devices if name not in profile.seconds]
    if absent:
        raise ConfigError(
            f"--measured: {path} has times of '{absent[0]}', which is no device of this fleet; run the plan on this one"
        )
    return ItemWork.measured(measured.plan, profile, measured.run, seed)


def interval_of(rate: float | None) -> float:
    """Seconds between items; 0 without a rate."""
    if rate is None:
        return 0.0
    if not 0 < rate < math.inf:
        raise ConfigError(f"--rate: expected items per second, more than zero, got {rate:g}")
    return 1.0 / rate


def seed_of(args: argparse.Namespace) -> int | None:
    """The seed of random arrivals; None where they are not random."""
    _options.require_with(args, "arrivals", "rate")
    if args.arrivals == POISSON:
        return args.seed or 0
    return None


def require_use_of_seed(args: argparse.Namespace, profile: Profile) -> None:
    """ConfigError if nothing is random: neither arrivals nor items."""
    if args.seed is not None and args.arrivals != POISSON and not args.measured and not profile.graph.has_rates:
        raise ConfigError(
            "--seed: has no effect without --arrivals poisson, --measured or a condition in a workflow; leave --seed out"
        )


def figures(plan: Plan, measured: Measurements) -> dict[str, MetricValue]:
    return compute(measured, FIGURES, plan=plan)


def as_json(plan: Plan, trace: Trace, runs: Mapping[str, Measurements]) -> dict[str, Any]:
    return {
        "strategy": plan.strategy,
        "objective": plan.objective,
        "bottleneck_s": plan.estimate.bottleneck_s,
        "free_batch": list(plan.free_batch),
        "measured_sizes": list(plan.measured_sizes),
        "trace": trace.name,
        "trace_events": len(trace.events),
        "runs": {name: _run_json(plan, measured) for name, measured in runs.items()},
    }


def _run_json(plan: Plan, measured: Measurements) -> dict[str, Any]:
    return {
        "figures": figures_json(figures(plan, measured)),
        "window_s": measured.stop_s - measured.start_s,
        "replans": sum(event.kind == "replan" for event in measured.events),
        "loaded_bytes": sum(event.nbytes for event in measured.events if event.kind == "load"),
        "faults": [
            {"kind": f.kind, "device": f.device, "detected_s": f.detected_s, "recovered_s": f.recovered_s, "detail": f.detail}
            for f in measured.faults
        ],
        "errors": sorted({item.error for item in measured.items if item.error}),
        "settings": dict(measured.settings),
    }


def show(plan: Plan, trace: Trace, runs: Mapping[str, Measurements], console: Console) -> None:
    """Prints one column of figures per run, then faults and errors."""
    table = new_table(f"'{plan.strategy}' under '{trace.name}', simulated")
    table.add_column("figure")
    for name in runs:
        table.add_column(name, justify="right", no_wrap=True)
    columns = [figures(plan, measured) for measured in runs.values()]
    for figure in FIGURES:
        table.add_row(figure, *(_cell(column[figure]) for column in columns))
    console.print(table)
    print_line(console, f"planned: {plan.objective} {value_text(plan.objective, plan.value)}")
    for line in (*batch_lines(plan.free_batch, plan.batch), *measured_lines(plan.measured_sizes)):
        print_line(console, line)
    for line in trace.story(max(measured.stop_s for measured in runs.values())):
        print_line(console, line)
    for name, measured in runs.items():
        for line in _incidents(measured):
            print_line(console, f"{name}: {line}")


def _cell(figure: MetricValue) -> str:
    if figure.value is None and figure.samples_needed:
        return f"n<{figure.samples_needed}"
    return "-" if figure.value is None else human(figure.value, figure.unit)


def _incidents(measured: Measurements) -> list[str]:
    errors = Counter(item.error for item in measured.items if item.error)
    return [*map(_fault_line, measured.faults), *(f"{count} items {error}" for error, count in errors.items())]


def _fault_line(fault: Fault) -> str:
    line = f"{fault.kind} {fault.device}".rstrip() + f" at {fault.detected_s:.4g} s, "
    if fault.recovered_s is not None:
        return f"{line}answered at {fault.recovered_s:.4g} s: {fault.detail}"
    return f"{line}not answered" + (f" ({fault.detail})" if fault.detail else "")
