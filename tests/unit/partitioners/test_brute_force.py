"""All plans, one after another: how many there are, and the best of them."""

from __future__ import annotations

from math import comb, perm

import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Link
from partitioners.brute_force import BruteForce
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, fork_graph
from tests.builders.profiles import profile_of


@pytest.mark.parametrize(("nodes", "devices"), [(1, 1), (1, 3), (4, 1), (4, 2), (3, 3), (5, 3)])
def test_contiguous_plans_are_orders_of_devices_times_cuts(nodes: int, devices: int) -> None:
    names = [f"d{index}" for index in range(devices)]
    profile = profile_of(chain_graph(nodes), dict.fromkeys(names, 1.0))
    found = list(BruteForce().placements(profile, fleet_of(*names)))
    assert len(found) == sum(perm(devices, many) * comb(nodes - 1, many - 1) for many in range(1, devices + 1))
    assert len({stages for stages, _ in found}) == len(found)


def test_interleaved_plans_follow_every_edge() -> None:
    """head, two branches and a join on two devices: 2 on one, and 2 orders of every down-set but none and all: 4."""
    profile = profile_of(fork_graph(2, 1), dict.fromkeys("ab", 1.0))
    placements = list(BruteForce(interleave=True).placements(profile, fleet_of("a", "b")))
    firsts = {stages[0].nodes for stages, _ in placements if len(stages) == 2}
    assert firsts == {(0,), (0, 1), (0, 2), (0, 1, 2)}
    assert len(placements) == 2 + 2 * 4


@pytest.mark.parametrize(("interleave", "expected"), [(False, 2 + 2), (True, 2 + 2)])
def test_fused_nodes_are_kept_whole(interleave: bool, expected: int) -> None:
    profile = profile_of(chain_graph(3), dict.fromkeys("ab", 1.0), fused={"t1"})
    assert len(list(BruteForce(interleave=interleave).placements(profile, fleet_of("a", "b")))) == expected


def test_a_branch_on_a_device_of_its_own_beats_every_cut() -> None:
    profile = profile_of(fork_graph(2, 1, nbytes=0), {name: [0, 4, 4, 0] for name in "ab"})
    assert BruteForce("latency", interleave=False).plan(profile, fleet_of("a", "b")).value == 8.0
    assert BruteForce("throughput", interleave=True).plan(profile, fleet_of("a", "b")).value == 4.0


def test_the_best_is_returned_with_its_proof() -> None:
    profile = profile_of(chain_graph(2, sizes=2), {"a": [1, 9], "b": [9, 1]})
    plan = BruteForce("latency").plan(profile, fleet_of("a", "b", links=Link(1.0)))
    assert plan.value == plan.lower_bound == 1 + 2 + 1
    assert plan.bound_scope == "contiguous plans"
    assert BruteForce(interleave=True).plan(profile, fleet_of("a", "b")).bound_scope == "plans with stages in order"


def test_devices_without_a_stage_are_named() -> None:
    profile = profile_of(chain_graph(1), {"a": 1.0, "b": 2.0})
    assert BruteForce().plan(profile, fleet_of("a", "b")).left_out == {"b": "no plan with it is better: all were tried"}


@pytest.mark.parametrize(
    ("interleave", "count"), [pytest.param(False, 2 + 2 * 3, id="contiguous"), pytest.param(True, 2 + 2 * 16, id="interleaved")]
)
def test_too_many_plans_are_refused_before_the_first(interleave: bool, count: int) -> None:
    profile = profile_of(chain_graph(4), dict.fromkeys("ab", 1.0))
    assert BruteForce(interleave=interleave, most=count).plan(profile, fleet_of("a", "b")).stages
    with pytest.raises(ConfigError, match=rf"have up to {count} plans, more than most={count - 1}; use 'throughput'"):
        BruteForce(interleave=interleave, most=count - 1).plan(profile, fleet_of("a", "b"))


def test_where_nothing_fits_all_were_tried() -> None:
    profile = profile_of(chain_graph(2, weight_bytes=9), dict.fromkeys("ab", 1.0))
    with pytest.raises(InfeasibleError, match="no plan of chain fits the memory of fleet: all were tried"):
        BruteForce().plan(profile, fleet_of("a", "b", memory_bytes=5))
    with pytest.raises(ConfigError, match="objective: expected one of throughput, latency, energy, got 'speed'"):
        BruteForce("speed")
