"""`multiedge plan`: decide which nodes run on which device."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from multiedge.commands.profile import parse_shapes
from multiedge.errors import ConfigError
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.formats.plan import plan_to_json
from multiedge.formats.profile import load_profile, require_fits
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph, write_parts
from multiedge.plan import Plan, Stage, StageEstimate
from multiedge.profile import Profile
from multiedge.quantity import human_bytes
from multiedge.run import DEFAULT_PROFILER, DEFAULT_STRATEGY, plan_model, profile_model
from partitioners import PARTITIONERS
from partitioners.engine.contract import OBJECTIVES

WIDTH = 120
"""Columns that the table needs: a narrower terminal wraps its lines, which loses nothing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="ONNX file")
    parser.add_argument("--devices", metavar="FILE", required=True, help="devices.yaml")
    found = parser.add_mutually_exclusive_group()
    found.add_argument("--profile", metavar="FILE", help="what nodes cost, from `multiedge profile -o`; default: estimated")
    found.add_argument(
        "--time-segments",
        action="store_true",
        help="time the parts that the plan would use on this machine, and plan again until both agree",
    )
    parser.add_argument(
        "--strategy", metavar="NAME", help=f"one of {', '.join(PARTITIONERS.names())} (default: the objective's own)"
    )
    parser.add_argument("--objective", choices=OBJECTIVES, help=f"what to make best (default: {DEFAULT_STRATEGY})")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the strategy")
    parser.add_argument("--shape", action="append", default=[], metavar="INPUT=1,3,224,224", help="size of a dynamic input")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON, not as a table")
    parser.add_argument("--copy-weights", action="store_true", help="with -o: copy weights into the folder, not link them")
    parser.add_argument("-o", "--output", metavar="DIR", help="write the parts and plan.json there")


def run(args: argparse.Namespace) -> int:
    fleet = read_fleet(args.devices)
    graph = read_graph(args.model, parse_shapes(args.shape))
    strategy, options = chosen(args.strategy, args.objective, parse_options(args.option))
    profile = segment_costs(graph, fleet, strategy, options) if args.time_segments else costs(graph, fleet, args.profile)
    plan = plan_model(profile, fleet, strategy, **options)
    if args.output:
        manifest = write_parts(graph, plan, args.output, copy_weights=args.copy_weights)
        print(f"{len(manifest.parts)} parts and plan.json written to {manifest.directory}", file=sys.stderr)
    if args.json:
        print(json.dumps(plan_to_json(plan.with_names(graph)), indent=1, allow_nan=False))
    else:
        show(plan, graph, Console(width=max(WIDTH, Console().width)))
    return 0


def costs(graph: Graph, fleet: Fleet, path: str | None) -> Profile:
    """The profile in the file, checked against model and fleet, or one by the default profiler."""
    if path is None:
        return profile_model(graph, fleet, DEFAULT_PROFILER)
    profile = load_profile(path)
    require_fits(profile, graph, fleet)
    return profile


def segment_costs(graph: Graph, fleet: Fleet, strategy: str, options: Mapping[str, Any]) -> Profile:
    """Costs by timing the parts that `strategy` would make, planned and timed until both agree; what was timed is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "multiedge" / "segments"
    return profile_model(graph, fleet, "segments", strategy=strategy, options=options, cache=str(cache))


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Options from 'key=value' texts, values read as YAML: numbers, true, false and lists are what they look like."""
    found: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ConfigError(f"--option: expected KEY=VALUE such as replicate=true, got '{text}'")
        try:
            found[key.replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--option {key}: expected a number, a word, true or false, got '{value}'") from None
    return found


def chosen(strategy: str | None, objective: str | None, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The strategy and its options; an objective picks the strategy of its name, or is passed to the one that is named."""
    if strategy is None:
        return objective or DEFAULT_STRATEGY, options
    if objective is None or strategy == objective:
        return strategy, options
    if "objective" not in inspect.signature(PARTITIONERS.load(strategy)).parameters:
        raise ConfigError(
            f"--objective {objective}: strategy '{strategy}' has an objective of its own;"
            f" use --strategy {objective}, or leave one out"
        )
    return strategy, {**options, "objective": objective}


def show(plan: Plan, graph: Graph, console: Console) -> None:
    """Prints the plan's stages, its objective and proof, and why devices were left out."""
    table = Table(title=f"{graph.name} by '{plan.strategy}'", title_justify="left")
    table.add_column("device", no_wrap=True)
    table.add_column("nodes", no_wrap=True)
    table.add_column("up to", overflow="ellipsis", no_wrap=True, max_width=32)
    for name in ("compute ms", "transfer ms", "memory", "of", "busy"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage, expected in zip(plan.stages, plan.estimate.stages, strict=True):
        table.add_row(*_cells(graph, stage, expected))
    console.print(table)
    for line in summary_lines(plan):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _cells(graph: Graph, stage: Stage, expected: StageEstimate) -> list[str]:
    pieces = f" in {len(stage.ranges)} pieces" if len(stage.ranges) > 1 else ""
    return [
        " + ".join(stage.devices),
        f"{stage.nodes[0]}..{stage.nodes[-1]}{pieces}",
        graph.nodes[stage.nodes[-1]].name,
        f"{expected.compute_s * 1e3:.3f}",
        f"{expected.transfer_s * 1e3:.3f}",
        human_bytes(expected.memory_bytes),
        "no limit" if expected.memory_limit_bytes is None else human_bytes(expected.memory_limit_bytes),
        f"{expected.utilisation:.0%}",
    ]


def summary_lines(plan: Plan) -> list[str]:
    """Objective, bound and gap, then what else is expected, then who was left out and why."""
    expected = plan.estimate
    energy = "energy not known (a device declares no power)"
    if expected.energy_j is not None:
        energy = f"{expected.energy_j:.4g} J per item"
    lines = [
        f"{plan.objective}: {in_words(plan.objective, plan.value)}; {_proof(plan)}; solved in {plan.solve_s:.2f} s",
        f"at most {expected.fps_bound:.4g} items/s, limited by {expected.bottleneck};"
        f" one item alone {expected.latency_s * 1e3:.4g} ms; {human_bytes(expected.network_bytes)} sent per item; {energy}",
    ]
    lines += [f"left out: {device}: {reason}" for device, reason in plan.left_out.items()]
    return lines + [f"note: {note}" for note in plan.notes]


def _proof(plan: Plan) -> str:
    if plan.lower_bound is None or plan.gap is None:
        return "no bound proven"
    return f"bound {in_words(plan.objective, plan.lower_bound)}, gap {plan.gap:.2%} among {plan.bound_scope}"


def in_words(objective: str, value: float) -> str:
    """A value of the objective with its unit."""
    if objective == "energy":
        return f"{value:.4g} J per item"
    return f"{value * 1e3:.4g} ms" + (" per item" if objective == "throughput" else "")
