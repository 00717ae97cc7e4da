"""`multiedge plan`: decide which nodes run on which device."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from multiedge.commands import _options
from multiedge.commands._terminal import new_console, new_table, print_line
from multiedge.formats.devices import read_fleet
from multiedge.formats.plan import plan_to_json
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph, write_parts
from multiedge.plan import Plan, Stage, StageEstimate
from multiedge.quantity import human_bytes
from multiedge.report.plan_text import plan_lines
from multiedge.run import DEFAULT_STRATEGY, choose_strategy, node_costs, plan_model, segment_costs
from partitioners import PARTITIONERS
from partitioners.engine.contract import OBJECTIVES

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 120
"""Columns that the table needs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_model(parser)
    _options.add_devices(parser)
    costs = parser.add_mutually_exclusive_group()
    _options.add_profile(costs)
    costs.add_argument(
        "--time-segments",
        action="store_true",
        help="time the parts that the plan would use on this machine, and plan again until the plan stays the same",
    )
    parser.add_argument(
        "--strategy", metavar="NAME", help=f"one of {', '.join(PARTITIONERS.names())} (default: the objective's own)"
    )
    parser.add_argument("--objective", choices=OBJECTIVES, help=f"what to make best (default: {DEFAULT_STRATEGY})")
    _options.add_option(parser, "strategy")
    _options.add_shape(parser)
    _options.add_json(parser, "the plan")
    parser.add_argument("--copy-weights", action="store_true", help="with -o: copy weights into the folder, not link them")
    _options.add_output(parser, "DIR", "write the parts and plan.json there")


def run(args: argparse.Namespace) -> int:
    _options.require_with(args, "copy_weights", "output")
    fleet = read_fleet(args.devices)
    strategy, options = choose_strategy(args.strategy, args.objective, _options.parse_options(args.option))
    graph = read_graph(args.model, _options.parse_shapes(args.shape))
    profile = segment_costs(graph, fleet, strategy, options) if args.time_segments else node_costs(graph, fleet, args.profile)
    plan = plan_model(profile, fleet, strategy, **options)
    if args.output:
        manifest = write_parts(graph, plan, args.output, copy_weights=args.copy_weights)
        print(f"{len(manifest.parts)} parts and plan.json written to {manifest.directory}", file=sys.stderr)
    if args.json:
        print(json.dumps(plan_to_json(plan.with_names(graph)), indent=1, allow_nan=False))
    else:
        show(plan, graph, new_console(WIDTH))
    return 0


def show(plan: Plan, graph: Graph, console: Console) -> None:
    """Prints the plan's stages, its objective and proof, and why devices were left out."""
    table = new_table(f"{graph.name} by '{plan.strategy}'")
    table.add_column("device", no_wrap=True)
    table.add_column("nodes", no_wrap=True)
    table.add_column("up to", overflow="ellipsis", no_wrap=True, max_width=32)
    for name in ("compute ms", "transfer ms", "memory", "of", "busy"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage, expected in zip(plan.stages, plan.estimate.stages, strict=True):
        table.add_row(*_cells(graph, stage, expected))
    console.print(table)
    for line in plan_lines(plan):
        print_line(console, line)


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
