"""Blocks that are all alike: rates and bounds against an integer program over all placements, and the rule for slow links."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from time import perf_counter

import numpy as np
import pytest

from partitioners.engine.flow_bound import kinds_of, most_rate
from partitioners.engine.flow_milp import solve
from partitioners.engine.flow_network import OUTSIDE, Held, Network, hops_of, largest_flow
from partitioners.engine.flow_segments import structures, teams_of
from partitioners.engine.flow_uniform import solve_uniform
from partitioners.engine.flow_visits import sites_of, visit_weights

FAST = 1e-6


def uniform(blocks: int, rates: list[list[float]], links: np.ndarray | float = FAST) -> Network:
    """A network of devices that pass rates[d][k - 1] items/s when they hold k blocks; `links` are seconds per item."""
    spans = []
    for own in rates:
        seconds = np.full((blocks + 1, blocks + 1), np.inf)
        for held, rate in enumerate(own[:blocks], 1):
            starts = np.arange(blocks + 1 - held)
            seconds[starts, starts + held] = 1 / rate
        spans.append(seconds)
    count = len(rates)
    results = np.zeros(blocks + 1)
    results[-1] = 1.0
    between = np.array(np.broadcast_to(links, (count, count)), dtype=np.float64)
    none = np.full(count, FAST)
    return Network(blocks, tuple(spans), (None,) * count, np.zeros(count), np.ones(blocks + 1), results, between, none, none)


def random_network(seed: int) -> Network:
    random = Random(seed)
    kinds = [
        [random.uniform(50, 100) / held ** random.uniform(1.0, 1.6) for held in range(1, random.randint(2, 5))]
        for _ in range(2)
    ]
    rates = [kinds[random.randrange(2)] for _ in range(random.randint(2, 4))]
    links = np.full((len(rates), len(rates)), FAST)
    if random.random() < 0.5:
        slow = np.array([[random.random() < 0.4 for _ in rates] for _ in rates])
        links = np.where(slow, random.choice([1 / 20, np.inf]), FAST)
    return uniform(random.randint(2, 5), rates, links)


@pytest.mark.parametrize("seed", range(25))
def test_the_bound_is_above_and_the_rate_below_the_best_of_all_placements(seed: int) -> None:
    network = random_network(seed)
    best = solve(network, time_limit_s=20.0).flow.rate
    solved = solve_uniform(network, time_limit_s=1.0, seed=seed)
    assert solved.flow.rate <= best * (1 + 1e-6)
    assert solved.most_rate >= best * (1 - 1e-6)


def test_two_lanes_with_boundaries_of_their_own_reach_more_than_stages_of_one() -> None:
    """Three devices hold 1 block at rate 10, and two more 3 blocks at rate 5 each: 3 blocks at 10 items/s in two lanes."""
    network = uniform(6, [[10, 4, 1]] * 3 + [[9, 8, 5]] * 2)
    solved = solve_uniform(network, time_limit_s=20.0, seed=0)  # it ends when the rate is proven
    assert solved.flow.rate == pytest.approx(10.0)
    assert solved.gap == pytest.approx(0.0, abs=1e-6)


def test_sites_joined_by_slow_links_cannot_hand_over_from_one_device_to_one() -> None:
    """Two devices in each of two sites; every device holds 2 of 8 blocks at rate 100, links between sites carry 34."""
    links = np.full((4, 4), 1 / 34)
    links[:2, :2] = links[2:, 2:] = FAST
    rates = [[200.0, 100.0]] * 4
    joined, apart = uniform(8, rates), uniform(8, rates, links)
    assert most_rate(joined, 0.0, perf_counter() + 5) == pytest.approx(100.0, rel=1e-3)
    assert most_rate(apart, 0.0, perf_counter() + 5) < 100.0
    assert len(sites_of(apart, 100.0)) == 2


def test_devices_that_many_depend_on_get_negative_weights() -> None:
    """Two hubs are linked to all; four leaves to hubs only."""
    links = np.full((6, 6), np.inf)
    links[:2, :] = links[:, :2] = FAST
    weights = visit_weights(uniform(12, [[100.0, 45.0, 20.0]] * 6, links), 40.0)
    assert (weights[:2] < 0).all()
    assert (weights[2:] > 0).all()


def test_the_largest_flow_divides_where_devices_share() -> None:
    network = uniform(2, [[10.0, 4.0], [3.0, 1.0], [5.0, 2.0]])
    placement = [Held(0, 1), Held(1, 2), Held(1, 2)]
    flow = largest_flow(network, placement)
    assert flow.rate == pytest.approx(8.0)
    assert dict(flow.paths()) == pytest.approx({(0, 2): 5.0, (0, 1): 3.0})
    assert hops_of(network, placement)[0, 1] == 1


def test_an_item_enters_inside_a_span_at_its_entries_only() -> None:
    network = uniform(3, [[10.0, 4.0, 2.0], [10.0, 4.0, 2.0]])
    assert largest_flow(network, [Held(0, 1), Held(0, 3)]).rate == pytest.approx(2.0)
    within = largest_flow(network, [Held(0, 1), Held(0, 3, (1,))])
    assert within.rate == pytest.approx(2.0)
    assert (0, 1) in hops_of(network, [Held(0, 1), Held(0, 3, (1,))])


def test_a_placement_without_a_way_through_has_no_flow() -> None:
    network = uniform(2, [[10.0, 4.0]])
    assert largest_flow(network, [Held(0, 1)]).rate == 0.0
    assert largest_flow(network, [None]).hops == {}
    no_exit = replace(network, leave_per_byte_s=np.array([np.inf]))
    assert largest_flow(no_exit, [Held(0, 2)]).rate == 0.0


def test_equal_devices_of_one_site_are_one_team() -> None:
    network = uniform(4, [[10.0, 5.0]] * 3 + [[20.0, 9.0]])
    assert [len(kind.devices) for kind in kinds_of(network)] == [3, 1]
    assert len(teams_of(network, 5.0)) == 2
    _, segments = next(structures(network, 5.0, 1.0))
    assert sum(segment.blocks for site in segments for segment in site) >= 4


def test_what_enters_a_device_leaves_it() -> None:
    flow = solve(random_network(2), time_limit_s=20.0).flow
    for device in range(len(flow.placement)):
        entering = sum(rate for (_, target), rate in flow.hops.items() if target == device)
        leaving = sum(rate for (source, _), rate in flow.hops.items() if source == device)
        assert entering == pytest.approx(leaving)
    assert sum(rate for (source, _), rate in flow.hops.items() if source == OUTSIDE) == pytest.approx(flow.rate)
