"""Strategies after other systems' papers: sound plans that are no better than possible, and advice that suffices."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, Stage
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from multiedge.verification.audit import Verdict, audit
from partitioners import PARTITIONERS
from partitioners.engine.load_bound import load_bound
from partitioners.flow import Flow
from partitioners.halda import Halda
from partitioners.pipeedge import PipeEdge
from partitioners.throughput import Throughput
from tests.builders.cases import Options, random_case
from tests.builders.oracle import Oracle

PEERS = ["pipeedge", "halda", "separate_pipelines", "swarm", "petals"]
LARGER = Options(nodes=(1, 7), devices=(1, 4))


def planned(name: str, profile: Profile, fleet: Fleet) -> Plan | None:
    try:
        return PARTITIONERS.load(name)().plan(profile, fleet)
    except InfeasibleError:
        return None


def refusal(name: str, profile: Profile, fleet: Fleet) -> str:
    """The error of a strategy that finds no plan, '' if it finds one."""
    try:
        PARTITIONERS.load(name)().plan(profile, fleet)
    except InfeasibleError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", PEERS)
def test_plans_can_run_and_are_no_better_than_all_devices_sharing_the_work_at_will(name: str) -> None:
    for seed in range(100):
        profile, fleet = random_case(seed, LARGER)
        plan = planned(name, profile, fleet)
        if plan:
            least_s = load_bound(np.stack([profile.seconds_on(device) for device in fleet.names], axis=1))
            assert violations(profile, fleet, plan.stages, plan.transfers, plan.paths) == [], seed
            assert plan.estimate.bottleneck_s >= least_s * (1 - 1e-9), seed
            assert plan.lower_bound is None
            assert plan == replace(planned(name, profile, fleet), solve_s=plan.solve_s), seed


@pytest.mark.parametrize("name", [*PEERS, "memory_matching", "equal_flops", "equal_parameters", "random", "flow"])
def test_where_times_do_not_add_up_plans_state_what_an_independent_audit_finds(name: str) -> None:
    """Of models so small that `flow` is quick; a device has no more nodes than it has a time for."""
    count = 0
    for seed in range(30):
        profile, fleet = random_case(seed, Options(nodes=(1, 4), spans=True))
        if plan := planned(name, profile, fleet):
            findings = audit(plan, profile, fleet, time_limit_s=1)
            assert not [each for each in findings if each.verdict is Verdict.WRONG], seed
            count += 1
    assert count > 5


@pytest.mark.parametrize("seed", [1225, 1293, 1704])
def test_a_span_that_others_enter_fits_with_all_its_parts(seed: int) -> None:
    """Items enter at the span's first node after others have entered inside it."""
    profile, fleet = random_case(seed, LARGER)
    plan = planned("petals", profile, fleet)
    assert plan
    assert violations(profile, fleet, plan.stages, plan.transfers, plan.paths) == []


@pytest.mark.parametrize("name", ["separate_pipelines", "swarm", "petals"])
def test_the_rates_of_paths_are_what_the_busiest_device_or_link_allows(name: str) -> None:
    several = 0
    for seed in range(150):
        plan = planned(name, *random_case(seed, LARGER))
        if plan and plan.paths:
            several += 1
            assert sum(path.items_per_s for path in plan.paths) == pytest.approx(plan.estimate.fps_bound), seed
    assert several > 50


def test_no_plan_is_better_than_the_optimum_over_all_paths() -> None:
    """On models so small that `flow` covers every placement."""
    compared = 0
    for seed in range(30):
        profile, fleet = random_case(seed)
        plans = [plan for name in PEERS if (plan := planned(name, profile, fleet))]
        if plans:
            least_s = Flow(time_limit_s=10.0).plan(profile, fleet).lower_bound or 0.0
            assert all(plan.estimate.bottleneck_s >= least_s * (1 - 1e-6) for plan in plans), seed
            compared += len(plans)
    assert compared > 80


def test_pipeedge_is_optimal_where_no_source_has_links() -> None:
    for seed in range(150):
        profile, fleet = random_case(seed, LARGER)
        fleet = replace(fleet, source=None)
        plan = planned("pipeedge", profile, fleet)
        best = planned("throughput", profile, fleet)
        assert (plan is None) == (best is None), seed
        if plan and best:
            assert plan.value == pytest.approx(best.value, rel=1e-9, abs=0), seed


def test_pipeedge_is_never_better_than_the_optimum() -> None:
    for seed in range(100):
        profile, fleet = random_case(seed, LARGER)
        if plan := planned("pipeedge", profile, fleet):
            assert plan.value >= Throughput().plan(profile, fleet).value * (1 - 1e-9), seed


def ring_values(oracle: Oracle, ring: list[str], count: int):
    """Latencies of all contiguous plans with devices in the order of the ring."""
    for size in range(1, len(ring) + 1):
        for devices in combinations(ring, size):
            for inner in combinations(range(1, count), size - 1):
                bounds = (0, *inner, count)
                stages = [Stage.span(name, *span) for name, span in zip(devices, pairwise(bounds), strict=True)]
                if oracle.keeps_fused(stages) and oracle.has_times(stages):
                    cost = oracle.cost(stages, oracle.relay_messages(stages))
                    if oracle.fits(cost):
                        yield cost.value("latency")


@pytest.mark.parametrize(("spans", "count"), [(False, 120), (True, 60)], ids=["nodes", "spans"])
def test_halda_has_the_least_latency_over_the_ring(spans: bool, count: int) -> None:
    """Where no output is made early."""
    for seed in range(count):
        profile, fleet = random_case(seed, replace(LARGER, early_outputs=False, spans=spans))
        head = 0 if fleet.source is None else fleet.names.index(fleet.source)
        ring = [*fleet.names[head:], *fleet.names[:head]]
        best = min(ring_values(Oracle(profile, fleet), ring, len(profile)), default=None)
        try:
            plan = Halda().plan(profile, fleet)
        except InfeasibleError:
            assert best is None, seed
        else:
            assert plan.value == pytest.approx(best, rel=1e-9, abs=0), seed


def with_advice(fleet: Fleet, advice: str) -> Fleet:
    """The fleet with the memory that an error advises."""
    if times := re.search(r"; ([\d.e+]+) times the memory on each would do", advice):
        sizes = {each.name: each.memory_bytes and math.ceil(each.memory_bytes * float(times[1])) for each in fleet.devices}
    else:
        more = re.search(r"; ([\d.]+) MiB more on '(\w+)' would do", advice)
        assert more, advice
        sizes = {each.name: each.memory_bytes for each in fleet.devices}
        sizes[more[2]] += math.ceil(float(more[1]) * 2**20)
    return replace(fleet, devices=tuple(replace(each, memory_bytes=sizes[each.name]) for each in fleet.devices))


@pytest.mark.parametrize("name", [*PEERS, "throughput", "single"])
def test_more_memory_is_advised_only_where_devices_have_times_for_what_they_would_hold(name: str) -> None:
    for seed in range(60):
        profile, fleet = random_case(seed, replace(LARGER, spans=True))
        advice = refusal(name, profile, fleet)
        if advice and "more memory would not do" not in advice and "need no device that has" not in advice:
            assert planned(name, profile, with_advice(fleet, advice)), (seed, advice)


@pytest.mark.parametrize("name", PEERS)
def test_the_memory_that_an_error_advises_suffices(name: str) -> None:
    refused = 0
    for seed in range(200):
        profile, fleet = random_case(seed, LARGER)
        if advice := refusal(name, profile, fleet):
            refused += 1
            assert planned(name, profile, with_advice(fleet, advice)), (seed, advice)
    assert refused > 20


def test_pipeedge_on_its_own_plan_class_equals_a_table_of_all_plans() -> None:
    """With symmetric links, over every order of every subset, priced by an oracle that shares no code with it."""
    for seed in range(60):
        profile, fleet = random_case(seed, Options(nodes=(1, 5), devices=(1, 3)))
        links = {(a, b): fleet.link(*sorted((a, b))) for a in fleet.names for b in fleet.names if a != b}
        fleet = replace(fleet, source=None, links=links)
        oracle = Oracle(profile, fleet)
        values = [cost.value("throughput") for cost in oracle.contiguous_costs() if oracle.fits(cost)]
        try:
            value = PipeEdge().plan(profile, fleet).value
        except InfeasibleError:
            assert not values, seed
        else:
            assert value == pytest.approx(min(values), rel=1e-9, abs=0), seed
