"""Plans of given stages with their estimates."""

from __future__ import annotations

from itertools import accumulate, pairwise

from multiedge.fleet import Fleet
from multiedge.plan import Path, Plan, Stage, Transfer, direct_transfers, path_transfers, relay_transfers
from multiedge.planning import cost
from multiedge.profile import Profile


def spans(*parts: tuple[str, int] | tuple[str, int, tuple[str, ...]]) -> list[Stage]:
    """Contiguous stages from (device, number of nodes[, replicas])."""
    ends = pairwise([0, *accumulate(part[1] for part in parts)])
    return [Stage.span(part[0], start, stop, *part[2:]) for part, (start, stop) in zip(parts, ends, strict=True)]


def relay_plan(profile: Profile, fleet: Fleet, *stages: Stage, objective: str = "throughput") -> Plan:
    """The plan of contiguous stages that hand on all that is still needed."""
    moves = relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())
    return cost.make_plan("manual", objective, profile, fleet, stages, moves)


def direct_plan(profile: Profile, fleet: Fleet, *stages: Stage, objective: str = "throughput") -> Plan:
    """The plan of stages that send each tensor straight to its readers."""
    return cost.make_plan("manual", objective, profile, fleet, stages, direct_transfers(profile.graph, stages))


def paths_plan(profile: Profile, fleet: Fleet, *paths: tuple[float, list[Stage]]) -> Plan:
    """The plan of several paths, each with its items per second; a stage that several paths have is one stage."""
    stages = sorted({stage for _, each in paths for stage in each}, key=lambda stage: (stage.nodes, stage.device))
    numbered = [Path(tuple(stages.index(stage) for stage in each), rate) for rate, each in paths]
    moves = path_transfers(profile.graph, stages, numbered, profile.cut_bytes.tolist())
    return cost.make_plan("manual", "throughput", profile, fleet, stages, moves, paths=numbered)


def relay(profile: Profile, *stages: Stage) -> tuple[tuple[Stage, ...], tuple[Transfer, ...]]:
    """The stages, and transfers in which each hands on all that is still needed."""
    return stages, relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())
