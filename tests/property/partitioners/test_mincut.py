from itertools import chain, product

import pytest
from hypothesis import HealthCheck, given, settings

from multiedge.fleet import Fleet
from multiedge.plan import direct_transfers
from multiedge.planning import cost
from multiedge.planning.checks import structural_violations
from multiedge.profile import Profile
from partitioners.engine.dag import build_dag
from partitioners.engine.latency_bound import latency_bound
from partitioners.engine.staging import scheduled_stages, widest_stages
from partitioners.mincut import MinCut, least_serial_placement, serial_seconds
from tests.builders.dags import contiguous, instances, one_stage_per_device

CAREFUL = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


@CAREFUL
@given(instances(most_nodes=7, most_devices=2, least_devices=2, limited=False))
def test_the_cut_is_the_least_serial_time(instance: tuple[Profile, Fleet]) -> None:
    profile, fleet = instance
    dag = build_dag(profile, fleet)
    _, seconds = least_serial_placement(dag, fleet, (0, 1))
    assert seconds == pytest.approx(min(serial_seconds(dag, fleet, p) for p in product((0, 1), repeat=len(dag))), rel=1e-6)


@CAREFUL
@given(instances(most_nodes=6, most_devices=3, limited=False))
def test_the_plan_is_sound_and_no_slower_than_one_thing_after_another(instance: tuple[Profile, Fleet]) -> None:
    profile, fleet = instance
    plan = MinCut().plan(profile, fleet)
    assert structural_violations(profile.graph, fleet, plan.stages) == []
    assert plan.lower_bound <= plan.value
    assert len({stage.device for stage in plan.stages}) <= 2


@CAREFUL
@given(instances(most_nodes=6, most_devices=3, limited=False))
def test_every_staging_of_a_placement_can_run(instance: tuple[Profile, Fleet]) -> None:
    profile, fleet = instance
    dag = build_dag(profile, fleet)
    for placement in product(range(len(fleet.names)), repeat=min(len(dag), 4)):
        placement = (*placement, *[0] * (len(dag) - len(placement)))
        for stages in (widest_stages(dag, fleet, placement), scheduled_stages(dag, fleet, placement, range(len(dag)))):
            assert structural_violations(profile.graph, fleet, stages) == []


@settings(CAREFUL, max_examples=100)
@given(instances(most_nodes=4, limited=False))
def test_the_latency_bound_holds_for_every_plan(instance: tuple[Profile, Fleet]) -> None:
    profile, fleet = instance
    bound = latency_bound(profile, fleet)
    dag = build_dag(profile, fleet)
    for placement in product(range(len(fleet.names)), repeat=len(dag)):
        stages = scheduled_stages(dag, fleet, placement, range(len(dag)))
        transfers = direct_transfers(profile.graph, stages)
        assert bound <= cost.estimate(profile, fleet, stages, transfers).latency_s + 1e-9
    for plan in chain(one_stage_per_device(profile, fleet), contiguous(profile, fleet)):
        assert bound <= cost.estimate(profile, fleet, *plan).latency_s + 1e-9


@settings(CAREFUL, max_examples=50)
@given(instances(most_nodes=4, limited=False, most_devices=2))
def test_on_one_stage_per_cut_serial_time_is_an_upper_bound_of_latency(instance: tuple[Profile, Fleet]) -> None:
    profile, fleet = instance
    dag = build_dag(profile, fleet)
    for stages, transfers in one_stage_per_device(profile, fleet):
        home = {node: fleet.names.index(stage.device) for stage in stages for node in stage.nodes}
        placement = tuple(home[nodes[-1]] for nodes in dag.members)
        overhead = sum(profile.overhead_s[stage.device] for stage in stages)
        latency_s = cost.estimate(profile, fleet, stages, transfers).latency_s
        if all(home[node] == placement[group] for group, nodes in enumerate(dag.members) for node in nodes):
            assert latency_s <= serial_seconds(dag, fleet, placement) + overhead + 1e-9
