"""Strategies side by side on one model and fleet: a row for each, as data and as pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from multiedge.errors import MultiedgeError
from multiedge.files import write_text
from multiedge.fleet import Fleet
from multiedge.graph import Graph
from multiedge.options import require_options, with_option
from multiedge.plan import Plan
from multiedge.planning import cost
from multiedge.profile import Profile
from multiedge.report.graph_svg import draw_graph, standalone
from multiedge.report.pareto import Point, draw
from multiedge.run import plan_model
from partitioners import PARTITIONERS

ORACLES = ("brute_force",)
"""Strategies that try everything: for tests of the others, and run only where they are named."""
COSTS = {"latency": ("latency", "s"), "memory": ("largest memory of a device", "B"), "energy": ("energy per item", "J/item")}
"""What throughput is drawn against: title and unit."""


@dataclass(frozen=True)
class Row:
    """What one strategy gave: its plan, or `failure`, the reason why there is none.

    `seconds` is the wall time it took, `memory_bytes` the largest memory that the plan takes on a device.
    """

    strategy: str
    plan: Plan | None
    seconds: float
    memory_bytes: int = 0
    failure: str = ""


def comparable(names: Sequence[str] | None = None, options: Iterable[str] = ()) -> list[str]:
    """The strategies of these names, or all that have the options, without the oracles.

    ConfigError, with near names, for one that is not registered, and for one without an option.
    """
    if names is None:
        able = [with_option(PARTITIONERS, option) for option in options]
        return [name for name in PARTITIONERS.names() if name not in ORACLES and all(name in each for each in able)]
    for name in names:
        require_options(PARTITIONERS, name, options)
    return list(names)


def compare(
    profile: Profile,
    fleet: Fleet,
    names: Sequence[str],
    progress: Callable[[str, float], None] = lambda name, share: None,
    options: Mapping[str, Any] | None = None,
) -> list[Row]:
    """A row for each strategy in the order of `names`, with these options, the others by default."""
    rows = []
    for number, name in enumerate(names):
        progress(name, number / len(names))
        rows.append(_row(profile, fleet, name, options or {}))
    return rows


def _row(profile: Profile, fleet: Fleet, name: str, options: Mapping[str, Any]) -> Row:
    start = perf_counter()
    try:
        plan = plan_model(profile, fleet, name, **options)
    except MultiedgeError as error:
        return Row(name, None, perf_counter() - start, failure=str(error))
    seconds = perf_counter() - start
    return Row(name, plan, seconds, max(plan.estimate.planned_bytes.values()))


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
        "ratio_to_best": {name: by_strategy.get(row.strategy) for name, by_strategy in by_objective.items()},
        "bottleneck_s": expected.bottleneck_s,
        "bottleneck": expected.bottleneck,
        "latency_s": expected.latency_s,
        "energy_j": expected.energy_j,
        "largest_memory_bytes": row.memory_bytes,
        "network_bytes": expected.network_bytes,
        "stages": [{"device": stage.device, "nodes": len(stage.nodes)} for stage in plan.stages],
        "seconds": row.seconds,
    }


def draw_all(graph: Graph, rows: Sequence[Row], directory: Path) -> list[Path]:
    """Writes pareto-*.svg, throughput against each cost, and graph-STRATEGY.svg; the files written."""
    written = []
    for kind, (title, unit) in COSTS.items():
        points = _points(rows, kind)
        if points:
            drawing = draw(points, "items/s", unit, "throughput", title)
            written.append(write_text(directory / f"pareto-{kind}.svg", standalone(drawing)))
    for row in rows:
        if row.plan:
            drawing = draw_graph(graph, row.plan.stages, row.plan.transfers)
            written.append(write_text(directory / f"graph-{row.strategy}.svg", standalone(drawing)))
    return written


def _points(rows: Sequence[Row], kind: str) -> list[Point]:
    points = []
    for number, row in enumerate(rows, start=1):
        if row.plan:
            expected = row.plan.estimate
            y = {"latency": expected.latency_s, "memory": float(row.memory_bytes), "energy": expected.energy_j}[kind]
            if y is not None and math.isfinite(expected.fps_bound):
                points.append(Point(number, row.strategy, expected.fps_bound, y))
    return points
