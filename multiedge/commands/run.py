"""`multiedge run`: a plan as a running pipeline, measured."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiedge.backends import BACKENDS
from multiedge.backends.stages import BackendOptions, resolved_fleet
from multiedge.commands import _options
from multiedge.commands._answers import Ending, OutputFolder, take_answers
from multiedge.commands._terminal import count_bar, new_console, new_table, print_line
from multiedge.commands.arguments.run import ENDPOINT
from multiedge.errors import ConfigError, MultiedgeError, require_least
from multiedge.executors import EXECUTORS
from multiedge.executors.flow.contract import RunOptions, Source
from multiedge.executors.flow.pipeline import local_fleet
from multiedge.executors.flow.scenarios import scenario
from multiedge.executors.workers.options import Emulation
from multiedge.files import require_writable, write_text
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.trace import read_trace
from multiedge.measurements import RETURN, HostLoad, RanStage
from multiedge.network.client import HubClient
from multiedge.network.identity import find_identity
from multiedge.onnx_io import read_runnable
from multiedge.onnx_io.items import npz_items, random_items
from multiedge.options import build_options, option_names, require_options, with_option
from multiedge.plan import Manifest, Plan
from multiedge.report.plan_text import batch_lines, gain_line, measured_lines, ran_lines
from multiedge.report.repeats import combined
from multiedge.report.results import to_json
from multiedge.report.summary import MOST_ERRORS, host_line, summary
from multiedge.report.units import human, scale_for
from multiedge.run import PlanRun

if TYPE_CHECKING:
    from rich.console import Console

    from multiedge.replanning.replanner import Replanner
    from multiedge.report.results import RunResult

log = logging.getLogger(__name__)

FAILED = 1
FLAGS = {
    "depth": "depth",
    "micro_batch": "micro_batch",
    "transport": "transport",
    "seed": "seed",
    "warmup": "warmup_items",
    "emulate": "emulation",
    "namespaces": "emulation",
    "endpoint": "endpoints",
    "hub": "hub",
    "identity": "identity",
    "trace": "trace",
    "replan": "replan",
    "keep_prepacked": "backends",
}
"""Which option of an executor each flag gives. None of them has a default here: what is not given is the executor's."""
PREPACKED = ".prepacked"
"""Where packed weights are kept in the plan's folder."""


def run(args: argparse.Namespace) -> int:
    """Exit status 0 if every item was answered without an error, otherwise 1."""
    scenario(args.scenario, rate_per_s=args.rate, latency_bound_s=args.latency_bound)  # refused before anything is read
    if args.output:
        require_writable(args.output)
    require_least("--repeat", args.repeat, 1)
    manifest = read_runnable(args.plan_dir)
    fleet = read_run_fleet(args, manifest)
    values = executor_options(args, fleet)
    options = build_options(EXECUTORS, args.executor, values)
    outputs = OutputFolder(Path(args.outputs)) if args.outputs else None
    results, ending = run_rounds(args, manifest, fleet, options, outputs)
    result = combined(results)
    figures = summary(result)
    figures["trace"] = values["trace"].story(figures["wall_s"]) if "trace" in values else []
    if args.json:
        print(json.dumps(figures, indent=1), flush=True)
    else:
        show(figures, new_console(), result.plan)
    if args.output:  # last: if it cannot be written, what was measured has been shown
        write_text(args.output, json.dumps({**figures, **to_json(result)}, allow_nan=False) + "\n")
    if ending is not None:
        raise ending
    if outputs and outputs.refusal:
        raise outputs.refusal
    return FAILED if figures["failed"] or figures["lost"] else 0


def read_run_fleet(args: argparse.Namespace, manifest: Manifest) -> Fleet:
    """The devices of the run: with --hub its nodes, of which --devices states what it states."""
    declared = read_fleet(args.devices) if args.devices else None
    if args.hub is None:
        return declared or local_fleet(manifest)
    require_options(EXECUTORS, args.executor, ["hub"])
    with HubClient(args.hub, find_identity(args.identity)) as hub:
        return hub.fleet(declared)


def run_rounds(
    args: argparse.Namespace, manifest: Manifest, fleet: Fleet, options: RunOptions, outputs: OutputFolder | None
) -> tuple[list[RunResult], Ending | None]:
    """The results of each round, and what ended the last one early: its figures count only if there are no others."""
    items, count = read_items(args, manifest)
    results: list[RunResult] = []
    with replanner(args, manifest, fleet) as replan, count_bar("running", count * args.repeat) as progress:
        for number in range(args.repeat):
            run = PlanRun(
                manifest,
                fleet,
                items if number == 0 else read_items(args, manifest)[0],
                executor=args.executor,
                scenario=args.scenario,
                rate_per_s=args.rate,
                latency_bound_s=args.latency_bound,
                name=args.name or Path(args.plan_dir).resolve().name,
                configuration=configuration(args),
                progress=progress,
                options=options,
                **({"replan": replan} if replan else {}),
            )
            ending = take_answers(run, outputs if number == 0 else None)
            if ending is None or not results:
                results.append(run.result())
            if ending is not None:
                log.warning("ended early: the figures are of what was answered until then")
                return results, ending
    return results, None


def configuration(args: argparse.Namespace) -> dict[str, Any]:
    """What the run was started with, as a report shows it."""
    given = {name: value for name, value in vars(args).items() if value is not None and value != []}
    return {name: value for name, value in given.items() if name not in ("command", "json", "output", "outputs")}


def executor_options(args: argparse.Namespace, fleet: Fleet) -> dict[str, Any]:
    """The executor's options that were given, `replan` aside; ConfigError for one that it does not have."""
    given = {flag: option for flag, option in FLAGS.items() if vars(args)[flag] is not None}
    values = _options.with_own({option: vars(args)[flag] for flag, option in given.items()}, args.option)
    require_options(EXECUTORS, args.executor, values)
    values.pop("replan", None)
    if "emulation" in given.values():
        base = Emulation.none() if args.emulate is False else Emulation()
        values["emulation"] = replace(base, namespaces=bool(args.namespaces))
    if args.trace:
        values["trace"] = read_trace(args.trace, fleet)
    if args.endpoint:
        values["endpoints"] = parse_endpoints(args.endpoint)
    if args.keep_prepacked:
        values["backends"] = prepacked(fleet, Path(args.plan_dir) / PREPACKED)
    return values


@contextmanager
def replanner(args: argparse.Namespace, manifest: Manifest, fleet: Fleet) -> Iterator[Replanner | None]:
    """What plans anew, where it is wanted, the executor can use it and the model to cut is there."""
    knows_devices = args.devices or args.hub
    can = (
        "replan" in option_names(EXECUTORS, args.executor)
        and knows_devices
        and manifest.plan
        and Path(manifest.model).is_file()
    )
    if args.replan is False or (args.replan is None and not can):
        yield None
        return
    if not args.hub:
        _options.require_with(args, "replan", "devices")
    from multiedge.replanning.replanner import Replanner

    try:
        replan = Replanner(manifest, fleet)
    except MultiedgeError as error:
        if args.replan:
            raise
        log.warning("no new plans during this run: %s", error)
        yield None
        return
    with replan:
        yield replan


def prepacked(fleet: Fleet, folder: Path) -> BackendOptions:
    """Options that keep packed weights in the folder, for each backend of the fleet that can."""
    able = with_option(BACKENDS, "prepacked")
    names = {device.backend for device in resolved_fleet(fleet).devices}
    options = {name: {"prepacked": str(folder)} for name in able if name in names}
    if not options:
        raise ConfigError(f"--keep-prepacked: no device of {fleet.name} has a backend that can; these can: {', '.join(able)}")
    return options


def parse_endpoints(texts: Iterable[str]) -> dict[str, list[str]]:
    """Endpoints by device, in the order given, from 'device=host:port' texts."""
    endpoints: dict[str, list[str]] = {}
    for text in texts:
        device, _, address = text.partition("=")
        if not device or ":" not in address:
            raise ConfigError(f"--endpoint: expected {ENDPOINT}, got '{text}'")
        endpoints.setdefault(device, []).append(address)
    return endpoints


def read_items(args: argparse.Namespace, manifest: Manifest) -> tuple[Source, int]:
    """The items to run and how many they are."""
    if args.random is None:
        return npz_items(manifest, args.inputs)
    require_least("--random", args.random, 1)
    return random_items(manifest, args.random, args.seed or 0), args.random


def show(figures: Mapping[str, Any], console: Console, plan: Plan | None = None) -> None:
    """Prints what the plan gains, the metrics, then what happened to the fleet, to workers and to items."""
    gain = gain_line(plan) if plan else None
    if gain:
        print_line(console, f"{gain}; measured {human(figures['metrics']['fps']['value'], 'items/s')}")
    table = new_table(f"{figures['settings']['scenario']}, {figures['settings']['executor']}")
    shows_intervals = bool(figures["repeats"])
    for name in ("figure", "value", "95 % interval", "note"):
        if shows_intervals or name != "95 % interval":
            table.add_column(name, justify="left" if name in ("figure", "note") else "right", overflow="fold")
    for name, figure in figures["metrics"].items():
        interval = [_interval(figure)] if shows_intervals else []
        table.add_row(name, human(figure["value"], figure["unit"]), *interval, figure["note"])
    console.print(table)
    print_line(console, f"{figures['validity']} ({figures['warmup_items']} warm-up items left out)")
    if figures["host"]:
        print_line(console, host_line(HostLoad(**figures["host"])))
    for line in (*ran_lines([RanStage(**each) for each in figures["runtimes"]]), *figures["trace"]):
        print_line(console, line)
    for fault in figures["recoveries"]:
        print_line(console, f"{fault['detected_s']:8.3f} s  {fault['kind']}: {fault['detail']}{_ending(fault)}")
    batch = batch_lines(figures["free_batch"], figures["batch"], figures["fps"])
    for line in (*batch, *measured_lines(figures["measured_sizes"])):
        print_line(console, line)
    for line in failures(figures):
        print_line(console, line, style="red")


def failures(figures: Mapping[str, Any]) -> list[str]:
    """Each error once, with the number of items that failed with it; of many different errors only some."""
    counts = figures["error_counts"]
    lines = [f"{count} of {figures['items']} items failed: {error}" for error, count in list(counts.items())[:MOST_ERRORS]]
    return lines + [f"and {len(counts) - MOST_ERRORS} more errors"] * (len(counts) > MOST_ERRORS)


def _interval(figure: Mapping[str, Any]) -> str:
    """The interval in the unit of the value; '' for a single run, and for a figure that is the same in every round."""
    low, high = figure.get("interval", (0.0, 0.0))
    scale = scale_for([figure["value"]], figure["unit"])
    return "" if low == high else f"{scale.text(low)} to {scale.text(high)}"


def _ending(fault: Mapping[str, Any]) -> str:
    """How a fault ended; nothing for a device that returned."""
    if fault["kind"] == RETURN:
        return ""
    return "; not recovered" if fault["recovery_s"] is None else f"; recovered in {fault['recovery_s']:.3f} s"
