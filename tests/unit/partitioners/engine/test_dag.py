"""A profile as groups of nodes: what is joined, what is sent, what depends on what."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.errors import ProfileError
from multiedge.graph import Graph, Node
from multiedge.plan import CALLER
from partitioners.engine.dag import Dag, Message, build_dag
from tests.builders.fleets import fleet_of
from tests.builders.graphs import fork_graph, graph_of
from tests.builders.profiles import profile_of

P = fleet_of("p")


def dag_of(graph: Graph, seconds: list[float] | float = 1.0, **values: object) -> Dag:
    options = {name: values.pop(name) for name in ("absorb_share", "absorb_all") if name in values}
    return build_dag(profile_of(graph, {"p": seconds}, **values), P, **options)


def test_without_constants_each_node_is_a_group() -> None:
    dag = dag_of(fork_graph(2, 1, nbytes=7), [1, 2, 3, 4])
    assert dag.members == ((0,), (1,), (2,), (3,))
    assert dag.edges == ((0, 1), (0, 2), (1, 3), (2, 3))
    assert dag.seconds[:, 0].tolist() == dag.whole_seconds[:, 0].tolist() == [1, 2, 3, 4]
    assert dag.devices == ("p",)
    assert len(dag) == 4


def test_each_tensor_is_one_message_with_all_its_readers() -> None:
    dag = dag_of(fork_graph(2, 1, nbytes=7))
    assert dag.messages == (
        Message(7, CALLER, (0,), False),
        Message(7, 0, (1, 2), False),
        Message(7, 1, (3,), False),
        Message(7, 2, (3,), False),
        Message(7, 3, (), True),
    )


def test_what_depends_on_what() -> None:
    dag = dag_of(fork_graph(2, 1))
    assert dag.successors == ((1, 2), (3,), (3,), ())
    assert dag.predecessors == ((), (0,), (0,), (1, 2))
    assert dag.ancestors.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]]


def test_an_input_that_nobody_reads_and_parameters_are_no_messages() -> None:
    graph = graph_of("y: x w", inputs=("x", "unread"), parameters={"w": 5})
    assert [(message.source, message.readers) for message in dag_of(graph).messages] == [(CALLER, (0,)), (0, ())]


def test_an_output_that_is_read_as_well_is_sent_and_returned() -> None:
    graph = graph_of("h: x", "y: h", outputs=("h", "y"))
    assert dag_of(graph).messages[1] == Message(10, 0, (1,), True)


CONSTANT = (Node("c", "Constant", (), ("k",)), Node("a", "Op", ("x",), ("t",)), Node("b", "Op", ("t", "k"), ("y",)))


@pytest.mark.parametrize(
    ("nodes", "seconds", "expected"),
    [
        pytest.param(CONSTANT, [0, 1, 1], ((1,), (0, 2)), id="one reader, no time: it joins"),
        pytest.param(CONSTANT, [0.5, 1, 1], ((0,), (1,), (2,)), id="it takes time: it does not"),
        pytest.param(
            (*CONSTANT, Node("d", "Op", ("k",), ("z",))), [0, 1, 1, 1], ((0,), (1,), (2,), (3,)), id="two readers: it does not"
        ),
        pytest.param(
            (
                Node("c", "Constant", (), ("j",)),
                Node("e", "Op", ("j",), ("k",)),
                *CONSTANT[1:],
            ),
            [0, 0, 1, 1],
            ((2,), (0, 1, 3)),
            id="a constant made of a constant joins with it",
        ),
    ],
)
def test_constants_of_one_reader_join_it(nodes: tuple[Node, ...], seconds: list[float], expected: tuple) -> None:
    assert dag_of(graph_of(*nodes), seconds).members == expected


def test_a_constant_that_is_an_output_stays_on_its_own() -> None:
    graph = graph_of(*CONSTANT, outputs=("y", "k"))
    assert dag_of(graph, [0, 1, 1]).members == ((0,), (1,), (2,))


@pytest.mark.parametrize(
    ("weight_bytes", "absorb_all", "joined"),
    [
        pytest.param(10, False, True, id="as large as what it makes"),
        pytest.param(11, False, False, id="larger: moving it could cost memory"),
        pytest.param(11, True, True, id="larger, but a heuristic asks"),
    ],
)
def test_a_constant_that_holds_more_than_it_makes_stays_where_it_is(weight_bytes: int, absorb_all: bool, joined: bool) -> None:
    nodes = (Node("c", "Op", ("w",), ("k",)), *CONSTANT[1:])
    graph = graph_of(*nodes, parameters={"w": weight_bytes})
    assert len(dag_of(graph, [0, 1, 1], absorb_all=absorb_all)) == (2 if joined else 3)


@pytest.mark.parametrize(("absorb_share", "joined"), [(0.0, False), (0.19, False), (0.21, True)])
def test_constants_that_take_a_small_share_of_the_time_may_join(absorb_share: float, joined: bool) -> None:
    """0.5 of 2.5 s are constants'."""
    dag = dag_of(graph_of(*CONSTANT), [0.5, 1, 1], absorb_share=absorb_share)
    assert len(dag) == (2 if joined else 3)
    if joined:
        assert dag.seconds[:, 0].tolist() == [1, 1]
        assert dag.whole_seconds[:, 0].tolist() == [1, 1.5]


def test_what_is_fused_is_one_group() -> None:
    graph = graph_of("a: x", "b: a", "c: x", "d: b c")
    dag = dag_of(graph, [1, 2, 3, 4], fused={"a"})
    assert dag.members == ((0, 1), (2,), (3,))
    assert dag.seconds[:, 0].tolist() == [3, 3, 4]
    assert dag.messages[0] == Message(10, CALLER, (0, 1), False)


def test_groups_stay_in_topological_order_when_nodes_between_them_are_joined() -> None:
    """a and d are one group, and c, which feeds it, comes before it."""
    graph = graph_of("a: x", "c: x", "d: a c")
    dag = dag_of(graph, fused={"a"})
    assert dag.members == ((1,), (0, 2))
    assert dag.edges == ((0, 1),)


def test_a_fused_node_around_another_that_needs_both_its_ends_is_refused() -> None:
    graph = graph_of("a u: x", "b: a", "c: u b")
    with pytest.raises(ProfileError, match="tie nodes together that others must run between"):
        dag_of(graph, fused={"u"})


def test_times_are_by_device() -> None:
    profile = profile_of(graph_of("a: x", "b: a"), {"p": [1, 2], "q": [10, 20]})
    dag = build_dag(profile, fleet_of("q", "p"))
    np.testing.assert_array_equal(dag.seconds, [[10, 1], [20, 2]])
