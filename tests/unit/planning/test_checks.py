"""What keeps a placement from running, each kind of fault alone; and that a plan is checked once, where it enters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge import run
from multiedge.errors import PlanError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, Stage, direct_transfers, relay_transfers
from multiedge.planning import checks, cost
from multiedge.planning.checks import memory_violations, structural_violations, violations
from multiedge.planning.memory import memory_by_device
from multiedge.profile import Profile
from partitioners import PARTITIONERS
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of

FLEET = fleet_of("a", "b", memory_bytes=10_000, name="desk")
PROFILE = profile_of(chain_graph(4, weight_bytes=1000), {"a": 1.0, "b": 2.0})
SOUND = (Stage("a", (0, 1)), Stage("b", (2, 3)))


def test_a_sound_placement_has_no_violations() -> None:
    assert violations(PROFILE, FLEET, SOUND, direct_transfers(PROFILE.graph, SOUND)) == []


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ((Stage("c", (0, 1, 2, 3)),), "stage 0: device 'c' is not in desk; known: a, b"),
        ((Stage("a", (0, 1, 2, 3), ("b", "c")),), "stage 0: device 'c' is not in desk; known: a, b"),
        ((*SOUND, Stage("a", ())), "stage 2 on 'a' has no nodes"),
        ((Stage("a", (0, 1)), Stage("b", (1, 2, 3))), "node 1 'n1' is in stage 0 and again in stage 1"),
        ((Stage("a", (-1, 0, 1, 2, 3)),), "stage 0: node -1 does not exist; the model has nodes 0 to 3"),
        ((Stage("a", (0, 1, 3)),), "node 2 'n2' is in no stage"),
        (SOUND[::-1], "order broken: node 2 in stage 0 reads 't2', which stage 1 makes later"),
    ],
)
def test_each_fault_of_structure_is_named(stages: tuple[Stage, ...], expected: str) -> None:
    assert structural_violations(PROFILE.graph, FLEET, stages) == [expected]


def test_a_constant_that_a_node_makes_may_be_read_before_its_stage_since_each_part_holds_its_own() -> None:
    graph = graph_of("k: w", "h: x", "y: h k", parameters={"w": 8, "k": 8})
    assert structural_violations(graph, FLEET, [Stage("a", (1, 2)), Stage("b", (0,))]) == []


def test_memory_is_added_up_over_the_stages_of_a_device_and_judged_after_structure() -> None:
    tight = fleet_of("a", "b", memory_bytes=2500, name="desk")
    stages = (Stage("a", (0, 1)), Stage("b", (2,)), Stage("a", (3,)))
    wrong = memory_violations(PROFILE, tight, stages, direct_transfers(PROFILE.graph, stages))
    assert wrong == ["device 'a' needs 3.0 KiB and has 2.4 KiB; 580 B more would do"]
    assert violations(PROFILE, tight, stages[:2], ()) == ["node 3 'n3' is in no stage"]


def test_a_plan_fits_if_its_memory_plus_the_margin_does() -> None:
    def wrong(memory_bytes: int) -> list[str]:
        fleet = fleet_of("a", "b", memory_bytes=memory_bytes, memory_margin=0.25, name="desk")
        return memory_violations(PROFILE, fleet, SOUND, direct_transfers(PROFILE.graph, SOUND))

    needed = memory_by_device(PROFILE, FLEET, SOUND, direct_transfers(PROFILE.graph, SOUND))
    assert needed == {"a": 2040, "b": 2040}
    assert wrong(2550) == []
    more = "2.0 KiB, with its margin 2.5 KiB, and has 2.5 KiB; 1 B more would do"
    assert wrong(2549) == [f"device '{name}' needs {more}" for name in "ab"]


class Outside:
    """A strategy that returns whatever it was given."""

    def __init__(self, *stages: Stage) -> None:
        self._stages = stages

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        sound = cost.make_plan("outside", "throughput", profile, fleet, SOUND, direct_transfers(profile.graph, SOUND))
        return replace(sound, stages=self._stages)


def plan_of(monkeypatch: pytest.MonkeyPatch, strategy: object, fleet: Fleet = FLEET) -> Plan:
    monkeypatch.setattr(PARTITIONERS, "load", lambda name: lambda: strategy)
    return run.plan_model(PROFILE, fleet, "outside")


def test_a_broken_plan_from_outside_is_refused_with_everything_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PlanError) as refusal:
        plan_of(monkeypatch, Outside(Stage("z", (2,)), Stage("a", (0, 0)), Stage("b", ())))
    assert str(refusal.value).startswith("plan of strategy 'outside' cannot run: ")
    assert refusal.value.violations == (
        "stage 0: device 'z' is not in desk; known: a, b",
        "node 0 'n0' is in stage 1 and again in stage 1",
        "stage 2 on 'b' has no nodes",
        "node 1 'n1' is in no stage",
        "node 3 'n3' is in no stage",
    )


def test_a_plan_from_outside_that_exceeds_a_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tight = fleet_of("a", "b", memory_bytes=2000, name="desk")
    with pytest.raises(PlanError, match=r"device 'a' needs 2\.0 KiB .*device 'b' needs 2\.0 KiB"):
        plan_of(monkeypatch, Outside(*SOUND), tight)


@pytest.mark.parametrize("strategy", ["throughput", "latency", "single", "equal_flops", "memory_matching", "random"])
def test_a_plan_is_checked_and_estimated_once(monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    calls: list[str] = []
    single_values = len(FLEET.devices) if strategy == "single" else 1

    def counted(module: object, name: str) -> None:
        genuine = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: calls.append(name) or genuine(*args))

    counted(checks, "structural_violations")
    counted(checks, "memory_violations")
    counted(cost, "estimate")
    run.plan_model(PROFILE, FLEET, strategy)
    assert sorted(calls) == ["estimate"] * single_values + ["memory_violations", "structural_violations"]


def test_stages_by_hand_are_checked_before_they_are_estimated() -> None:
    with pytest.raises(PlanError, match="plan by hand cannot run: node 3 'n3' is in no stage"):
        run.plan_by_hand(PROFILE, FLEET, [Stage("a", (0, 1, 2))])
    tight = fleet_of("a", "b", memory_bytes=2000)
    with pytest.raises(PlanError, match="plan by hand cannot run: device 'a' needs"):
        run.plan_by_hand(PROFILE, tight, SOUND)


def test_relay_and_direct_transfers_of_a_chain_need_the_same_memory() -> None:
    relay = relay_transfers(PROFILE.graph, SOUND, PROFILE.cut_bytes.tolist())
    direct = direct_transfers(PROFILE.graph, SOUND)
    assert memory_by_device(PROFILE, FLEET, SOUND, relay) == memory_by_device(PROFILE, FLEET, SOUND, direct)
