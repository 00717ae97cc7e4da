"""Plans by chance: repeatable, of every kind, and within memory."""

from __future__ import annotations

import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet
from partitioners.random import Random
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of

PROFILE = profile_of(chain_graph(6, sizes=0, weight_bytes=100), dict.fromkeys("abc", 1.0))


def test_a_seed_gives_a_plan_and_names_itself() -> None:
    plans = [Random(seed=4).plan(PROFILE, fleet_of(*"abc")) for _ in range(2)]
    assert plans[0].stages == plans[1].stages
    assert plans[0].notes == ("seed 4",)
    assert plans[0].lower_bound is None
    assert set(plans[0].left_out.values()) <= {"not drawn"}


def test_seeds_vary_devices_their_order_and_their_shares() -> None:
    plans = [Random(seed=seed).plan(PROFILE, fleet_of(*"abc")) for seed in range(60)]
    orders = {tuple(stage.device for stage in plan.stages) for plan in plans}
    assert {len(order) for order in orders} == {1, 2, 3}
    assert {order[0] for order in orders} == set("abc")
    assert len({tuple(len(stage.nodes) for stage in plan.stages) for plan in plans}) > 6


def test_draws_that_do_not_fit_are_drawn_again() -> None:
    """Only c holds more than one node: plans that fit have at least four nodes there."""
    fleet = Fleet((Device("a", memory_bytes=100), Device("b", memory_bytes=100), Device("c", memory_bytes=600)))
    for seed in range(20):
        plan = Random(seed=seed).plan(PROFILE, fleet)
        assert all(len(stage.nodes) == 1 for stage in plan.stages if stage.device != "c")
        assert any(stage.device == "c" for stage in plan.stages)


def test_it_gives_up_after_so_many_tries() -> None:
    with pytest.raises(InfeasibleError, match="none of 7 random draws respects the memory of fleet; raise tries"):
        Random(tries=7).plan(PROFILE, fleet_of("a", "b", memory_bytes=99))
    with pytest.raises(ConfigError, match=r"random\.tries: expected at least 1, got 0"):
        Random(tries=0)
