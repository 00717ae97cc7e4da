"""`multiedge compare`: all strategies side by side."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

from multiedge.commands.plan import costs
from multiedge.commands.profile import parse_shapes, progress_bar
from multiedge.errors import MultiedgeError
from multiedge.files import write_text
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph
from multiedge.plan import Plan
from multiedge.planning import cost
from multiedge.profile import Profile
from multiedge.quantity import human_bytes
from multiedge.report.graph_svg import draw_graph, standalone
from multiedge.report.pareto import Point, draw
from multiedge.run import plan_model
from partitioners import PARTITIONERS

ORACLES = ("brute_force",)
"""Strategies that try everything: for tests of the others, and run only when they are asked for."""
WIDTH = 124
"""Columns that the table needs: a narrower terminal wraps its lines, which loses nothing."""
COSTS = {"latency": ("latency", "s"), "memory": ("largest memory of a device", "B"), "energy": ("energy per item", "J/item")}


@dataclass(frozen=True)
class Row:
    """What one strategy gave: its plan or the reason why there is none. `seconds` is the wall time it took."""

    strategy: str
    plan: Plan | None
    seconds: float
    memory_bytes: int = 0
    failure: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="ONNX file")
    parser.add_argument("--devices", metavar="FILE", required=True, help="devices.yaml")
    parser.add_argument("--profile", metavar="FILE", help="what nodes cost, from `multiedge profile -o`; default: estimated")
    parser.add_argument("--strategies", metavar="A,B", help="some of them; default: all")
    parser.add_argument("--shape", action="append", default=[], metavar="INPUT=1,3,224,224", help="size of a dynamic input")
    parser.add_argument("--json", action="store_true", help="print rows as JSON, not as a table")
    parser.add_argument("-o", "--output", metavar="DIR", help="draw the Pareto pictures and each plan's graph there, SVG")


def run(args: argparse.Namespace) -> int:
    fleet = read_fleet(args.devices)
    graph = read_graph(args.model, parse_shapes(args.shape))
    profile = costs(graph, fleet, args.profile)
    names = wanted(args.strategies)
    with progress_bar(f"planning {graph.name}") as progress:
        rows = compare(profile, fleet, names, progress)
    if args.output:
        for path in draw_all(graph, rows, Path(args.output)):
            print(f"drawn: {path}", file=sys.stderr)
    if args.json:
        print(json.dumps({"model": graph.name, "fleet": fleet.name, "rows": as_json(rows)}, indent=1, allow_nan=False))
    else:
        show(graph, rows, Console(width=max(WIDTH, Console().width)))
    return 0 if any(row.plan for row in rows) else 1


def wanted(text: str | None) -> list[str]:
    """The strategies to compare; ConfigError, with near names, for one that is not registered."""
    names = (
        [name for name in PARTITIONERS.names() if name not in ORACLES]
        if text is None
        else [name.strip() for name in text.split(",") if name.strip()]
    )
    for name in names:
        PARTITIONERS.load(name)
    return names


def compare(
    profile: Profile, fleet: Fleet, names: Sequence[str], progress: Callable[[str, float], None] = lambda name, share: None
) -> list[Row]:
    """A row for each strategy with its default options, in the order of `names`."""
    rows = []
    for number, name in enumerate(names):
        progress(name, number / len(names))
        rows.append(_row(profile, fleet, name))
    return rows


def _row(profile: Profile, fleet: Fleet, name: str) -> Row:
    start = perf_counter()
    try:
        plan = plan_model(profile, fleet, name)
    except MultiedgeError as error:
        return Row(name, None, perf_counter() - start, failure=str(error))
    seconds = perf_counter() - start
    needed = cost.memory_by_device(profile, fleet, plan.stages, plan.transfers)
    return Row(name, plan, seconds, max(needed.values()))


def ratios(rows: Sequence[Row], objective: str) -> dict[str, float]:
    """By strategy how many times the best value of `objective` its plan has; 1 is the best of the rows."""
    values = {row.strategy: cost.objective_value(objective, row.plan.estimate) for row in rows if row.plan}
    best = min(values.values(), default=math.inf)
    return {name: value / best for name, value in values.items() if math.isfinite(value) and best > 0}


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    by_objective = {objective: ratios(rows, objective) for objective in ("throughput", "latency", "energy")}
    return [_row_json(row, by_objective) for row in rows]


def _row_json(row: Row, by_objective: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    if row.plan is None:
        return {"strategy": row.strategy, "failure": row.failure, "seconds": row.seconds}
    plan, expected = row.plan, row.plan.estimate
    return {
        "strategy": row.strategy,
        "objective": plan.objective,
        "value": plan.value if math.isfinite(plan.value) else None,
        "lower_bound": plan.lower_bound,
        "gap": plan.gap,
        "bound_scope": plan.bound_scope,
        "ratio_to_best": {name: found.get(row.strategy) for name, found in by_objective.items()},
        "bottleneck_s": expected.bottleneck_s,
        "bottleneck": expected.bottleneck,
        "latency_s": expected.latency_s,
        "energy_j": expected.energy_j,
        "largest_memory_bytes": row.memory_bytes,
        "network_bytes": expected.network_bytes,
        "stages": [{"device": stage.device, "nodes": len(stage.nodes)} for stage in plan.stages],
        "seconds": row.seconds,
    }


def show(graph: Graph, rows: Sequence[Row], console: Console) -> None:
    """Prints a line for each strategy, then why some have none."""
    table = Table(title=f"{graph.name}: strategies side by side", title_justify="left")
    table.add_column("strategy", no_wrap=True)
    table.add_column("makes best", no_wrap=True)
    for name in ("ms/item", "of best", "latency ms", "of best", "J/item", "memory", "gap", "stages", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    throughput, latency = ratios(rows, "throughput"), ratios(rows, "latency")
    for row in rows:
        if row.plan:
            table.add_row(*_cells(row, row.plan, throughput, latency))
    console.print(table)
    for row in rows:
        if row.plan is None:
            console.print(f"{row.strategy}: no plan: {row.failure}", markup=False, highlight=False, soft_wrap=True)


def _cells(row: Row, plan: Plan, throughput: Mapping[str, float], latency: Mapping[str, float]) -> list[str]:
    expected = plan.estimate
    return [
        row.strategy,
        plan.objective,
        f"{expected.bottleneck_s * 1e3:.4g}",
        f"{throughput[row.strategy]:.2f}x" if row.strategy in throughput else "-",
        f"{expected.latency_s * 1e3:.4g}",
        f"{latency[row.strategy]:.2f}x" if row.strategy in latency else "-",
        "-" if expected.energy_j is None else f"{expected.energy_j:.4g}",
        human_bytes(row.memory_bytes),
        "-" if plan.gap is None else f"{plan.gap:.2%}",
        str(len(plan.stages)),
        f"{row.seconds:.2f}",
    ]


def draw_all(graph: Graph, rows: Sequence[Row], directory: Path) -> list[Path]:
    """Writes pareto-*.svg, throughput against each cost, and graph-STRATEGY.svg; the files written."""
    directory.mkdir(parents=True, exist_ok=True)
    found = []
    for kind, (title, unit) in COSTS.items():
        points = _points(rows, kind)
        if points:
            drawing = draw(points, "items/s", unit, "throughput", title)
            found.append(write_text(directory / f"pareto-{kind}.svg", standalone(drawing)))
    for row in rows:
        if row.plan:
            drawing = draw_graph(graph, row.plan.stages, row.plan.transfers)
            found.append(write_text(directory / f"graph-{row.strategy}.svg", standalone(drawing)))
    return found


def _points(rows: Sequence[Row], kind: str) -> list[Point]:
    found = []
    for number, row in enumerate(rows, start=1):
        if row.plan:
            expected = row.plan.estimate
            y = {"latency": expected.latency_s, "memory": float(row.memory_bytes), "energy": expected.energy_j}[kind]
            if y is not None and math.isfinite(expected.fps_bound):
                found.append(Point(number, row.strategy, expected.fps_bound, y))
    return found
