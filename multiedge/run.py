"""The whole arrow: model and devices in, parts, a running pipeline and its results out.

Each function is one step; `partition` is the way from files to parts that the command line, the Ianvs paradigm and a
notebook share. Strategies and profilers are chosen by name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from multiedge.backends.stages import require_backends
from multiedge.executors import open_pipeline
from multiedge.executors.flow.contract import Result, Tensors
from multiedge.executors.flow.drive import Progress
from multiedge.executors.flow.pipeline import bare_fleet
from multiedge.executors.flow.scenarios import scenario as scenario_of
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.graph import Graph
from multiedge.meters.modelled import with_energy
from multiedge.onnx_io import read_graph, read_manifest, write_parts
from multiedge.options import build
from multiedge.plan import Manifest, Plan, Stage, direct_transfers, require
from multiedge.planning import cost
from multiedge.planning.checks import memory_violations, structural_violations, violations
from multiedge.profile import Profile
from multiedge.report.results import RunResult, make_result
from partitioners import PARTITIONERS
from profilers import PROFILERS

PathLike = str | os.PathLike[str]
DEFAULT_STRATEGY = "throughput"
DEFAULT_PROFILER = "static"


def profile_model(graph: Graph, fleet: Fleet, profiler: str = DEFAULT_PROFILER, **options: Any) -> Profile:
    """What every node of `graph` costs on every device of `fleet`, found by the profiler of that name."""
    require_backends(fleet)
    profile: Profile = build(PROFILERS, profiler, options).profile(graph, fleet)
    return profile


def plan_model(profile: Profile, fleet: Fleet, strategy: str = DEFAULT_STRATEGY, **options: Any) -> Plan:
    """Where every node runs, decided by the strategy of that name and checked against the fleet.

    Raises InfeasibleError if no plan fits, PlanError that lists everything wrong if the strategy's plan cannot run.
    """
    require_backends(fleet)
    plan: Plan = build(PARTITIONERS, strategy, options).plan(profile, fleet)
    require(violations(profile, fleet, plan.stages, plan.transfers), f"plan of strategy '{strategy}'")
    return plan


def plan_by_hand(
    profile: Profile,
    fleet: Fleet,
    stages: Sequence[Stage],
    *,
    strategy: str = "custom",
    objective: str = "throughput",
    lower_bound: float | None = None,
) -> Plan:
    """The Plan for stages that you chose, each tensor sent once to each stage that reads it.

    `lower_bound` is what you can prove, in the unit of `objective`. Raises PlanError that lists everything wrong.
    """
    require(structural_violations(profile.graph, fleet, stages), "plan by hand")
    transfers = direct_transfers(profile.graph, stages)
    require(memory_violations(profile, fleet, stages, transfers), "plan by hand")
    return cost.make_plan(strategy, objective, profile, fleet, stages, transfers, lower_bound=lower_bound)


def partition(
    model: PathLike,
    devices: PathLike | Fleet,
    *,
    directory: PathLike,
    strategy: str = DEFAULT_STRATEGY,
    options: Mapping[str, Any] | None = None,
    profiler: str = DEFAULT_PROFILER,
    shapes: Mapping[str, Sequence[int]] | None = None,
    copy_weights: bool = False,
) -> Manifest:
    """Parts of the ONNX file `model` for the fleet in `devices`, written to `directory` with their manifest.

    `options` are the strategy's constructor arguments; `shapes` gives example shapes for inputs with dynamic
    dimensions. Raises a MultiedgeError, one line, for anything that keeps the parts from running.
    """
    fleet = devices if isinstance(devices, Fleet) else read_fleet(devices)
    graph = read_graph(model, shapes)
    plan = plan_model(profile_model(graph, fleet, profiler), fleet, strategy, **(options or {}))
    return write_parts(graph, plan, directory, copy_weights=copy_weights)


def run_plan(
    plan: PathLike | Manifest,
    fleet: Fleet | None = None,
    items: Iterable[Tensors] = (),
    *,
    executor: str = "processes",
    scenario: str = "offline",
    rate_per_s: float | None = None,
    latency_bound_s: float | None = None,
    name: str = "",
    configuration: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> tuple[list[Result], RunResult]:
    """Runs a plan folder as a pipeline: the answers, in the order of `items`, and the run in figures, for `write_report`.

    Each item maps input names to arrays. Without a fleet, every device is this machine and links are free. `options` are
    those of the executor (see `open_pipeline`); `progress` is called with the number of items newly answered. An item that
    failed has `tensors` None and an `error`. Raises PipelineError if a stage cannot start.
    """
    manifest = plan if isinstance(plan, Manifest) else read_manifest(plan)
    fleet = fleet or bare_fleet(manifest)
    chosen = scenario_of(scenario, rate_per_s=rate_per_s, latency_bound_s=latency_bound_s)
    with open_pipeline(manifest, fleet, executor, **options) as pipeline:
        answers, measured = pipeline.map(items, chosen, progress=progress)
    found = make_result(
        name or Path(manifest.directory).name,
        with_energy(measured, fleet),
        plan=manifest.plan,
        configuration={"executor": executor, "scenario": scenario} if configuration is None else configuration,
    )
    return answers, found
