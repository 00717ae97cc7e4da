"""Audits of random small plans, against an oracle that tries every plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf

import pytest

from multiedge.errors import InfeasibleError
from multiedge.plan import Plan
from multiedge.proof import CONTIGUOUS, Plans, Scope
from multiedge.run import plan_model
from multiedge.verification.audit import Verdict, audit
from multiedge.verification.bounds import lower_bound
from multiedge.verification.figures import figures_of
from multiedge.verification.model import Model
from tests.builders.cases import Options, random_case
from tests.builders.oracle import Oracle, best

POWERED = Options(powered=True)
STRATEGIES = (
    "throughput",
    "latency",
    "energy",
    "exact",
    "branches",
    "mincut",
    "single",
    "memory_matching",
    "brute_force",
    "flow",
    "petals",
    "swarm",
)


def planned(strategy: str, seed: int, options: Options = POWERED) -> tuple[Plan, Oracle] | None:
    """A plan for a random case; None if there is none."""
    profile, fleet = random_case(seed, options)
    try:
        return plan_model(profile, fleet, strategy), Oracle(profile, fleet)
    except InfeasibleError:
        return None


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nothing_that_a_strategy_states_is_wrong(strategy: str) -> None:
    for seed in range(30):
        case = planned(strategy, seed)
        if case is not None:
            wrong = [finding for finding in audit(case[0], case[1].profile, case[1].fleet) if finding.verdict is Verdict.WRONG]
            assert not wrong, seed


@pytest.mark.parametrize("strategy", ["throughput", "latency", "energy"])
def test_the_optimum_with_an_end_on_a_device_is_confirmed_and_an_end_elsewhere_is_wrong(strategy: str) -> None:
    verdicts: Counter[Verdict] = Counter()
    for seed in range(15):
        profile, fleet = random_case(seed, POWERED)
        pins = {"first_on": fleet.names[0]} if seed % 2 else {"last_on": fleet.names[-1]}
        try:
            plan = plan_model(profile, fleet, strategy, **pins)
        except InfeasibleError:
            continue
        findings = audit(plan, profile, fleet)
        assert not [finding for finding in findings if finding.verdict is Verdict.WRONG], seed
        verdicts[findings[-1].verdict] += 1
        if len(fleet.names) > 1 and plan.scope:
            used = {device for stage in plan.stages for device in stage.devices}
            other = next((name for name in fleet.names if name not in used), None)
            elsewhere = replace(plan, scope=replace(plan.scope, first_on=other, last_on=other)) if other else None
            assert elsewhere is None or audit(elsewhere, profile, fleet)[0].verdict is Verdict.WRONG, seed
    assert verdicts[Verdict.CONFIRMED] >= 8
    assert verdicts[Verdict.OPEN] == 0


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in ("flow", "petals", "swarm")])
def test_figures_are_those_of_the_oracle(strategy: str) -> None:
    for seed in range(25):
        case = planned(strategy, seed)
        if case is not None:
            plan, oracle = case
            cost, computed = oracle.cost_of(plan), figures_of(plan, Model(oracle.profile), oracle.fleet)
            assert computed.bottleneck_s == pytest.approx(cost.bottleneck_s, rel=1e-9, abs=0), seed
            assert computed.latency_s == pytest.approx(cost.latency_s, rel=1e-9, abs=0), seed
            assert computed.energy_j == pytest.approx(cost.energy_j, rel=1e-9, abs=0), seed
            assert computed.network_bytes == pytest.approx(cost.network_bytes, rel=1e-9, abs=0), seed
            assert computed.memory_bytes == cost.memory, seed


@pytest.mark.parametrize("objective", ["throughput", "latency", "energy"])
def test_bounds_hold_for_every_contiguous_plan(objective: str) -> None:
    for seed in range(80):
        profile, fleet = random_case(seed, POWERED)
        oracle = Oracle(profile, fleet)
        least = best(oracle.contiguous_costs(), objective)
        value = inf if least is None else least
        for stated in (0.5 * value, value, 2 * value) if least else ():
            bound = lower_bound(objective, CONTIGUOUS, Model(profile), fleet, stated, 5.0)
            assert bound.value <= value * (1 + 1e-9), (seed, bound)


def test_bounds_within_a_latency_are_those_of_the_oracle() -> None:
    for seed in range(60):
        profile, fleet = random_case(seed, Options(early_outputs=False))
        costs = Oracle(profile, fleet).contiguous_costs()
        for latency_s in sorted({cost.latency_s for cost in costs if cost.latency_s > 0})[:3]:
            scope = replace(CONTIGUOUS, most_latency_s=latency_s * 1.001)
            least = best(costs, "throughput", max_latency_s=latency_s * 1.001)
            assert least is not None
            for stated, holds in ((least, True), (least * 1.01, least == 0)):
                bound = lower_bound("throughput", scope, Model(profile), fleet, stated, 5.0)
                assert (bound.value >= stated * (1 - 1e-9)) == holds, (seed, bound)


@pytest.mark.parametrize("objective", ["throughput", "latency", "energy"])
def test_bounds_hold_for_plans_of_any_kind(objective: str) -> None:
    for seed in range(30):
        profile, fleet = random_case(seed, Options(nodes=(1, 4), powered=True))
        least = best((cost for _, cost in Oracle(profile, fleet).one_stage_each()), objective)
        for plans in (Plans.ALL, Plans.ONE_STAGE_EACH, Plans.ORDERED) if least else ():
            bound = lower_bound(objective, Scope(plans), Model(profile), fleet, least or 0.0, 5.0)
            assert bound.value <= (least or 0.0) * (1 + 1e-9), (seed, bound)


@pytest.mark.parametrize(("strategy", "share"), [("throughput", 0.95), ("latency", 0.9), ("energy", 0.75)])
def test_most_proofs_are_confirmed_and_none_that_states_more(strategy: str, share: float) -> None:
    """What is left out, such as results that return early, may leave a true bound open."""
    verdicts = Counter[Verdict]()
    for seed in range(100):
        case = planned(strategy, seed)
        if case is None or not 0 < case[0].value < inf:
            continue
        plan, oracle = case
        verdicts[audit(plan, oracle.profile, oracle.fleet)[-1].verdict] += 1
        too_high = replace(plan, value=2 * plan.value, lower_bound=1.01 * plan.value)
        assert audit(too_high, oracle.profile, oracle.fleet)[-1].verdict is Verdict.OPEN, seed
    assert verdicts[Verdict.WRONG] == 0
    assert verdicts[Verdict.CONFIRMED] >= share * verdicts.total(), verdicts
