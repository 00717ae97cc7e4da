import math
from itertools import product

from hypothesis import HealthCheck, given, settings

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import direct_transfers
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from partitioners.branches import Branches
from partitioners.engine.dag import build_dag
from partitioners.engine.list_schedule import Scheduler
from partitioners.engine.staging import scheduled_stages
from partitioners.latency import Latency
from tests.builders.dags import instances

CAREFUL = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])


def chain_value(profile: Profile, fleet: Fleet) -> float:
    try:
        return Latency().plan(profile, fleet).value
    except InfeasibleError:
        return math.inf


def staged_optimum(profile: Profile, fleet: Fleet) -> float:
    """The least latency over every placement of groups, staged along the priority order."""
    dag = build_dag(profile, fleet)
    order = Scheduler(dag, profile, fleet).priority_order()
    best = math.inf
    for placement in product(range(len(fleet.names)), repeat=len(dag)):
        stages = scheduled_stages(dag, fleet, placement, order)
        transfers = direct_transfers(profile.graph, stages)
        if not violations(profile, fleet, stages, transfers):
            best = min(best, cost.estimate(profile, fleet, stages, transfers).latency_s)
    return best


@CAREFUL
@given(instances(most_nodes=6))
def test_sound_bounded_and_never_slower_than_the_chain(instance: tuple[Profile, Fleet]) -> None:
    profile, fleet = instance
    chain_s = chain_value(profile, fleet)
    try:
        plan = Branches(moves=50).plan(profile, fleet)
    except InfeasibleError:
        assert chain_s == math.inf
        return
    assert violations(profile, fleet, plan.stages, plan.transfers) == []
    assert plan.lower_bound <= plan.value <= chain_s * (1 + 1e-9)


@settings(CAREFUL, max_examples=60)
@given(instances(most_nodes=5, limited=False))
def test_a_gap_of_zero_is_the_optimum_and_the_bound_is_below_it(instance: tuple[Profile, Fleet]) -> None:
    profile, fleet = instance
    plan = Branches(moves=200).plan(profile, fleet)
    best_s = min(staged_optimum(profile, fleet), chain_value(profile, fleet))
    assert plan.lower_bound <= best_s + 1e-9
    if plan.gap == 0:
        assert plan.value <= best_s + 1e-9


@CAREFUL
@given(instances(most_nodes=7, limited=False))
def test_the_scheduler_starts_no_group_early(instance: tuple[Profile, Fleet]) -> None:
    profile, fleet = instance
    dag = build_dag(profile, fleet)
    placement, order = Scheduler(dag, profile, fleet).heft()
    assert sorted(order) == list(range(len(dag)))
    assert all(order.index(a) < order.index(b) for a, b in dag.edges)
    stages = scheduled_stages(dag, fleet, placement, order)
    transfers = direct_transfers(profile.graph, stages)
    overheads = sum(profile.overhead_s[stage.device] for stage in stages)
    makespan_s = Scheduler(dag, profile, fleet).makespan(placement, order)
    assert makespan_s <= cost.estimate(profile, fleet, stages, transfers).latency_s + overheads + 1e-9
