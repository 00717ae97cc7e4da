"""From a device for each group to stages that can run one after another."""

from __future__ import annotations

from itertools import product

import pytest

from multiedge.planning.checks import structural_violations
from partitioners.engine.dag import build_dag
from partitioners.engine.staging import scheduled_stages, widest_stages
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, fork_graph, graph_of
from tests.builders.profiles import profile_of

FLEET = fleet_of("a", "b", "c")
FORK = fork_graph(2, 2)
"""0 head, 1 2 and 3 4 branches, 5 join."""


def staged(function, graph, placement):
    dag = build_dag(profile_of(graph, dict.fromkeys("abc", 1.0)), FLEET)
    order = () if function is widest_stages else (range(len(dag)),)
    stages = function(dag, FLEET, tuple("abc".index(name) for name in placement), *order)
    assert structural_violations(graph, FLEET, stages) == []
    return [(stage.device, stage.nodes) for stage in stages]


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        pytest.param("aaaaaa", [("a", (0, 1, 2, 3, 4, 5))], id="one device, one stage"),
        pytest.param("aaabba", [("a", (0, 1, 2)), ("b", (3, 4)), ("a", (5,))], id="one branch away and back"),
        pytest.param(
            "abbbba", [("a", (0,)), ("b", (1, 2, 3, 4)), ("a", (5,))], id="the middle on b, both branches at the same time"
        ),
        pytest.param("abbcca", [("a", (0,)), ("b", (1, 2)), ("c", (3, 4)), ("a", (5,))], id="a device for each branch"),
    ],
)
def test_widest_stages_take_all_that_can_run(placement: str, expected: list) -> None:
    found = staged(widest_stages, FORK, placement)
    assert len(found) == len(expected)
    assert sorted(found) == sorted(expected)


def test_widest_stages_begin_with_the_device_that_needs_fewer() -> None:
    """Two chains x -> y: a b and b a. Beginning with either gives three stages; beginning with b where b leads gives two."""
    graph = graph_of("p: x", "q: p", "r: x", "s: r q")
    assert len(staged(widest_stages, graph, "babb")) == 3
    two = graph_of("p: x", "q: x", "r: p q")
    assert staged(widest_stages, two, "aba") == [("b", (1,)), ("a", (0, 2))]
    assert staged(widest_stages, two, "abb") == [("a", (0,)), ("b", (1, 2))]


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        pytest.param("aaaaaa", [("a", (0, 1, 2, 3, 4, 5))], id="one device, one stage"),
        pytest.param(
            "aaabba", [("a", (0,)), ("a", (1, 2)), ("b", (3, 4)), ("a", (5,))], id="the head ends its stage, b waits for it"
        ),
        pytest.param("abbbba", [("a", (0,)), ("b", (1, 2)), ("b", (3, 4)), ("a", (5,))], id="branches stay apart"),
        pytest.param("abbcca", [("a", (0,)), ("b", (1, 2)), ("c", (3, 4)), ("a", (5,))], id="a device for each branch"),
    ],
)
def test_scheduled_stages_end_where_another_device_waits(placement: str, expected: list) -> None:
    assert staged(scheduled_stages, FORK, placement) == expected


def test_scheduled_stages_follow_the_order_given() -> None:
    dag = build_dag(profile_of(FORK, dict.fromkeys("abc", 1.0)), FLEET)
    stages = scheduled_stages(dag, FLEET, (0, 1, 1, 2, 2, 0), [0, 3, 4, 1, 2, 5])
    assert [(stage.device, stage.nodes) for stage in stages] == [("a", (0,)), ("c", (3, 4)), ("b", (1, 2)), ("a", (5,))]


def test_a_group_brings_all_its_nodes_in_ascending_order() -> None:
    graph = graph_of("a: x", "c: x", "d: a c")
    dag = build_dag(profile_of(graph, {"a": 1.0}, fused={"a"}), fleet_of("a"))
    (stage,) = widest_stages(dag, fleet_of("a"), (0, 0))
    assert stage.nodes == (0, 1, 2)


@pytest.mark.parametrize("function", [widest_stages, scheduled_stages])
@pytest.mark.parametrize("graph", [chain_graph(4), fork_graph(2, 1)], ids=["chain", "fork"])
def test_every_placement_can_be_staged(function, graph) -> None:
    for placement in product("abc", repeat=4):
        found = staged(function, graph, placement)
        assert all({placement[node] for node in nodes} == {device} for device, nodes in found)
