"""What each node is to hold, and how far deployments are: functions of the deployments and of the nodes' states.

Nodes are told all that they are to hold, again and again, and report what they hold. So it makes no difference whether a state
was pushed or pulled, whether a message was lost, and whether hub or node began anew in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from multiedge.network.records import (
    ONLY_ROW,
    Assignment,
    Deployment,
    HeldStage,
    NodeState,
    Phase,
    PlanRecord,
    PlanRow,
    StagePlace,
)

Stages = tuple[tuple[int, tuple[str, ...]], ...]
"""Numbers of stages, with the nodes of each."""


@dataclass(frozen=True)
class Wanted:
    """A deployment with one row at least, and the stages of each of its plans, by digest."""

    deployment: Deployment
    stages: Mapping[str, Stages]

    @classmethod
    def of(cls, deployment: Deployment, plans: Mapping[str, PlanRecord]) -> Wanted:
        """Of a deployment and the records of all its plans, which say what nodes they need."""
        rows = deployment.rows or (PlanRow(ONLY_ROW, ONLY_ROW, deployment.plan, deployment.expected),)
        rows = tuple(replace(row, nodes=plans[row.plan].nodes) for row in rows)
        stages = {row.plan: tuple((part.stage, part.devices) for part in plans[row.plan].parts) for row in rows}
        return cls(replace(deployment, rows=rows), stages)


def assignments_of(wanted: Iterable[Wanted], node: str) -> tuple[Assignment, ...]:
    """All that the node is to hold."""
    held = []
    for each in wanted:
        for plan, placed in each.stages.items():
            stages = tuple(stage for stage, nodes in placed if node in nodes)
            if stages:
                held.append(Assignment(each.deployment.name, plan, stages))
    return tuple(held)


def progress_of(wanted: Wanted, alive: Mapping[str, NodeState]) -> Deployment:
    """The deployment and its rows with their phases, the reasons for them, and the state of each stage on each node.

    A phase is that of the stage which is least far; a failed stage comes before all others, then a node that is not alive. That
    of the deployment is the one of all stages of all rows.
    """
    deployment = wanted.deployment
    places = {
        plan: tuple(_place(deployment.name, plan, stage, name, alive.get(name)) for stage, nodes in placed for name in nodes)
        for plan, placed in wanted.stages.items()
    }
    phases = {plan: _phase(each) for plan, each in places.items()}
    rows = tuple(replace(row, phase=phases[row.plan][0], reason=phases[row.plan][1]) for row in deployment.rows)
    everywhere = tuple(place for each in places.values() for place in each)
    phase, reason = _phase(everywhere)
    return replace(deployment, phase=phase, reason=reason, places=everywhere, rows=rows)


def _place(deployment: str, plan: str, stage: int, name: str, state: NodeState | None) -> StagePlace:
    held = HeldStage(deployment, stage, plan, "waiting")
    for each in state.stages if state else ():
        if (each.deployment, each.stage, each.plan) == (deployment, stage, plan):
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
