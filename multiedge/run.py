"""The steps from model and devices to a plan, parts, a running pipeline and its results.

`partition` does all steps from files to parts; the Ianvs paradigm and notebooks use it. Strategies, profilers and executors are
chosen by name.
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
    """Costs of every node of a model on every device.

    Args:
        graph: The model.
        fleet: The devices.
        profiler: Name of a profiler: 'static', 'measured', 'segments', or one from a package.
        **options: Options of the profiler.

    Returns:
        The Profile.

    Raises:
        ConfigError: If there is no such profiler, backend or option.
        ProfileError: If costs cannot be found, for instance because only some devices state a speed.
    """
    require_backends(fleet)
    profile: Profile = build(PROFILERS, profiler, options).profile(graph, fleet)
    return profile


def plan_model(profile: Profile, fleet: Fleet, strategy: str = DEFAULT_STRATEGY, **options: Any) -> Plan:
    """A plan of the strategy of that name.

    Args:
        profile: Costs of the model.
        fleet: The devices.
        strategy: Name of a strategy, such as 'throughput', 'latency' or 'energy'.
        **options: Options of the strategy.

    Returns:
        The Plan, with its estimate and proof.

    Raises:
        ConfigError: If there is no such strategy, backend or option.
        InfeasibleError: If no plan fits the fleet.
        PlanError: If the plan of the strategy cannot run; it lists all errors.
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
    """The plan of given stages; each tensor is sent once to each stage that reads it.

    Args:
        profile: Costs of the model.
        fleet: The devices.
        stages: The placement, in topological order.
        strategy: The name that the plan shows.
        objective: 'throughput', 'latency' or 'energy'.
        lower_bound: A value that no plan is below, in the unit of the objective; None if nothing is proven.

    Returns:
        The Plan, with its estimate.

    Raises:
        PlanError: If the plan cannot run; it lists all errors.
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
    """Reads a model and a fleet, plans, and writes the parts.

    Args:
        model: The ONNX file.
        devices: A Fleet, or a devices.yaml.
        directory: The folder for parts and manifest.
        strategy: Name of a strategy.
        options: Options of the strategy.
        profiler: Name of a profiler.
        shapes: Example shapes, by name, for inputs with dynamic dimensions.
        copy_weights: Whether each part has its own copy of its weights.

    Returns:
        The Manifest.

    Raises:
        MultiedgeError: If a file, name or option is wrong, or no plan fits; one line.
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
    """Runs a plan as a pipeline.

    Args:
        plan: A plan folder or its manifest.
        fleet: The devices; by default every device is this machine, and links cost nothing.
        items: Arrays by input name, one mapping for each item.
        executor: Name of an executor: 'processes', 'inline', 'remote', 'ray', or one from a package.
        scenario: 'offline', 'singlestream', 'multistream' or 'server'.
        rate_per_s: Items per second, for 'server'.
        latency_bound_s: Limit of the p99 latency, for 'server'.
        name: Name of the run; by default that of the folder.
        configuration: What a report shows as the options of the run.
        progress: Called with the number of items that were answered since the last call.
        **options: Options of the executor, as for `open_pipeline`.

    Returns:
        The results, in the order of the items, and the RunResult for `write_report`. An item that failed has `tensors` None and
        an `error`.

    Raises:
        ConfigError: If there is no such executor, scenario or option.
        PipelineError: If a stage cannot start.
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
