"""Topological orders, and cuts of one order into a stage per device."""

from __future__ import annotations

from itertools import combinations, pairwise, permutations

import numpy as np
import pytest

from partitioners.engine.dag import Dag, build_dag
from partitioners.engine.dag_search import ChainCutter, topological_orders
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, fork_graph, graph_of
from tests.builders.profiles import profile_of


def dag_of(seconds: dict[str, list[float]], sizes: list[int] | int = 0) -> Dag:
    count = len(next(iter(seconds.values())))
    return build_dag(profile_of(chain_graph(count, sizes=sizes), seconds), fleet_of(*seconds))


def busiest(dag: Dag, placement: tuple[int, ...], overhead_s: list[float]) -> float:
    used = sorted(set(placement))
    return max(
        overhead_s[device] + sum(dag.seconds[group, device] for group, own in enumerate(placement) if own == device)
        for device in used
    )


def test_the_given_order_comes_first_and_a_seed_repeats_the_rest() -> None:
    dag = build_dag(profile_of(fork_graph(3, 2), {"p": 1.0}), fleet_of("p"))
    orders = list(topological_orders(dag, 30, seed=7))
    assert orders[0] == list(range(8))
    assert orders == list(topological_orders(dag, 30, seed=7))
    assert orders != list(topological_orders(dag, 30, seed=8))
    for order in orders:
        place = {group: index for index, group in enumerate(order)}
        assert sorted(order) == list(range(8))
        assert all(place[a] < place[b] for a, b in dag.edges)


def test_orders_run_branches_to_their_end_and_side_by_side() -> None:
    """With branches 1, 2 and 3, 4: depth first keeps them whole, breadth first alternates."""
    dag = build_dag(profile_of(fork_graph(2, 2), {"p": 1.0}), fleet_of("p"))
    orders = {tuple(order) for order in topological_orders(dag, 60, seed=0)}
    assert {(0, 1, 2, 3, 4, 5), (0, 3, 4, 1, 2, 5)} <= orders
    assert any(order[1:3] in ((1, 3), (3, 1)) for order in orders)


def test_a_chain_has_one_order() -> None:
    assert {tuple(order) for order in topological_orders(dag_of({"p": [1, 1, 1]}), 20, seed=0)} == {(0, 1, 2)}


@pytest.mark.parametrize(
    ("seconds", "overhead_s", "expected"),
    [
        pytest.param({"p": [1, 2, 3, 4], "q": [1, 2, 3, 4]}, [0, 0], 6.0, id="equal devices: 6 and 4"),
        pytest.param({"p": [1, 2, 3, 4], "q": [2, 4, 6, 8]}, [0, 0], 7.0, id="the slow one takes two nodes in 6 s"),
        pytest.param({"p": [1, 2, 3, 4], "q": [9, 9, 9, 9]}, [0, 0], 9.0, id="one node on the slow one"),
        pytest.param({"p": [1, 2, 3, 4], "q": [99] * 4}, [0, 0], 10.0, id="the slow one is left out"),
        pytest.param({"p": [1, 2, 3, 4], "q": [1, 2, 3, 4]}, [0, 100], 10.0, id="overhead leaves it out"),
        pytest.param({"p": [1, 2, 3, 4], "q": [1, 2, 3, 4]}, [1, 1], 7.0, id="overhead on each"),
        pytest.param({"p": [5]}, [0], 5.0, id="one node, one device"),
    ],
)
def test_cuts_are_near_the_least_bottleneck(seconds: dict[str, list[float]], overhead_s: list[float], expected: float) -> None:
    dag = dag_of(seconds)
    placement = ChainCutter(dag, overhead_s).cut(range(len(dag)), 1000.0, 0.1)
    assert placement is not None
    assert busiest(dag, placement, overhead_s) == pytest.approx(expected, rel=1e-4)


def test_only_what_is_better_than_the_limit_is_returned() -> None:
    cutter = ChainCutter(dag_of({"p": [1, 2, 3, 4], "q": [1, 2, 3, 4]}), [0.0, 0.0])
    assert cutter.cut(range(4), 6.1, 0.1) is not None
    assert cutter.cut(range(4), 6.0, 0.1) is None


def test_links_hold_cuts_to_boundaries_that_few_bytes_cross() -> None:
    """t2 has 100 bytes, t1 and t3 have 1: at 1 byte/s the middle is not to be cut."""
    dag = dag_of({"p": [1, 1, 1, 1], "q": [1, 1, 1, 1]}, [0, 1, 100, 1, 0])
    assert busiest(dag, ChainCutter(dag, [0, 0]).cut(range(4), 99.0, 0.1), [0, 0]) == 2.0
    held = ChainCutter(dag, [0, 0], bytes_per_s=1.0).cut(range(4), 99.0, 0.1)
    assert held is not None
    assert busiest(dag, held, [0, 0]) == 3.0


def test_a_tensor_with_two_readers_crosses_once() -> None:
    """After the head, 10 bytes of h cross, to however many branches."""
    dag = build_dag(
        profile_of(graph_of("h: x", "a: h", "b: h", tensors=10), {"p": [3, 2, 1], "q": [3, 2, 1]}), fleet_of("p", "q")
    )
    assert ChainCutter(dag, [0, 0], bytes_per_s=10.0 / 3.5).cut(range(3), 5.0, 0.1) is not None
    assert ChainCutter(dag, [0, 0], bytes_per_s=10.0 / 6.0).cut(range(3), 5.0, 0.1) is None


@pytest.mark.parametrize("seed", range(25))
def test_no_cut_of_a_random_chain_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, devices = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    seconds = {f"d{index}": rng.integers(1, 9, count).astype(float).tolist() for index in range(devices)}
    overhead_s = rng.integers(0, 3, devices).astype(float).tolist()
    dag = dag_of(seconds)
    best = min(
        max(overhead_s[d] + sum(seconds[f"d{d}"][a:b]) for d, (a, b) in zip(order, pairwise((0, *inner, count)), strict=True))
        for many in range(1, min(devices, count) + 1)
        for order in permutations(range(devices), many)
        for inner in combinations(range(1, count), many - 1)
    )
    placement = ChainCutter(dag, overhead_s).cut(range(count), 1000.0, 0.1)
    assert placement is not None
    assert busiest(dag, placement, overhead_s) == pytest.approx(best, rel=1e-4)
