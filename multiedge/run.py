"""The whole arrow: model and devices in, parts, a running pipeline and its measurements out.

Each function is one step; `partition` is the way from files to parts that the command line, the Ianvs paradigm and a
notebook share. Strategies and profilers are chosen by name.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from multiedge import cost
from multiedge.devices_file import read_fleet
from multiedge.errors import ConfigError, did_you_mean
from multiedge.fleet import Fleet
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph, write_parts
from multiedge.plan import Manifest, Plan, Stage, direct_transfers, require, structural_violations
from multiedge.profile import Profile
from multiedge.registry import Registry
from partitioners import PARTITIONERS
from profilers import PROFILERS

PathLike = str | os.PathLike[str]
DEFAULT_STRATEGY = "throughput"
DEFAULT_PROFILER = "static"


def profile_model(graph: Graph, fleet: Fleet, profiler: str = DEFAULT_PROFILER, **options: Any) -> Profile:
    """What every node of `graph` costs on every device of `fleet`, found by the profiler of that name."""
    profile: Profile = build(PROFILERS, profiler, options).profile(graph, fleet)
    return profile


def plan_model(profile: Profile, fleet: Fleet, strategy: str = DEFAULT_STRATEGY, **options: Any) -> Plan:
    """Where every node runs, decided by the strategy of that name and checked against the fleet.

    Raises InfeasibleError if no plan fits, PlanError that lists everything wrong if the strategy's plan cannot run.
    """
    plan: Plan = build(PARTITIONERS, strategy, options).plan(profile, fleet)
    require(cost.violations(profile, fleet, plan.stages, plan.transfers), f"plan of strategy '{strategy}'")
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
    require(cost.violations(profile, fleet, stages, transfers), "plan by hand")
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


def build(registry: Registry, name: str, options: Mapping[str, Any]) -> Any:
    """An instance of what is registered under `name`; ConfigError for an option that it does not have."""
    factory: Callable[..., Any] = registry.load(name)
    known = [key for key in inspect.signature(factory).parameters if key != "self"]
    for key in options:
        if key not in known:
            raise ConfigError(f"{registry.kind} '{name}' has no option '{key}'{did_you_mean(key, known)}")
    return factory(**options)
