"""`multiedge load`: requests to a server, sent when they are due."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from multiedge.commands import _options
from multiedge.commands._terminal import Column, count_bar, new_console, new_table, print_columns, print_line
from multiedge.commands.arguments.load import ACCURACY
from multiedge.commands.run import failures
from multiedge.errors import ConfigError, require_least
from multiedge.files import require_writable
from multiedge.load import PATTERNS, TARGETS
from multiedge.load.contract import Target
from multiedge.load.knee import LEAST_REQUESTS, Knee, Step, find_knee
from multiedge.load.patterns import Pattern
from multiedge.load.place import parse_place, protocol_of
from multiedge.load.run import DEFAULT_SECONDS, LoadOptions, load_result, run_load, schedule_of
from multiedge.metrics import MetricValue
from multiedge.options import build, option_names
from multiedge.quantity import number_text
from multiedge.report.results import RunResult, save_results
from multiedge.report.summary import summary
from multiedge.report.units import human

if TYPE_CHECKING:
    from rich.console import Console

FAILED = 1
TARGET_FLAGS = ("model", "inputs", "samples", "prompts", "max_tokens", "stream", "seed")
"""Options of targets that have a flag."""
SHOWN = (
    "offered_per_s",
    "fps",
    "latency_mean_s",
    "latency_p50_s",
    "latency_p90_s",
    "latency_p99_s",
    "latency_max_s",
    "first_token_p50_s",
    "first_token_p99_s",
    "tokens_per_s",
    "accuracy_top1",
    "lag_p50_s",
    "lag_p99_s",
    "lag_max_s",
    "dispersion",
    "arrivals_p",
    "items",
    "completed",
    "failed",
    "lost",
)
"""Figures of a load: what it says nothing of, such as memory of devices, is left out."""

OF_PLANS = ("memory", "runtimes", "batch", "free_batch", "measured_sizes", "recoveries", "host", "repeats")


def run(args: argparse.Namespace) -> int:
    """Exit status 0 if every request was answered without an error, otherwise 1."""
    _require_consistent(args)
    if args.output:
        require_writable(args.output)
    options = read_options(args)
    pattern = read_pattern(args, args.rate)
    target = read_target(args)
    labels = _options.read_labels(args, len(target.requests))
    if args.ramp_to is not None:
        return _ramp(args, target, options)
    result = _measure(args, target, pattern, options, labels)
    if args.json:
        print(json.dumps(as_json(result), indent=1), flush=True)
    else:
        show(result, new_console())
    _save(result, args.output)
    return FAILED if _count(result, "failed") or _count(result, "lost") else 0


def _require_consistent(args: argparse.Namespace) -> None:
    if args.labels and args.mode != ACCURACY:
        raise ConfigError("--labels: has no effect without --mode accuracy; give it, or leave --labels out")
    _options.require_with(args, "labels", "inputs")
    if args.mode == ACCURACY and not args.labels:
        raise ConfigError("--mode accuracy: expected --inputs and --labels to compare the answers with")
    if args.ramp_to is None:
        return
    if args.rate is None or args.latency_bound is None or args.requests is not None or args.mode == ACCURACY:
        raise ConfigError("--ramp-to: expected --rate and --latency-bound, and neither --requests nor --mode accuracy")
    require_least("--ramp-to", args.ramp_to, args.rate)


def read_options(args: argparse.Namespace) -> LoadOptions:
    return LoadOptions(
        mode=args.mode,
        requests=args.requests,
        seconds=args.seconds,
        seed=args.seed or 0,
        senders=args.senders,
        connections=args.connections,
        warmup=args.warmup,
        timeout_s=args.timeout,
        latency_bound_s=args.latency_bound,
    )


def read_pattern(args: argparse.Namespace, rate_per_s: float | None) -> Pattern:
    """The pattern of the options, at a rate; a pattern that has none refuses --rate."""
    flags = {} if rate_per_s is None else {"rate_per_s": rate_per_s}
    options = _options.with_own(flags, args.option)
    has_rate = "rate_per_s" in option_names(PATTERNS, args.pattern)
    if flags and not has_rate:
        raise ConfigError(f"--rate: pattern '{args.pattern}' has none; leave it out")
    if has_rate and "rate_per_s" not in options:
        raise ConfigError(f"pattern '{args.pattern}': expected a rate in requests per second; give --rate")
    pattern: Pattern = build(PATTERNS, args.pattern, options)
    return pattern


def read_target(args: argparse.Namespace) -> Target:
    """The target of the URL, which asks the server what the model takes."""
    identity = args.identity or ""
    place = parse_place(args.url, identity)
    given = {**vars(args), "prompts": args.prompt}
    flags = {name: given[name] for name in TARGET_FLAGS if given[name] not in (None, [])}
    name = args.target or protocol_of(place)
    if "seed" not in option_names(TARGETS, name):
        flags.pop("seed", None)  # it is that of arrivals, too
    target: Target = build(TARGETS, name, {"place": place, **flags})
    return target


def _measure(
    args: argparse.Namespace, target: Target, pattern: Pattern, options: LoadOptions, labels: Sequence[int] = ()
) -> RunResult:
    count = len(schedule_of(target, pattern, options))
    with count_bar("sending", count) as progress:
        sent = run_load(target, pattern, options, progress)
    return load_result(args.name or target.name, sent, {**_configuration(args), "model": target.name}, labels)


def _configuration(args: argparse.Namespace) -> dict[str, Any]:
    given = {name: value for name, value in vars(args).items() if value is not None and value != []}
    return {name: value for name, value in given.items() if name not in ("command", "json", "output")}


def _ramp(args: argparse.Namespace, target: Target, options: LoadOptions) -> int:
    """Load tests at growing rates; exit status 0 if one of them was valid."""

    def measure(rate_per_s: float) -> RunResult:
        seconds = max(options.seconds or DEFAULT_SECONDS, LEAST_REQUESTS / rate_per_s)
        return _measure(args, target, read_pattern(args, rate_per_s), replace(options, seconds=seconds))

    knee = find_knee(measure, args.rate, args.ramp_to)
    if args.json:
        print(json.dumps(knee_json(knee), indent=1), flush=True)
    else:
        show_knee(knee, new_console())
    best = max((step for step in knee.steps if step.is_kept), key=lambda step: step.rate_per_s, default=None)
    if best:
        _save(best.result, args.output)
    return 0 if best else FAILED


def _save(result: RunResult, path: str | None) -> None:
    if path:
        save_results(result, path)


def as_json(result: RunResult) -> dict[str, Any]:
    """The figures of a load as JSON data: those of any run, without what is said of a plan and its devices."""
    figures = {name: value for name, value in summary(result).items() if name not in OF_PLANS}
    return {**figures, "metrics": {name: value for name, value in figures["metrics"].items() if name in SHOWN}}


def knee_json(knee: Knee) -> dict[str, Any]:
    return {
        "kept_per_s": knee.kept_per_s,
        "broken_per_s": knee.broken_per_s,
        "steps": [{"rate_per_s": step.rate_per_s, "is_kept": step.is_kept, **as_json(step.result)} for step in knee.steps],
    }


def show(result: RunResult, console: Console) -> None:
    """Prints the figures of a load, the verdict and the errors."""
    run = result.measurements
    assert run is not None
    settings = run.settings
    table = new_table(f"{result.name}: {settings['pattern']} arrivals, open loop")
    for name in ("figure", "value", "note"):
        table.add_column(name, justify="right" if name == "value" else "left", overflow="fold")
    for name in SHOWN:
        figure = result.results.get(name)
        if figure is not None and not (figure.value is None and name.startswith("latency") and not figure.note):
            table.add_row(name, human(figure.value, figure.unit), figure.note)
    console.print(table)
    print_line(console, f"{result.validity} ({run.warmup_items} warm-up requests left out)")
    for line in failures(summary(result)):
        print_line(console, line, style="red")


def show_knee(knee: Knee, console: Console) -> None:
    """Prints a line for each step, then where the knee is."""
    cells: Mapping[str, list[str]] = {
        "rate\n1/s": [number_text(step.rate_per_s) for step in knee.steps],
        "answered": [_cell(step, "fps") for step in knee.steps],
        "p50": [_cell(step, "latency_p50_s") for step in knee.steps],
        "p99": [_cell(step, "latency_p99_s") for step in knee.steps],
        "lag p99": [_cell(step, "lag_p99_s") for step in knee.steps],
    }
    columns = [Column(heading, values) for heading, values in cells.items()]
    columns.append(Column("verdict", [step.result.validity.verdict for step in knee.steps], is_number=False))
    if knee.steps:
        print_columns(console, "a load test at each rate", columns)
    for step in knee.steps:
        if step.result.validity.why:
            print_line(console, f"{number_text(step.rate_per_s)}/s: {'; '.join(step.result.validity.why)}")
    print_line(console, str(knee))


def _cell(step: Step, name: str) -> str:
    figure: MetricValue = step.result.results[name]
    return human(figure.value, figure.unit) if figure.value is not None else "-"


def _count(result: RunResult, name: str) -> int:
    return int(result.results[name].value or 0)
