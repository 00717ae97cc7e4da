"""Stages and the transfers between them."""

from __future__ import annotations

import pytest

from multiedge.graph import Graph
from multiedge.placement import (
    CALLER,
    Stage,
    Transfer,
    direct_transfers,
    relay_transfers,
)
from tests.builders.graphs import fork_graph, graph_of
from tests.builders.profiles import profile_of


@pytest.mark.parametrize(
    ("nodes", "ranges"),
    [
        pytest.param((), (), id="none"),
        pytest.param((4,), ((4, 5),), id="one"),
        pytest.param((0, 1, 2), ((0, 3),), id="a run"),
        pytest.param((0, 2, 3, 7), ((0, 1), (2, 4), (7, 8)), id="three runs"),
    ],
)
def test_nodes_as_half_open_ranges(nodes: tuple[int, ...], ranges: tuple[tuple[int, int], ...]) -> None:
    assert Stage("a", nodes).ranges == ranges


def test_a_span_of_nodes_and_all_its_devices() -> None:
    stage = Stage.span("a", 2, 5, ("b", "c"))
    assert stage == Stage("a", (2, 3, 4), ("b", "c"))
    assert stage.devices == ("a", "b", "c")
    assert Stage.span("a", 2, 2).nodes == ()


def relay(graph: Graph, *stages: Stage) -> tuple[Transfer, ...]:
    return relay_transfers(graph, stages, profile_of(graph, {}).cut_bytes.tolist())


def test_relay_stages_hand_on_what_they_do_not_use() -> None:
    graph = graph_of("a: x", "b: a", "c: b x", tensors={"x": 5, "a": 1, "b": 2, "c": 3})
    stages = [Stage("p", (0,)), Stage("q", (1,)), Stage("r", (2,))]
    assert relay(graph, *stages) == (
        Transfer(CALLER, 0, ("x",), 5),
        Transfer(0, 1, ("x", "a"), 6),
        Transfer(1, 2, ("x", "b"), 7),
        Transfer(2, CALLER, ("c",), 3),
    )


def test_direct_stages_send_to_whoever_reads() -> None:
    graph = graph_of("a: x", "b: a", "c: b x", tensors={"x": 5, "a": 1, "b": 2, "c": 3})
    stages = [Stage("p", (0,)), Stage("q", (1,)), Stage("r", (2,))]
    assert direct_transfers(graph, stages) == (
        Transfer(CALLER, 0, ("x",), 5),
        Transfer(CALLER, 2, ("x",), 5),
        Transfer(0, 1, ("a",), 1),
        Transfer(1, 2, ("b",), 2),
        Transfer(2, CALLER, ("c",), 3),
    )


def test_several_tensors_between_two_stages_are_one_message() -> None:
    graph = graph_of("a b: x", "c: a b", tensors=4)
    assert direct_transfers(graph, [Stage("p", (0,)), Stage("q", (1,))])[1] == Transfer(0, 1, ("a", "b"), 8)


@pytest.mark.parametrize("transfers", [relay, lambda graph, *stages: direct_transfers(graph, stages)], ids=["relay", "direct"])
def test_results_go_back_from_the_stages_that_make_them(transfers) -> None:
    graph = graph_of("y: x", "z: y", outputs=("z", "y", "x"), tensors=4)
    back = [move for move in transfers(graph, Stage("p", (0,)), Stage("q", (1,))) if move.target == CALLER]
    # An input that is handed through as an output is made by no stage.
    assert back == [Transfer(0, CALLER, ("y",), 4), Transfer(1, CALLER, ("z",), 4)]


def test_one_stage_has_one_message_in_and_one_out() -> None:
    whole = [Stage("p", (0, 1, 2, 3))]
    assert direct_transfers(fork_graph(2, 1, nbytes=3), whole) == (
        Transfer(CALLER, 0, ("x",), 3),
        Transfer(0, CALLER, ("y",), 3),
    )
    assert relay(fork_graph(2, 1, nbytes=3), *whole) == direct_transfers(fork_graph(2, 1, nbytes=3), whole)


def test_a_constant_stage_needs_nothing_to_begin() -> None:
    graph = graph_of("k:", "y: x k", tensors=2)
    stages = [Stage("p", (0,)), Stage("q", (1,))]
    assert direct_transfers(graph, stages)[:2] == (Transfer(CALLER, 1, ("x",), 2), Transfer(0, 1, ("k",), 2))
