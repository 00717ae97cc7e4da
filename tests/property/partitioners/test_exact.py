from itertools import chain

import pytest
from hypothesis import HealthCheck, given, settings

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from partitioners.exact import Exact, _machine, _Search, distinct_orders
from tests.builders.dags import contiguous, instances, least, one_stage_per_device

CAREFUL = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def optimum(profile: Profile, fleet: Fleet) -> float | None:
    plans = chain(one_stage_per_device(profile, fleet), contiguous(profile, fleet))
    return least(profile, fleet, plans, "throughput")


@CAREFUL
@given(instances())
def test_exact_equals_brute_force(instance: tuple[Profile, Fleet]) -> None:
    profile, fleet = instance
    expected = optimum(profile, fleet)
    if expected is None:
        with pytest.raises(InfeasibleError):
            Exact(gap=0.0, orders=3).plan(profile, fleet)
        return
    plan = Exact(gap=0.0, orders=3).plan(profile, fleet)
    assert plan.value == pytest.approx(expected, rel=1e-6)
    assert plan.lower_bound <= plan.value
    assert plan.lower_bound == pytest.approx(expected, rel=1e-6)
    assert violations(profile, fleet, plan.stages, plan.transfers) == []


@settings(CAREFUL, max_examples=100)
@given(instances(least_devices=2))
def test_the_programs_alone_equal_brute_force(instance: tuple[Profile, Fleet]) -> None:
    """Without the chain and the random orders, which often have the optimum already."""
    profile, fleet = instance
    expected = least(profile, fleet, one_stage_per_device(profile, fleet), "throughput")
    search = _Search(profile, fleet, 0.0, float("inf"))
    machine = _machine(profile, fleet, search.dag)
    bounds = [search.solve_order(machine, order, 60.0) for order in distinct_orders(profile, fleet)]
    if expected is None:
        assert search.best is None
    else:
        assert search.best.value == pytest.approx(expected, rel=1e-6)
        assert min(bounds) <= expected * (1 + 1e-6)


@settings(CAREFUL, max_examples=60)
@given(instances(most_devices=2))
def test_the_load_bound_holds_for_every_plan(instance: tuple[Profile, Fleet]) -> None:
    profile, fleet = instance
    bound = _Search(profile, fleet, 0.0, 0.0).bound_all
    expected = optimum(profile, fleet)
    assert expected is None or bound <= expected + 1e-9


@settings(CAREFUL, max_examples=40)
@given(instances(most_nodes=4, least_devices=2))
def test_adding_a_device_never_worsens_the_optimum(instance: tuple[Profile, Fleet]) -> None:
    profile, fleet = instance
    idle = next(name for name in reversed(fleet.names) if name != fleet.source)
    fewer = fleet.without(idle)
    if optimum(profile, fewer) is None:
        return
    small = Exact(gap=0.0, orders=3).plan(profile, fewer)
    large = Exact(gap=0.0, orders=3).plan(profile, fleet)
    assert large.value <= small.value * (1 + 1e-9)
