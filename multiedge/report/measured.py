"""Results as what the times of single items are taken from: the plan that ran, its model, and the records of the run."""

from __future__ import annotations

import os
from dataclasses import dataclass

from multiedge.errors import ConfigError
from multiedge.graph import Graph
from multiedge.measurements import Measurements
from multiedge.plan import Plan
from multiedge.report.results import RunResult, load_results


@dataclass(frozen=True)
class MeasuredPlan:
    """One plan that ran from begin to end.

    Attributes:
        plan: The plan, without paths.
        graph: Its model.
        run: What was measured.
    """

    plan: Plan
    graph: Graph
    run: Measurements


def load_measured_plan(path: str | os.PathLike[str]) -> MeasuredPlan:
    """The plan and the records in a file that `multiedge run -o` wrote.

    Raises ConfigError, one line, for another file, and as `measured_plan`.
    """
    return measured_plan(load_results(path), str(path))


def measured_plan(result: RunResult, place: str) -> MeasuredPlan:
    """The plan and the records of a result.

    Args:
        result: The result.
        place: Begins errors.

    Returns:
        The MeasuredPlan.

    Raises:
        ConfigError: If the result has no plan, model or records, the plan has paths, or it changed during the run.
    """
    plan, graph, run = result.plan, result.graph, result.measurements
    if plan is None or graph is None or run is None:
        absent = next(what for what, part in (("a plan", plan), ("its model", graph), ("events", run)) if part is None)
        raise ConfigError(
            f"{place}: expected a run of a plan, got results without {absent}; write them with `multiedge run -o`"
        )
    if plan.paths:
        raise ConfigError(f"{place}: the plan has several paths, whose stages differ; run a plan without paths")
    if any(event.kind == "replan" for event in run.events):
        raise ConfigError(f"{place}: the plan changed during the run; run it again with --no-replan")
    return MeasuredPlan(plan, graph, run)
