from dataclasses import replace

import numpy as np
import pytest

from multiedge.errors import ConfigError, InfeasibleError, ProfileError
from multiedge.fleet import Device, Fleet, Link
from multiedge.graph import Node
from multiedge.plan import CALLER
from multiedge.profile import Profile
from partitioners.engine.dag import build_dag
from partitioners.engine.dag_search import ChainCutter, topological_orders
from partitioners.engine.load_bound import load_bound, weighted_bound
from partitioners.exact import Exact, distinct_orders, is_path
from partitioners.throughput import Throughput
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of


def fork(seconds: list[float], **by_device: float) -> Profile:
    """head, two branches of two nodes that alternate in the file's order, and a join; device x is `by_device[x]` slower."""
    graph = graph_of("t0: x", "t1: t0", "t2: t0", "t3: t1", "t4: t2", "t5: t3 t4", tensors=100)
    return profile_of(graph, {name: [factor * each for each in seconds] for name, factor in by_device.items()})


def test_a_branch_on_a_device_of_its_own_beats_every_cut_of_the_order() -> None:
    profile = fork([1, 1, 5, 1, 5, 1], p=1.0, q=0.4)
    fleet = Fleet((Device("p"), Device("q")))
    chain, plan = Throughput().plan(profile, fleet), Exact(gap=0.0).plan(profile, fleet)
    assert plan.value == pytest.approx(4.4)
    assert chain.value == pytest.approx(4.8)
    assert plan.gap == pytest.approx(0.0, abs=1e-6)
    assert plan.bound_scope == "plans with one stage per device"


def test_memory_is_hard_and_no_plan_is_an_error() -> None:
    fleet = Fleet((Device("p", memory_bytes=150), Device("q", memory_bytes=150)))
    with pytest.raises(InfeasibleError):
        Exact().plan(fork([1] * 6, p=1.0, q=1.0), fleet)


def test_the_time_limit_holds_and_what_is_proven_by_then_is_returned() -> None:
    profile = fork([1, 2, 3, 4, 5, 6], p=1.0, q=1.1, r=1.3)
    plan = Exact(gap=0.0, time_limit_s=1e-6, orders=1).plan(profile, Fleet((Device("p"), Device("q"), Device("r"))))
    assert plan.lower_bound is not None
    assert 0 < plan.lower_bound <= plan.value
    assert plan.solve_s < 2.0


def test_a_chain_of_nodes_is_proven_by_the_chain() -> None:
    """Seven different devices have more orders than programs are solved for, and the load bound is weak for large nodes."""
    names = [f"d{index}" for index in range(7)]
    seconds = (5, 1, 4, 1, 5, 9, 2, 6, 5)
    profile = profile_of(chain_graph(9), {name: [(1 + index) * each for each in seconds] for index, name in enumerate(names)})
    plan = Exact(gap=0.0, time_limit_s=20.0, orders=1).plan(profile, Fleet(tuple(map(Device, names))))
    assert plan.gap == 0.0
    assert plan.value == pytest.approx(Throughput().plan(profile, Fleet(tuple(map(Device, names)))).value)


def test_a_skipping_edge_is_no_chain() -> None:
    assert is_path(graph_of("t0: x", "t1: t0", "t2: t1", tensors=1))
    assert not is_path(graph_of("t0: x", "t1: t0", "t2: t1 t0", tensors=1))
    assert not is_path(graph_of("t0: x", "t1: x", "t2: t1", tensors=1))


def test_beyond_the_orders_that_are_proven_programs_still_improve_the_plan() -> None:
    """Six heavy branches between a fork and a join: no cut of one order gives each of seven devices a branch."""
    heads, ends = [f"a{index}: h" for index in range(6)], [f"b{index}" for index in range(6)]
    graph = graph_of("h: x", *heads, *(f"b{index}: a{index}" for index in range(6)), "y: " + " ".join(ends), tensors=1)
    names = [f"d{index}" for index in range(7)]
    seconds = [1.0, *[3.0] * 6, *[2.0] * 6, 1.0]
    profile = profile_of(graph, {name: [(1 + 0.01 * index) * each for each in seconds] for index, name in enumerate(names)})
    fleet = Fleet(tuple(map(Device, names)))
    plan = Exact(gap=0.14, time_limit_s=60.0, orders=1).plan(profile, fleet)
    assert plan.value < Throughput().plan(profile, fleet).value
    assert plan.lower_bound <= plan.value


def test_a_slow_direct_link_leaves_the_chain_that_hands_on() -> None:
    profile = fork([4, 0, 0, 4, 0, 4], p=1.0, q=1.0, r=1.0)
    slow = {("p", "r"): Link(1.0), ("q", "r"): Link(1000.0), ("p", "q"): Link(1000.0)}
    fleet = Fleet((Device("p"), Device("q"), Device("r")), slow, source="q")
    plan = Exact(gap=0.0).plan(profile, fleet)
    assert plan.lower_bound <= plan.value <= Throughput().plan(profile, fleet).value


@pytest.mark.parametrize("options", [{"time_limit_s": 0.0}, {"gap": 1.0}, {"gap": -0.1}, {"orders": 0}])
def test_bad_options_are_errors(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="exact: expected"):
        Exact(**options)


def test_a_constant_joins_its_only_reader() -> None:
    nodes = (Node("c", "Constant", (), ("k",)), Node("a", "Op", ("x",), ("t",)), Node("b", "Op", ("t", "k"), ("y",)))
    fleet = Fleet((Device("p"),))
    idle = profile_of(graph_of(*nodes, tensors=8), {"p": [0.0, 1.0, 1.0]})
    busy = idle.with_seconds("p", np.array([0.01, 1.0, 1.0]), "by hand")
    assert build_dag(idle, fleet).members == ((1,), (0, 2))
    assert build_dag(busy, fleet).members == ((0,), (1,), (2,))
    assert build_dag(busy, fleet, absorb_share=0.1).members == ((1,), (0, 2))


def test_equal_devices_need_one_order() -> None:
    profile = fork([1] * 6, p=1.0, q=1.0, r=2.0)
    fleet = Fleet((Device("p"), Device("q"), Device("r")))
    assert len(list(distinct_orders(profile, fleet))) == 3


def test_random_orders_are_topological_and_seeded() -> None:
    dag = build_dag(fork([1] * 6, p=1.0), Fleet((Device("p"),)))
    orders = list(topological_orders(dag, 20, seed=1))
    assert orders == list(topological_orders(dag, 20, seed=1))
    assert len({tuple(order) for order in orders}) > 2
    for order in orders:
        assert sorted(order) == list(range(6))
        assert all(order.index(a) < order.index(b) for a, b in dag.edges)


def test_cutter_respects_the_bytes_that_cross() -> None:
    profile = fork([1, 1, 1, 1, 1, 1], p=1.0, q=1.0)
    dag = build_dag(profile, Fleet((Device("p"), Device("q"))))
    halves = ChainCutter(dag, [0.0, 0.0]).cut(range(6), 100.0, 1.0)
    assert halves is not None
    assert sorted(map(halves.count, (0, 1))) == [3, 3]
    # Between the branches 200 bytes cross, after the head 100: 25 bytes/s carry only the latter within 5 seconds.
    head = ChainCutter(dag, [0.0, 0.0], bytes_per_s=25.0).cut(range(6), 100.0, 1.0)
    assert head is not None
    assert sorted(map(head.count, (0, 1))) == [1, 5]


def test_load_bound_of_proportional_and_of_unrelated_devices() -> None:
    times = np.array([1.0, 2.0, 3.0])
    assert load_bound(np.stack([times, times / 2], axis=1)) == pytest.approx(2.0)
    # Each node is free on one of the devices.
    assert load_bound(np.array([[0.0, 5.0], [5.0, 0.0]])) == pytest.approx(0.0)
    assert load_bound(np.array([[2.0, 4.0], [4.0, 2.0]])) == pytest.approx(2.0)
    assert weighted_bound(np.array([[2.0, 4.0]]), np.array([0.5, 0.5])) == 1.0


def test_results_are_sent_to_the_caller_once() -> None:
    profile = fork([1] * 6, p=1.0, q=1.0)
    plan = Exact().plan(profile, Fleet((Device("p"), Device("q"))))
    assert [move.tensors for move in plan.transfers if move.target == CALLER] == [("t5",)]


def test_what_is_fused_is_one_group_and_groups_stay_in_order() -> None:
    profile = replace(fork([1, 2, 3, 4, 5, 6], p=1.0), fused=frozenset({"t1"}))
    dag = build_dag(profile, Fleet((Device("p"),)))
    assert dag.members == ((0,), (2,), (1, 3), (4,), (5,))
    assert dag.seconds[:, 0].tolist() == dag.whole_seconds[:, 0].tolist() == [1, 3, 6, 5, 6]
    assert all(a < b for a, b in dag.edges)


def test_fused_tensors_that_tie_an_impossible_knot_are_refused() -> None:
    graph = graph_of("t0 u0: x", "t1: t0", "t2: t0 t1", "y: u0 t2")
    profile = profile_of(graph, {"p": 1.0}, fused={"u0"})
    with pytest.raises(ProfileError, match="tie nodes together that others must run between"):
        build_dag(profile, Fleet((Device("p"),)))
