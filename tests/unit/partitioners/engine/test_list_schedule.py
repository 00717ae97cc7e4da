"""Who computes what when: times of placements, by hand and by the oracle."""

from __future__ import annotations

from itertools import product

import pytest

from multiedge.fleet import Device, Fleet, Link
from multiedge.graph import Graph
from partitioners.engine.dag import build_dag
from partitioners.engine.list_schedule import Scheduler
from partitioners.engine.staging import scheduled_stages
from tests.builders.cases import Options, random_case
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, fork_graph, graph_of
from tests.builders.oracle import Oracle
from tests.builders.profiles import profile_of

TEN_PER_S = Link(10.0, latency_s=1.0)
AB = fleet_of("a", "b", links=TEN_PER_S)


def scheduler(graph: Graph, seconds: dict, fleet: Fleet = AB, **values: object) -> Scheduler:
    profile = profile_of(graph, seconds, **values)
    return Scheduler(build_dag(profile, fleet), profile, fleet)


def test_the_longest_way_to_the_end_goes_first() -> None:
    """Branch 1 takes 1 s, branch 2 takes 5 s."""
    made = scheduler(fork_graph(2, 1, nbytes=0), {"a": [1, 1, 5, 1], "b": [1, 1, 5, 1]})
    assert made.priority_order() == [0, 2, 1, 3]


def test_mean_times_and_mean_links_make_the_priority() -> None:
    """Branch 1: 2 s on average and 100 bytes at 10 bytes/s; branch 2: 5 s and nothing to send."""
    graph = graph_of("h: x", "p: h", "q: h", "y: p q", tensors={"x": 0, "h": 0, "p": 100, "q": 0, "y": 0})
    made = scheduler(graph, {"a": [0, 1, 5, 0], "b": [0, 3, 5, 0]})
    assert made.priority_order() == [0, 1, 2, 3]
    assert scheduler(graph, {"a": [0, 1, 5, 0], "b": [0, 3, 5, 0]}, fleet_of("a", "b")).priority_order() == [0, 2, 1, 3]


def test_groups_of_no_time_keep_a_topological_order() -> None:
    made = scheduler(fork_graph(2, 2, nbytes=0), {"a": 0.0, "b": 0.0}, fleet_of("a", "b"))
    assert made.priority_order() == [0, 1, 3, 2, 4, 5]


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        pytest.param("aaaa", 1 + 4 + 4 + 1, id="one after another"),
        pytest.param("abaa", 1 + 2 + 4 + 2 + 1, id="one branch away: 2 s there and 2 s back"),
        pytest.param("bbbb", 1 + 4 + 4 + 1, id="all on the other"),
        pytest.param("abab", 1 + 2 + 4 + 1, id="joined where the one that went away is"),
    ],
)
def test_makespans_on_paper(placement: str, expected: float) -> None:
    """Head 1 s, branches of 4 s, join 1 s, every tensor 10 bytes: 2 s on the way."""
    made = scheduler(fork_graph(2, 1, nbytes=10), {name: [1, 4, 4, 1] for name in "ab"})
    assert made.makespan(["ab".index(name) for name in placement], [0, 1, 2, 3]) == pytest.approx(expected)


def test_overhead_is_due_where_a_stage_begins() -> None:
    made = scheduler(chain_graph(4, sizes=0), {"a": 1.0, "b": 1.0}, fleet_of("a", "b"), overhead_s={"a": 10.0, "b": 100.0})
    assert made.makespan([0, 0, 0, 0], range(4)) == 14.0
    assert made.makespan([0, 0, 1, 1], range(4)) == 114.0
    assert made.makespan([0, 1, 0, 0], range(4)) == 124.0


def test_items_come_from_the_source_and_results_go_back() -> None:
    fleet = fleet_of("a", "b", links={("a", "b"): Link(10.0, 1.0), ("b", "a"): Link(5.0, 1.0)}, source="a")
    made = scheduler(chain_graph(1, sizes=[10, 20]), {"a": 9.0, "b": 1.0}, fleet)
    assert made.makespan([0], [0]) == 9.0
    assert made.makespan([1], [0]) == (1 + 1) + 1 + (1 + 4)


def test_each_group_goes_where_it_is_done_first() -> None:
    made = scheduler(fork_graph(2, 1, nbytes=0), {"a": [1, 4, 4, 1], "b": [1, 4, 4, 1]}, fleet_of("a", "b"))
    placement, order = made.heft()
    assert len({placement[1], placement[2]}) == 2
    assert made.makespan(placement, order) == 6.0


def test_parameters_go_where_there_is_room_for_them() -> None:
    graph = graph_of("t1: t0 v", "t2: t1 w", inputs=("t0",), tensors=0, parameters={"v": 60, "w": 60})
    fleet = Fleet((Device("a", memory_bytes=100), Device("b")))
    assert scheduler(graph, {"a": 1.0, "b": 5.0}, fleet).heft()[0] == (0, 1)
    # Where no device has room, the fastest is taken all the same: the plan is checked later.
    assert scheduler(graph, {"a": 1.0, "b": 5.0}, fleet_of("a", "b", memory_bytes=1)).heft()[0] == (0, 0)


def test_moves_never_make_a_placement_slower_and_find_the_free_branch() -> None:
    made = scheduler(fork_graph(2, 3, nbytes=0), dict.fromkeys("ab", 1.0), fleet_of("a", "b"))
    order = made.priority_order()
    worst = (0,) * 8
    better = made.improve(worst, order, 300, 1, 0.0)
    assert made.makespan(worst, order) == 8.0
    assert made.makespan(better, order) == 5.0
    assert made.improve(worst, order, 300, 1, 0.0) == better


@pytest.mark.parametrize(
    ("moves", "crossing_s"),
    [pytest.param(0, 0.0, id="no moves"), pytest.param(300, 9.0, id="an edge between devices costs more than it saves")],
)
def test_a_placement_stays_where_nothing_is_to_be_gained(moves: int, crossing_s: float) -> None:
    made = scheduler(fork_graph(2, 3, nbytes=0), dict.fromkeys("ab", 1.0), fleet_of("a", "b"))
    assert made.improve((0,) * 8, made.priority_order(), moves, 1, crossing_s) == (0,) * 8


def test_with_one_device_there_is_nothing_to_move() -> None:
    made = scheduler(chain_graph(3), {"a": 1.0}, fleet_of("a"))
    assert made.improve((0, 0, 0), [0, 1, 2], 50, 0, 0.0) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(30))
def test_a_makespan_is_no_later_than_the_request_of_its_stages(seed: int) -> None:
    """Groups wait for what they read; stages wait for all that any of their groups reads."""
    profile, fleet = random_case(seed, Options(overheads=False, limited=False, devices=(2, 2)))
    oracle, dag = Oracle(profile, fleet), build_dag(profile, fleet)
    made = Scheduler(dag, profile, fleet)
    for placement in product(range(2), repeat=len(dag)):
        stages = scheduled_stages(dag, fleet, placement, range(len(dag)))
        expected = oracle.cost(stages, oracle.direct_messages(stages)).latency_s
        assert made.makespan(placement, range(len(dag))) <= expected * (1 + 1e-9)
