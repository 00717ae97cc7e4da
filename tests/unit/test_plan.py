"""Plans as values: stages, transfers, gaps, refusals."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from multiedge.errors import PlanError
from multiedge.graph import Graph
from multiedge.plan import CALLER, Estimate, Manifest, Part, Plan, Stage, Transfer, direct_transfers, relay_transfers, require
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, fork_graph, graph_of
from tests.builders.plans import relay_plan
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


def plan(value: float, lower_bound: float | None) -> Plan:
    return Plan("s", "throughput", (), (), Estimate((), value, "", 0.0, None, 0), value, lower_bound)


@pytest.mark.parametrize(
    ("value", "lower_bound", "gap"),
    [
        pytest.param(2.0, 2.0, 0.0, id="proven"),
        pytest.param(2.0, 1.5, 0.25, id="a quarter"),
        pytest.param(2.0, None, None, id="nothing proven"),
        pytest.param(2.0, 0.0, 1.0, id="nothing but that it is positive"),
        pytest.param(2.0, 2.0 + 1e-12, 0.0, id="rounding never makes it negative"),
        pytest.param(0.0, 0.0, 0.0, id="no time"),
        pytest.param(inf, inf, None, id="a value that is not known"),
        pytest.param(1e-12, 0.5e-12, 0.5, id="tiny"),
    ],
)
def test_the_gap_is_relative_to_the_value(value: float, lower_bound: float | None, gap: float | None) -> None:
    found = plan(value, lower_bound).gap
    assert found == (None if gap is None else pytest.approx(gap))


def test_the_rate_is_the_inverse_of_the_bottleneck() -> None:
    assert plan(0.25, None).estimate.fps_bound == 4.0
    assert plan(0.0, None).estimate.fps_bound == inf


def test_a_plan_takes_the_names_of_its_model() -> None:
    profile = profile_of(chain_graph(4), dict.fromkeys("ab", 1.0))
    named = relay_plan(profile, fleet_of("a", "b"), Stage("a", (0, 1, 2)), Stage("b", (3,))).with_names(profile.graph)
    assert (named.model, named.stage_ends) == ("chain", (("n0", "n2"), ("n3", "n3")))


def test_all_violations_are_in_one_error() -> None:
    require([])
    with pytest.raises(PlanError, match="plan of 'x' cannot run: one; two") as caught:
        require(["one", "two"], "plan of 'x'")
    assert caught.value.violations == ("one", "two")


def served(fingerprint: str = "stat:10:77", **changes: object) -> str:
    files = {"part.onnx": "xxh3:1", "weights.linked": fingerprint}
    parts = tuple(Part(stage, "part.onnx", "a", ("x",), ("y",), files) for stage in range(2))
    moves = (Transfer(CALLER, 0, ("x",), 4), Transfer(0, CALLER, ("y",), 4))
    manifest = Manifest("m.onnx", "hash", ("x",), ("y",), parts, moves, "linked", "folder")
    return replace(manifest, **changes).identity(0)


def test_the_identity_of_a_stage_is_that_of_its_model_plan_and_part() -> None:
    others = [served("stat:11:77"), served(model_hash="other"), served(transfers=())]
    assert len({served(), *others}) == 4


def test_the_identity_of_a_stage_is_the_same_on_every_machine() -> None:
    assert served() == served("stat:10:78", model="elsewhere.onnx", directory="copy")
