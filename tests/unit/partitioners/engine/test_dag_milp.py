"""One order of devices as a mixed-integer program, against every assignment of groups to stages in that order."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from multiedge.graph import Graph
from partitioners.engine.dag import Dag, build_dag
from partitioners.engine.dag_milp import Machine, OrderProgram
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, fork_graph, graph_of
from tests.builders.profiles import profile_of


def machine(count: int, **values: object) -> Machine:
    """Devices without overhead and memory limits, joined by links that take no time."""
    nothing = {
        "overhead_s": (0.0,) * count,
        "runtime_bytes": (0,) * count,
        "memory_bytes": (None,) * count,
        "per_byte_s": dict.fromkeys(permutations(range(count), 2), 0.0),
        "source": None,
        "parameters": (),
        "working_bytes": (),
        "spans": (None,) * count,
    }
    return Machine(**{**nothing, **values})


def dag_of(graph: Graph, seconds: dict[str, list[float] | float]) -> Dag:
    return build_dag(profile_of(graph, seconds), fleet_of(*seconds))


def solved(dag: Dag, fleet: Machine, order: tuple[int, ...], cutoff_s: float = 100.0):
    return OrderProgram(dag, fleet, order, cutoff_s).solve(10.0, 0.0)


CHAIN = dag_of(chain_graph(4, sizes=[0, 1, 5, 1, 0]), {"p": [1, 2, 3, 4], "q": [1, 2, 3, 4]})


def test_the_smallest_load_in_either_order() -> None:
    for order in ((0, 1), (1, 0)):
        answer = solved(CHAIN, machine(2), order)
        assert answer.lower_bound_s == pytest.approx(6.0)
        assert answer.placement == (order[0], order[0], order[0], order[1])


def test_an_order_decides_which_device_has_the_first_nodes() -> None:
    dag = dag_of(chain_graph(2, sizes=0), {"p": [1, 9], "q": [9, 1]})
    assert solved(dag, machine(2), (0, 1)).lower_bound_s == pytest.approx(1.0)
    assert solved(dag, machine(2), (1, 0)).lower_bound_s == pytest.approx(9.0)


def test_devices_may_stay_empty() -> None:
    dag = dag_of(chain_graph(2, sizes=0), {"p": [1, 1], "q": [50, 50]})
    assert solved(dag, machine(2), (0, 1)).placement == (0, 0)
    assert solved(dag, machine(2, overhead_s=(0.0, 50.0)), (1, 0)).placement == (0, 0)


def test_overhead_is_paid_by_devices_in_use() -> None:
    assert solved(CHAIN, machine(2, overhead_s=(3.0, 1.0)), (0, 1)).lower_bound_s == pytest.approx(8.0)
    assert solved(CHAIN, machine(2, overhead_s=(1.0, 3.0)), (0, 1)).lower_bound_s == pytest.approx(7.0)
    assert solved(CHAIN, machine(2, overhead_s=(1.0, 30.0)), (0, 1)).lower_bound_s == pytest.approx(11.0)


def test_links_bind_by_what_crosses_them() -> None:
    """Boundaries carry 1, 5 and 1 bytes; at 7 s per byte the best cut is the last one, 7 s."""
    dag = CHAIN
    assert solved(dag, machine(2, per_byte_s={(0, 1): 7.0, (1, 0): 0.0}), (0, 1)).lower_bound_s == pytest.approx(7.0)
    assert solved(dag, machine(2, per_byte_s={(0, 1): 70.0, (1, 0): 0.0}), (0, 1)).lower_bound_s == pytest.approx(10.0)
    assert solved(dag, machine(2, per_byte_s={(0, 1): 70.0, (1, 0): 0.0}), (1, 0)).lower_bound_s == pytest.approx(6.0)


def test_a_tensor_is_sent_once_to_a_device_that_reads_it_twice() -> None:
    """h goes to two nodes; on the other device both get it for the 4 s of one message."""
    dag = dag_of(graph_of("h: x", "a: h", "b: h", tensors={"x": 0, "h": 4, "a": 0, "b": 0}), {"p": [9, 9, 9], "q": [99, 1, 1]})
    answer = solved(dag, machine(2, per_byte_s={(0, 1): 1.0, (1, 0): 1.0}), (0, 1))
    assert answer.placement == (0, 1, 1)
    assert answer.lower_bound_s == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("source", "expected"),
    [pytest.param(None, 1.0, id="nowhere"), pytest.param(0, 8.0, id="8 bytes in"), pytest.param(1, 1.0, id="there already")],
)
def test_the_callers_link_binds(source: int | None, expected: float) -> None:
    dag = dag_of(chain_graph(1, sizes=[8, 2]), {"p": [20], "q": [1]})
    found = solved(dag, machine(2, source=source, per_byte_s={(0, 1): 1.0, (1, 0): 2.0}), (0, 1))
    assert found.lower_bound_s == pytest.approx(expected)


def test_results_go_back_over_the_callers_link() -> None:
    dag = dag_of(chain_graph(1, sizes=[0, 5]), {"p": [20], "q": [1]})
    found = solved(dag, machine(2, source=0, per_byte_s={(0, 1): 1.0, (1, 0): 2.0}), (0, 1))
    assert found.lower_bound_s == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("memory_bytes", "expected"),
    [
        pytest.param((None, None), 6.0, id="no limit"),
        pytest.param((300, None), 6.0, id="room for three weights"),
        pytest.param((299, None), 7.0, id="room for two"),
        pytest.param((99, 400), 10.0, id="room for none: all on the other"),
        pytest.param((99, 399), None, id="not even there"),
    ],
)
def test_parameters_take_memory(memory_bytes: tuple[int | None, ...], expected: float | None) -> None:
    """Four weights of 100 bytes; nodes of 1, 2, 3 and 4 s."""
    dag = dag_of(chain_graph(4, sizes=0), {"p": [1, 2, 3, 4], "q": [1, 2, 3, 4]})
    weights = tuple((100, (group,)) for group in range(4))
    answer = solved(dag, machine(2, memory_bytes=memory_bytes, parameters=weights, working_bytes=(0,) * 4), (0, 1))
    assert (answer.placement is None) == (expected is None)
    assert answer.lower_bound_s == pytest.approx(100.0 if expected is None else expected)


def test_a_shared_parameter_takes_memory_once_and_a_runtime_where_a_device_is_used() -> None:
    dag = dag_of(chain_graph(2, sizes=0), {"p": [1, 1], "q": [3, 3]})
    shared = machine(2, memory_bytes=(120, 0), parameters=((100, (0, 1)),), working_bytes=(0, 0), runtime_bytes=(20, 0))
    assert solved(dag, shared, (0, 1)).placement == (0, 0)
    fuller = machine(2, memory_bytes=(119, 0), parameters=((100, (0, 1)),), working_bytes=(0, 0), runtime_bytes=(20, 0))
    assert solved(dag, fuller, (0, 1)).placement is None


def test_nothing_below_the_cutoff_is_the_cutoff_as_bound() -> None:
    answer = solved(CHAIN, machine(2), (0, 1), cutoff_s=5.9)
    assert (answer.placement, answer.lower_bound_s) == (None, 5.9)
    hopeless = OrderProgram(CHAIN, machine(2), (0, 1), 1.0)
    assert hopeless.hopeless
    assert hopeless.solve(10.0, 0.0).lower_bound_s == 1.0


def test_without_time_nothing_is_proven() -> None:
    answer = OrderProgram(CHAIN, machine(2), (0, 1), 100.0).solve(0.0, 0.0)
    assert (answer.placement, answer.lower_bound_s) == (None, 0.0)


def test_a_forbidden_placement_is_not_found_again() -> None:
    program = OrderProgram(CHAIN, machine(2), (0, 1), 100.0)
    seen = []
    for _ in range(5):
        answer = program.solve(10.0, 0.0)
        assert answer.placement is not None
        seen.append(answer.placement)
        program.forbid(answer.placement)
    assert sorted(seen) == sorted([(0,) * cut + (1,) * (4 - cut) for cut in range(5)])
    assert program.solve(10.0, 0.0).placement is None


def test_a_stage_can_be_forbidden_wherever_the_rest_goes() -> None:
    program = OrderProgram(CHAIN, machine(3), (0, 1), 100.0)
    program.forbid((0, 0, 0, 1), [0, 1, 2])
    answer = program.solve(10.0, 0.0)
    assert answer.placement == (0, 0, 1, 1)
    assert answer.lower_bound_s == pytest.approx(7.0)


@pytest.mark.parametrize("seed", range(12))
def test_no_assignment_in_the_order_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = fork_graph(2, 1, nbytes=1) if seed % 2 else chain_graph(4, sizes=rng.integers(0, 5, 5).tolist())
    dag = dag_of(graph, {name: rng.integers(0, 9, 4).astype(float).tolist() for name in "pqr"})
    per_byte_s = {pair: float(rng.choice([0.0, 0.5, 3.0])) for pair in permutations(range(3), 2)}
    source, overhead_s = (None, 0, 2)[seed % 3], tuple(rng.integers(0, 3, 3).astype(float).tolist())
    order = tuple(rng.permutation(3).tolist())
    fleet = machine(3, overhead_s=overhead_s, per_byte_s=per_byte_s, source=source)
    best = min(bottleneck(dag, fleet, choice) for choice in product(order, repeat=4) if follows(dag, order, choice))
    answer = solved(dag, fleet, order)
    assert answer.placement is not None
    assert answer.lower_bound_s == pytest.approx(best, rel=1e-6, abs=1e-6)
    assert bottleneck(dag, fleet, answer.placement) == pytest.approx(best, rel=1e-6)


def follows(dag: Dag, order: tuple[int, ...], choice: tuple[int, ...]) -> bool:
    return all(order.index(choice[a]) <= order.index(choice[b]) for a, b in dag.edges)


def bottleneck(dag: Dag, fleet: Machine, choice: tuple[int, ...]) -> float:
    loads = [
        fleet.overhead_s[device] + sum(dag.seconds[group, device] for group in range(len(dag)) if choice[group] == device)
        for device in set(choice)
    ]
    carried: dict[tuple[int, int], float] = {}
    for message in dag.messages:
        home = fleet.source if message.source < 0 else choice[message.source]
        targets = {choice[reader] for reader in message.readers} | ({fleet.source} if message.returned else set())
        for target in targets - {home, None}:
            if home is not None:
                carried[home, target] = carried.get((home, target), 0.0) + message.nbytes * fleet.per_byte_s[home, target]
    return max([*loads, *carried.values()])
