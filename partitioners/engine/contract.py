"""What a strategy is, and the few steps that all of them end with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from multiedge.errors import ConfigError, did_you_mean
from multiedge.fleet import Fleet
from multiedge.plan import Plan, Stage, relay_transfers, require
from multiedge.planning import cost
from multiedge.planning.checks import structural_violations
from multiedge.profile import Profile
from multiedge.proof import Scope
from partitioners import OBJECTIVES


class Partitioner(Protocol):
    """A strategy. Arguments of the constructor are its hyperparameters; `plan` is pure."""

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """A plan that covers every node once and respects memory; InfeasibleError if there is none."""
        ...


class Pinnable:
    """A strategy that gives no node to a device on which the node has no finite time (`multiedge.planning.pins`)."""


def check_objective(objective: str) -> str:
    """The objective itself; ConfigError if there is none of that name."""
    if objective not in OBJECTIVES:
        raise ConfigError(
            f"objective: expected one of {', '.join(OBJECTIVES)}, got '{objective}'{did_you_mean(objective, OBJECTIVES)}"
        )
    return objective


def most_bottleneck_s(min_fps: float | None) -> float:
    """Seconds per item that `min_fps` items per second allow, inf without a `min_fps`."""
    if min_fps is None:
        return math.inf
    if not min_fps > 0:
        raise ConfigError(f"min_fps: expected items per second, more than 0, got {min_fps!r}")
    return 1.0 / min_fps


def most_latency_s(max_latency_s: float | None) -> float:
    """The bound itself, inf for none; ConfigError for one that nothing can keep."""
    if max_latency_s is None:
        return math.inf
    if not max_latency_s > 0:
        raise ConfigError(f"max_latency_s: expected seconds, more than 0, got {max_latency_s!r}")
    return float(max_latency_s)


def contiguous_plan(
    strategy: str,
    objective: str,
    profile: Profile,
    fleet: Fleet,
    stages: Sequence[Stage],
    *,
    lower_bound: float | None = None,
    scope: Scope | None = None,
    solve_s: float = 0.0,
    left_out: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Plan:
    """The Plan of stages that follow each other in topological order, each handing on all that is still needed.

    The other arguments are Plan's fields of these names. Raises PlanError, with everything that is wrong, for stages that
    cannot be cut. Memory is not checked: `multiedge.run.plan_model` does that for every strategy.
    """
    require(structural_violations(profile.graph, fleet, stages), f"plan of '{strategy}'")
    return replace(
        relay_plan(strategy, objective, profile, fleet, stages),
        lower_bound=lower_bound,
        scope=scope,
        solve_s=solve_s,
        left_out=left_out or {},
        notes=tuple(notes),
    )


def relay_plan(strategy: str, objective: str, profile: Profile, fleet: Fleet, stages: Sequence[Stage]) -> Plan:
    """The same for stages that are known to be sound: nothing is checked, and nothing proven."""
    transfers = relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())
    return cost.make_plan(strategy, objective, profile, fleet, stages, transfers)


def unused(fleet: Fleet, stages: Sequence[Stage], reasons: Mapping[str, str] | str) -> dict[str, str]:
    """Why each device that holds no stage was left out; `reasons` is by device, or one for all."""
    used = {device for stage in stages for device in stage.devices}
    left_out = [name for name in fleet.names if name not in used]
    return {name: reasons if isinstance(reasons, str) else reasons[name] for name in left_out}
