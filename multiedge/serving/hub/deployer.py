"""What each node is to hold, and how far deployments are: functions of the deployments and of the nodes' states.

Nodes are told all that they are to hold, again and again, and report what they hold. So it makes no difference whether a state
was pushed or pulled, whether a message was lost, and whether hub or node began anew in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from multiedge.network.records import Assignment, Deployment, HeldStage, NodeState, Phase, PlanRecord, StagePlace


@dataclass(frozen=True)
class Wanted:
    """A deployment, and the nodes of each stage."""

    deployment: Deployment
    stages: tuple[tuple[int, tuple[str, ...]], ...]

    @classmethod
    def of(cls, deployment: Deployment, plan: PlanRecord) -> Wanted:
        return cls(deployment, tuple((part.stage, part.devices) for part in plan.parts))


def assignments_of(wanted: Iterable[Wanted], node: str) -> tuple[Assignment, ...]:
    """All that the node is to hold."""
    held = []
    for each in wanted:
        stages = tuple(stage for stage, nodes in each.stages if node in nodes)
        if stages:
            held.append(Assignment(each.deployment.name, each.deployment.plan, stages))
    return tuple(held)


def progress_of(wanted: Wanted, alive: Mapping[str, NodeState]) -> Deployment:
    """The deployment with its phase, the reason for it, and the state of each stage on each node.

    Its phase is that of the stage which is least far; a failed stage comes before all others, then a node that is not alive.
    """
    places = tuple(_place(wanted.deployment, stage, name, alive.get(name)) for stage, nodes in wanted.stages for name in nodes)
    phase, reason = _phase(places)
    return replace(wanted.deployment, phase=phase, reason=reason, places=places)


def _place(deployment: Deployment, stage: int, name: str, state: NodeState | None) -> StagePlace:
    held = HeldStage(deployment.name, stage, deployment.plan, "waiting")
    for each in state.stages if state else ():
        if (each.deployment, each.stage, each.plan) == (deployment.name, stage, deployment.plan):
            held = each
    return StagePlace(name, held, state is not None)


def _phase(places: Sequence[StagePlace]) -> tuple[Phase, str]:
    failed = [place for place in places if place.held.phase == "failed"]
    if failed:
        first = failed[0]
        return "failed", f"node '{first.node}', stage {first.held.stage + 1}: {first.held.reason or 'no reason given'}"
    lost = list(dict.fromkeys(place.node for place in places if not place.node_is_alive))
    if lost:
        return "pending", f"node '{lost[0]}'{f' and {len(lost) - 1} more' if len(lost) > 1 else ''} sent no heartbeat lately"
    for of_stage, phase in _PHASES:
        behind = [place for place in places if place.held.phase in of_stage]
        if behind:
            first = behind[0]
            return phase, f"node '{first.node}', stage {first.held.stage + 1}: {first.held.phase}"
    return "ready", ""


_PHASES: tuple[tuple[tuple[str, ...], Phase], ...] = ((("waiting", "fetching"), "distributing"), (("loading",), "loading"))
