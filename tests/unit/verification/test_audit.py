"""Plans that state something wrong, and what the audit says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from multiedge.fleet import Fleet
from multiedge.graph import Node
from multiedge.plan import CALLER, Path, Plan, Stage, Transfer, path_transfers
from multiedge.planning.cost import make_plan
from multiedge.profile import MemoryUse, Profile
from multiedge.proof import Plans, Scope
from multiedge.run import plan_model
from multiedge.verification.audit import Finding, Verdict, audit
from tests.builders.fleets import fleet_of, with_device
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of


@pytest.fixture
def profile() -> Profile:
    return profile_of(chain_graph(4), {"a": [1.0, 2.0, 3.0, 4.0], "b": [2.0, 2.0, 2.0, 2.0]})


@pytest.fixture
def fleet() -> Fleet:
    return fleet_of("a", "b")


def of(what: str, findings: tuple[Finding, ...]) -> Finding:
    return next(finding for finding in findings if finding.what.startswith(what))


def stages(*ends: tuple[str, tuple[int, ...]]) -> tuple[Stage, ...]:
    return tuple(Stage(device, nodes) for device, nodes in ends)


def test_a_sound_plan_is_confirmed_in_everything(profile: Profile, fleet: Fleet) -> None:
    findings = audit(plan_model(profile, fleet, "throughput"), profile, fleet)
    assert {finding.verdict for finding in findings} == {Verdict.CONFIRMED}
    assert of("lower bound", findings).computed == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda plan: replace(plan, stages=stages(("a", (0, 1)), ("b", (3,)))), "node 2 'n2' is in 0 stages"),
        (lambda plan: replace(plan, stages=stages(("a", (0, 1, 2)), ("b", (2, 3)))), "is in 2 stages"),
        (lambda plan: replace(plan, stages=stages(("a", (0, 1, 2)), ("b", (3, 7)))), "node 7 does not exist"),
        (lambda plan: replace(plan, stages=stages(("a", (0, 1, 2)), ("c", (3,)))), "device 'c' is not in"),
        (lambda plan: replace(plan, stages=(Stage("a", (0, 1, 2), ("a",)), Stage("b", (3,)))), "names a device twice"),
        (lambda plan: replace(plan, transfers=plan.transfers[:1] + plan.transfers[2:]), "which no earlier stage sends"),
        (lambda plan: replace(plan, transfers=plan.transfers[:-1]), "does not return to the caller"),
        (lambda plan: replace(plan, transfers=(*plan.transfers, Transfer(1, 0, ("t4",), 10))), "goes from stage 1 to stage 0"),
        (lambda plan: replace(plan, transfers=(*plan.transfers, Transfer(0, CALLER, ("t4",), 10))), "what it does not have"),
    ],
)
def test_a_plan_that_cannot_run_is_wrong(profile: Profile, fleet: Fleet, change: Callable[[Plan], Plan], text: str) -> None:
    (finding,) = audit(change(plan_model(profile, fleet, "throughput")), profile, fleet)
    assert finding.verdict is Verdict.WRONG
    assert text in finding.detail


@pytest.mark.parametrize("figure", ["bottleneck_s", "latency_s", "network_bytes"])
def test_a_figure_that_is_one_per_mille_off_is_wrong(profile: Profile, fleet: Fleet, figure: str) -> None:
    plan = plan_model(profile, fleet_of("a", "b", bandwidth_bytes_per_s=1e6), "throughput")
    off = replace(plan.estimate, **{figure: 1.001 * getattr(plan.estimate, figure) + (figure == "network_bytes")})
    findings = audit(replace(plan, estimate=off), profile, fleet_of("a", "b", bandwidth_bytes_per_s=1e6))
    assert of(figure, findings).verdict is Verdict.WRONG


def test_copies_of_the_weights_of_a_body_count(profile: Profile, fleet: Fleet) -> None:
    node = Node("n", "If", ("x",), ("y",), captures=("w", "v"), bodies=({"MatMul": ("w", "v", "x")}, {"Conv": ("w",)}))
    graph = graph_of(node, tensors={"x": 1, "y": 1}, parameters={"w": 300, "v": 200})
    profile = profile_of(graph, {"a": 1.0, "b": 2.0}, memory_use=MemoryUse(body_copies={"MatMul": 1, "Conv": 2}))
    plan = plan_model(profile, fleet, "single")
    assert plan.estimate.planned_bytes == {"a": 500 + 600}
    assert of("memory", audit(plan, profile, fleet)).verdict is Verdict.CONFIRMED


def test_copies_of_weights_that_stay_count(profile: Profile, fleet: Fleet) -> None:
    profile = replace(profile, memory_use=MemoryUse(weight_copies=2))
    plan = plan_model(profile, fleet, "throughput")
    enough = plan.estimate.planned_bytes["a"]
    assert of("memory", audit(plan, profile, with_device(fleet, "a", memory_bytes=enough))).verdict is Verdict.CONFIRMED
    assert of("memory", audit(plan, profile, with_device(fleet, "a", memory_bytes=enough - 1))).verdict is Verdict.WRONG


def test_a_plan_that_does_not_fit_is_wrong(profile: Profile, fleet: Fleet) -> None:
    findings = audit(plan_model(profile, fleet, "throughput"), profile, with_device(fleet, "b", memory_bytes=5))
    assert of("memory", findings).verdict is Verdict.WRONG
    assert "device 'b' needs" in of("memory", findings).detail


def test_a_cut_inside_a_fused_node_is_wrong(profile: Profile, fleet: Fleet) -> None:
    plan = plan_model(profile, fleet, "throughput")
    cut = next(name for move in plan.transfers if move.source == 0 for name in move.tensors)
    findings = audit(plan, replace(profile, fused=frozenset([cut])), fleet)
    assert of("fused", findings).detail == f"fused tensor '{cut}' is cut"


def test_a_bound_above_the_plan_is_wrong(profile: Profile, fleet: Fleet) -> None:
    plan = plan_model(profile, fleet, "throughput")
    findings = audit(replace(plan, lower_bound=2 * plan.value), profile, fleet)
    assert of("lower bound", findings).verdict is Verdict.WRONG


def test_a_linear_program_that_the_solver_gives_up_confirms_nothing(
    profile: Profile, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    gives_up = SimpleNamespace(status=4, fun=None)
    monkeypatch.setattr("multiedge.verification.bounds.scipy.optimize.linprog", lambda *_, **__: gives_up)
    plan = replace(plan_model(profile, fleet, "throughput"), scope=Scope(Plans.ALL))
    assert of("lower bound", audit(plan, profile, fleet)).verdict is Verdict.OPEN


def test_a_plan_outside_the_scope_of_its_bound_is_not_confirmed(profile: Profile, fleet: Fleet) -> None:
    split = plan_model(profile, fleet, "throughput")
    finding = of("lower bound", audit(replace(split, scope=Scope(Plans.ONE_DEVICE)), profile, fleet))
    assert finding.verdict is Verdict.OPEN
    assert "not among plans on one device" in finding.detail


def test_a_bound_that_cannot_be_found_again_stays_open(profile: Profile, fleet: Fleet) -> None:
    worse = plan_model(profile, fleet, "equal_parameters")
    false = replace(worse, lower_bound=worse.value, scope=Scope(Plans.CONTIGUOUS))
    finding = of("lower bound", audit(false, profile, fleet))
    assert worse.value > 4.0
    assert finding.verdict is Verdict.OPEN


def two_paths(profile: Profile, fleet: Fleet) -> Plan:
    """The whole model on a and on b, a third of the items on a."""
    whole = (Stage.span("a", 0, 4), Stage.span("b", 0, 4))
    paths = (Path((0,), 0.05), Path((1,), 0.1))
    transfers = path_transfers(profile.graph, whole, paths, profile.cut_bytes.tolist())
    return make_plan("by hand", "throughput", profile, fleet, whole, transfers, paths=paths)


def test_a_plan_with_two_paths_is_confirmed(profile: Profile, fleet: Fleet) -> None:
    """a takes 10 s for a third of the items, b 8 s for two thirds."""
    findings = audit(two_paths(profile, fleet), profile, fleet)
    assert {finding.verdict for finding in findings} == {Verdict.CONFIRMED}
    assert of("bottleneck_s", findings).computed == pytest.approx(8 * 2 / 3)
    assert of("latency_s", findings).computed == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        ((Path((0,), 1.0),), "stage 1 is in no path"),
        ((Path((0, 1), 1.0),), "is in 2 stages"),
        ((Path((0,), 0.0), Path((1,), 1.0)), "path 0 has a rate of 0.0 items/s"),
        ((Path((2,), 1.0),), "path 0 does not list stages from 0 to 1"),
    ],
)
def test_paths_that_cannot_run_are_wrong(profile: Profile, fleet: Fleet, paths: tuple[Path, ...], text: str) -> None:
    findings = audit(replace(two_paths(profile, fleet), paths=paths), profile, fleet)
    assert findings[0].verdict is Verdict.WRONG
    assert text in findings[0].detail


def test_what_is_stated_in_words_only_is_held_against_plans_of_any_kind(profile: Profile, fleet: Fleet) -> None:
    plan = plan_model(profile, fleet, "throughput")
    in_words = replace(plan, lower_bound=2.0, scope=Scope(Plans.OTHER, words="plans of a package"))
    assert of("lower bound", audit(in_words, profile, fleet)).verdict is Verdict.CONFIRMED
