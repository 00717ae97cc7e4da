"""`multiedge plan`: decide which nodes run on which device."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.commands import _options
from multiedge.commands._terminal import Column, new_console, print_columns, print_line, share_bar, shorten
from multiedge.formats.devices import read_fleet
from multiedge.formats.plan import plan_to_json
from multiedge.graph import Graph
from multiedge.onnx_io import write_parts
from multiedge.plan import Plan, Stage, StageEstimate
from multiedge.quantity import human_bytes
from multiedge.report.plan_text import gain_line, plan_lines
from multiedge.run import choose_strategy, node_costs, plan_model, segment_costs

if TYPE_CHECKING:
    from rich.console import Console

LONGEST_NAME = 24
"""Characters of a node's name."""


def run(args: argparse.Namespace) -> int:
    _options.require_with(args, "copy_weights", "output")
    fleet = read_fleet(args.devices)
    own = _options.with_own(_options.strategy_flags(args), args.option)
    strategy, options = choose_strategy(args.strategy, args.objective, own)
    graph = _options.read_sized(args, args.profile)
    with share_bar(f"planning {Path(args.model).name}") as progress:
        profile = (
            segment_costs(graph, fleet, strategy, options, progress)
            if args.time_segments
            else node_costs(graph, fleet, args.profile, args.reference)
        )
        progress("searching", 1.0)
        plan = plan_model(profile, fleet, strategy, **options)
        manifest = None
        if args.output:
            progress("writing parts", 1.0)
            manifest = write_parts(graph, plan, args.output, copy_weights=args.copy_weights, profile=profile)
    if manifest:
        print(f"{len(manifest.parts)} parts and plan.json written to {manifest.directory}", file=sys.stderr)
    if args.json:
        print(json.dumps(plan_to_json(plan.with_names(graph)), indent=1, allow_nan=False))
    else:
        console = new_console()
        show(plan, graph, console)
        for line in _options.warnings_of(profile):
            print_line(console, line, style="yellow")
    return 0


def show(plan: Plan, graph: Graph, console: Console) -> None:
    """Prints what the plan gains, its stages, its objective and proof, and why devices were left out."""
    gain = gain_line(plan)
    if gain:
        print_line(console, gain)
    print_columns(console, f"{graph.name} by '{plan.strategy}'", _columns(plan, graph))
    for line in plan_lines(plan):
        print_line(console, line)


def _columns(plan: Plan, graph: Graph) -> list[Column]:
    planned_bytes = plan.estimate.planned_bytes
    rows = [_cells(graph, planned_bytes, *row) for row in zip(plan.stages, plan.estimate.stages, strict=True)]
    source = plan.estimate.source
    if source:
        sending = f"{source.transfer_s * 1e3:.4g}"
        rows.insert(0, [f"{source.device}: inputs", "", "", "", sending, human_bytes(source.sent_bytes), "", "", ""])
    devices, nodes, ends, compute, sending_ms, sent, memory, limit, busy = (list(cells) for cells in zip(*rows, strict=True))
    return [
        Column("device", devices, is_number=False),
        Column("nodes", nodes, is_number=False),
        Column("up to", ends, leaves=2, is_number=False),
        Column("compute\nms", compute),
        Column("sending\nms", sending_ms),
        Column("sent", sent),
        Column("memory", memory),
        Column("of", limit, leaves=1),
        Column("busy", busy),
    ]


def _cells(graph: Graph, planned_bytes: Mapping[str, int], stage: Stage, expected: StageEstimate) -> list[str]:
    """Of a stage; memory is that of its device's one process, the other stages there included."""
    pieces = f" in {len(stage.ranges)} pieces" if len(stage.ranges) > 1 else ""
    return [
        " + ".join(stage.devices),
        f"{stage.nodes[0]}..{stage.nodes[-1]}{pieces}",
        shorten(graph.nodes[stage.nodes[-1]].name, LONGEST_NAME),
        f"{expected.compute_s * 1e3:.4g}",
        f"{expected.transfer_s * 1e3:.4g}",
        "not known" if expected.sent_bytes is None else human_bytes(expected.sent_bytes),
        human_bytes(max(planned_bytes[device] for device in stage.devices)),
        "no limit" if expected.memory_limit_bytes is None else human_bytes(expected.memory_limit_bytes),
        f"{expected.utilisation:.0%}",
    ]
