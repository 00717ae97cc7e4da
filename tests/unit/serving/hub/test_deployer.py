import pytest

from multiedge.network.records import (
    ONLY_ROW,
    Assignment,
    Deployment,
    HeldStage,
    NodeState,
    PlanPart,
    PlanRecord,
    PlanRow,
    StagePhase,
)
from multiedge.serving.hub.deployer import Wanted, assignments_of, progress_of


def _plan(*devices: tuple[str, ...]) -> PlanRecord:
    return PlanRecord("{}", tuple(PlanPart(stage, names, ()) for stage, names in enumerate(devices)))


PLANS = {"p1": _plan(("a",), ("b", "c"), ("a",)), "p2": _plan(("b",)), "p3": _plan(("c",))}
VIT = Wanted.of(Deployment("vit", "p1"), PLANS)
NET = Wanted.of(Deployment("net", "p2"), PLANS)
TABLE = Wanted.of(Deployment("vit", "p1", rows=(PlanRow("fastest", "fastest", "p1"), PlanRow("alone", "local", "p3"))), PLANS)


def _node(name: str, *stages: HeldStage) -> NodeState:
    return NodeState(name, "x:1", stages=stages)


def _held(stage: int, phase: StagePhase = "ready", plan: str = "p1", reason: str = "") -> HeldStage:
    return HeldStage("vit", stage, plan, phase, reason=reason)


@pytest.mark.parametrize(
    ("node", "assignments"),
    [
        ("a", (Assignment("vit", "p1", (0, 2)),)),
        ("b", (Assignment("vit", "p1", (1,)), Assignment("net", "p2", (0,)))),
        ("other", ()),
    ],
)
def test_a_node_is_told_all_stages_that_it_is_to_hold(node: str, assignments: tuple[Assignment, ...]) -> None:
    assert assignments_of([VIT, NET], node) == assignments


READY = {"a": _node("a", _held(0), _held(2)), "b": _node("b", _held(1)), "c": _node("c", _held(1))}


@pytest.mark.parametrize(
    ("changes", "phase", "reason"),
    [
        ({}, "ready", ""),
        ({"b": None}, "pending", "node 'b' sent no heartbeat lately"),
        ({"a": None, "c": None}, "pending", "node 'a' and 1 more sent no heartbeat lately"),
        ({"a": _node("a")}, "distributing", "node 'a', stage 1: waiting"),
        ({"c": _node("c", _held(1, "fetching"))}, "distributing", "node 'c', stage 2: fetching"),
        ({"c": _node("c", _held(1, "loading"))}, "loading", "node 'c', stage 2: loading"),
        ({"a": _node("a", _held(0, "loading"), _held(2, "fetching"))}, "distributing", "node 'a', stage 3: fetching"),
        ({"b": _node("b", _held(1, "failed", reason="disk full")), "c": None}, "failed", "node 'b', stage 2: disk full"),
        ({"b": _node("b", _held(1, "failed"))}, "failed", "node 'b', stage 2: no reason given"),
        ({"b": _node("b", _held(1, "ready", plan="older"))}, "distributing", "node 'b', stage 2: waiting"),
    ],
)
def test_a_deployment_is_as_far_as_its_last_stage(changes: dict[str, NodeState | None], phase: str, reason: str) -> None:
    alive = {name: state for name, state in {**READY, **changes}.items() if state}
    deployment = progress_of(VIT, alive)
    assert (deployment.phase, deployment.reason) == (phase, reason)


def test_every_stage_is_shown_on_each_of_its_nodes() -> None:
    places = progress_of(VIT, {"a": READY["a"]}).places
    assert [(place.node, place.held.stage, place.held.phase, place.node_is_alive) for place in places] == [
        ("a", 0, "ready", True),
        ("b", 1, "waiting", False),
        ("c", 1, "waiting", False),
        ("a", 2, "ready", True),
    ]


def test_a_node_holds_the_stages_of_every_plan() -> None:
    assert assignments_of([TABLE], "c") == (Assignment("vit", "p1", (1,)), Assignment("vit", "p3", (0,)))


def test_a_deployment_without_rows_has_its_plan_as_the_only_one() -> None:
    (row,) = progress_of(VIT, READY).rows
    assert (row.name, row.plan, row.nodes, row.phase) == (ONLY_ROW, "p1", ("a", "b", "c"), "ready")


def test_each_row_has_a_phase_of_its_own_and_the_deployment_waits_for_all() -> None:
    deployment = progress_of(TABLE, READY)
    assert [(row.name, row.phase, row.reason, row.nodes) for row in deployment.rows] == [
        ("fastest", "ready", "", ("a", "b", "c")),
        ("alone", "distributing", "node 'c', stage 1: waiting", ("c",)),
    ]
    assert (deployment.phase, deployment.reason) == ("distributing", "node 'c', stage 1: waiting")
    lost = progress_of(TABLE, {"c": _node("c", _held(1), _held(0, plan="p3"))})
    assert [row.phase for row in lost.rows] == ["pending", "ready"]
    assert [place.node for place in lost.places_of(lost.rows[1])] == ["c"]
