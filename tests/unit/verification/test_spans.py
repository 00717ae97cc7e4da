"""The audit where times of spans do not add up over their nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multiedge.errors import MultiedgeError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, Stage
from multiedge.profile import Profile
from multiedge.run import plan_model
from multiedge.spans import BatchedSpans, MeasuredSpans
from multiedge.verification.audit import Finding, Verdict, audit
from multiedge.verification.model import Model
from tests.builders.cases import Options, random_case
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.plans import relay_plan
from tests.builders.profiles import profile_of

INF = float("inf")
TABLE = np.array([[INF, 1, 3, 6, INF], [INF, INF, 1, 4, 9], [INF, INF, INF, 2, 5], [INF, INF, INF, INF, 2], [INF] * 5])
FLEET: Fleet = fleet_of("a", "b")


@pytest.fixture
def profile() -> Profile:
    """Nodes of 1 s on b; of a the times of at most three of them together, or of as many as its memory has room for."""
    costs = profile_of(chain_graph(4, sizes=10), {"a": [1.0, 1.0, 2.0, 4.0], "b": 1.0}, overhead_s={"a": 0.5})
    return replace(costs, spans={"a": MeasuredSpans((0, 1, 2, 3, 4), TABLE)})


def bound(findings: tuple[Finding, ...]) -> Finding:
    return next(finding for finding in findings if finding.what == "lower bound")


@pytest.mark.parametrize(("strategy", "value"), [("throughput", 3.0), ("latency", 4.0)])
def test_a_bound_over_spans_is_confirmed(profile: Profile, strategy: str, value: float) -> None:
    plan = plan_model(profile, FLEET, strategy)
    findings = audit(plan, profile, FLEET)
    assert {finding.verdict for finding in findings} == {Verdict.CONFIRMED}
    assert plan.value == bound(findings).computed == pytest.approx(value)


def test_a_bound_that_is_too_high_is_not_confirmed(profile: Profile) -> None:
    """a and then b take 3 s; the bound of a plan of 4 s says that none does."""
    plan = replace(relay_plan(profile, FLEET, Stage.span("b", 0, 4)), lower_bound=3.5)
    scope = plan_model(profile, FLEET, "throughput").scope
    assert bound(audit(replace(plan, scope=scope), profile, FLEET)).verdict is Verdict.OPEN


@pytest.mark.parametrize(
    ("stages", "held"),
    [([("a", 0, 4)], "0, 1, 2, 3"), ([("a", 0, 1), ("b", 1, 3), ("a", 3, 4)], "0, 3")],
    ids=["too many", "apart"],
)
def test_a_device_that_has_no_time_for_its_nodes_is_wrong(
    profile: Profile, stages: list[tuple[str, int, int]], held: str
) -> None:
    plan = relay_plan(replace(profile, spans={}), FLEET, *(Stage.span(*each) for each in stages))
    (finding,) = audit(plan, profile, FLEET)
    assert (finding.verdict, finding.detail) == (Verdict.WRONG, f"device 'a' has no time for the nodes {held} together")


def planned(profile: Profile, fleet: Fleet, strategy: str) -> Plan | None:
    try:
        return plan_model(profile, fleet, strategy)
    except MultiedgeError:
        return None


@pytest.mark.parametrize("strategy", ["throughput", "latency", "energy", "exact", "branches", "flow"])
def test_no_strategy_states_a_figure_or_a_bound_that_is_wrong(strategy: str) -> None:
    """Random models of few nodes; those of one device with a time for everything are among them."""
    verdicts = []
    for seed in range(8):
        profile, fleet = random_case(seed, Options(spans=True, powered=True, early_outputs=False, nodes=(1, 4)))
        plan = planned(profile, fleet, strategy)
        if plan is not None:
            findings = audit(plan, profile, fleet, time_limit_s=2)
            assert not [each for each in findings if each.verdict is Verdict.WRONG], seed
            verdicts.append(bound(findings).verdict)
    assert Verdict.CONFIRMED in verdicts


def test_the_least_share_of_a_node_bounds_every_span() -> None:
    batched = BatchedSpans(np.array([4.0, 0, 2]), np.ones(3), np.full(3, 5), np.full(3, 2), 20, 4)
    costs = replace(profile_of(chain_graph(3), {"a": [1.0, 0.0, 2.0]}), spans={"a": batched})
    least = Model(costs).least_s["a"]
    assert least == pytest.approx(costs.least_seconds_on("a"))
    for start in range(3):
        for stop in range(start + 1, 4):
            assert least[start:stop].sum() <= batched.seconds(start, stop) * (1 + 1e-12)
