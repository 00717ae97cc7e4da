"""`multiedge compare`: all strategies side by side."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.commands import _options
from multiedge.commands._terminal import Column, new_console, print_columns, print_line, share_bar
from multiedge.compare import Row, as_json, comparable, compare, draw_all, ratios
from multiedge.formats.devices import read_fleet
from multiedge.graph import Graph
from multiedge.plan import Plan
from multiedge.quantity import human_bytes, number_text
from multiedge.report.plan_text import batch_lines, measured_lines
from multiedge.run import node_costs

if TYPE_CHECKING:
    from rich.console import Console

WORDS = ("strategy", "minimises")
COLUMNS = (
    ("strategy", 0),
    ("minimises", 3),
    ("items/s", 0),
    ("time\nof best", 5),
    ("latency\nms", 0),
    ("latency\nof best", 4),
    ("J/item", 0),
    ("memory", 0),
    ("gap", 1),
    ("stages", 0),
    ("solved in\ns", 2),
)
"""Headings, and which column leaves first where the terminal is narrow."""


def run(args: argparse.Namespace) -> int:
    """0 if some strategy has a plan, otherwise 1."""
    options = _options.strategy_flags(args)
    names = comparable(parse_names(args.strategies), options)
    fleet = read_fleet(args.devices)
    graph = _options.read_sized(args, args.profile)
    profile = node_costs(graph, fleet, args.profile, args.reference)
    with share_bar(f"planning {graph.name}") as progress:
        rows = compare(profile, fleet, names, progress, options)
    if args.output:
        for path in draw_all(graph, rows, Path(args.output)):
            print(f"drawn: {path}", file=sys.stderr)
    if args.json:
        print(
            json.dumps(
                {
                    "model": graph.name,
                    "fleet": fleet.name,
                    "free_batch": list(graph.free_batch),
                    "measured_sizes": list(graph.measured_sizes),
                    "rows": as_json(rows),
                },
                indent=1,
                allow_nan=False,
            )
        )
    else:
        console = new_console()
        show(graph, rows, console)
        for line in _options.warnings_of(profile):
            print_line(console, line, style="yellow")
    return 0 if any(row.plan for row in rows) else 1


def parse_names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def show(graph: Graph, rows: Sequence[Row], console: Console) -> None:
    """Prints a line for each strategy, then why some have none."""
    throughput, latency = ratios(rows, "throughput"), ratios(rows, "latency")
    planned = [_cells(row, row.plan, throughput, latency) for row in rows if row.plan]
    if planned:
        columns = [
            Column(heading, cells, leaves, is_number=heading not in WORDS)
            for (heading, leaves), cells in zip(COLUMNS, zip(*planned, strict=True), strict=True)
        ]
        print_columns(console, f"{graph.name}: strategies side by side", columns)
    for line in (*batch_lines(graph.free_batch), *measured_lines(graph.measured_sizes)):
        print_line(console, line)
    for row in rows:
        if row.plan is None:
            print_line(console, f"{row.strategy}: no plan: {row.failure}")


def _cells(row: Row, plan: Plan, throughput: Mapping[str, float], latency: Mapping[str, float]) -> list[str]:
    expected = plan.estimate
    return [
        row.strategy,
        plan.objective,
        number_text(expected.fps_bound),
        f"{throughput[row.strategy]:.2f}x" if row.strategy in throughput else "-",
        number_text(expected.latency_s * 1e3),
        f"{latency[row.strategy]:.2f}x" if row.strategy in latency else "-",
        "-" if expected.energy_j is None else number_text(expected.energy_j),
        human_bytes(row.memory_bytes),
        "-" if plan.gap is None else f"{plan.gap:.2%}",
        str(len(plan.stages)),
        f"{row.seconds:.2f}",
    ]
