"""A profile in few numbers, and what a reader must know before trusting them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from multiedge.graph import Node
from multiedge.profile import Profile
from profilers.engine.summary import costliest_nodes, costliest_operators, headline, summary, warnings
from tests.builders.graphs import graph_of
from tests.builders.profiles import profile_of

GRAPH = graph_of(
    Node("up", "MatMul", ("x", "w"), ("a",)),
    Node("act", "Relu", ("a",), ("b",)),
    Node("again", "MatMul", ("b", "w"), ("c",)),
    Node("down", "Gemm", ("c", "v"), ("y",)),
    tensors=1024,
    parameters={"w": 4096, "v": 2048},
    name="mlp",
    model_hash="h",
)
PROFILE = profile_of(GRAPH, {"d": [3.0, 1.0, 2.0, 4.0], "e": 1.0}, macs=[10, 0, 10, 5], sources={"d": "measured"})


@pytest.mark.parametrize(
    ("count", "names"),
    [(1, ["down"]), (3, ["down", "up", "again"]), (9, ["down", "up", "again", "act"]), (0, [])],
)
def test_nodes_are_ranked_by_their_time(count: int, names: list[str]) -> None:
    assert [row.name for row in costliest_nodes(PROFILE, "d", count)] == names


def test_nodes_of_equal_time_keep_their_order() -> None:
    assert [row.name for row in costliest_nodes(PROFILE, "e")] == ["up", "act", "again", "down"]


def test_a_row_has_time_share_work_and_bytes() -> None:
    (row,) = costliest_nodes(PROFILE, "d", 1)
    assert (row.op_type, row.nodes, row.seconds, row.share) == ("Gemm", 1, 4.0, 0.4)
    assert (row.macs, row.parameter_bytes, row.output_bytes) == (5, 2048, 1024)


def test_operators_are_summed_and_shared_parameters_counted_once() -> None:
    rows = costliest_operators(PROFILE, "d")
    assert [(row.name, row.nodes, row.seconds, row.share) for row in rows] == [
        ("MatMul", 2, 5.0, 0.5),
        ("Gemm", 1, 4.0, 0.4),
        ("Relu", 1, 1.0, 0.1),
    ]
    assert (rows[0].parameter_bytes, rows[0].output_bytes, rows[0].macs) == (4096, 2048, 20)
    assert [row.name for row in costliest_operators(PROFILE, "d", 1)] == ["MatMul"]


def test_a_model_that_takes_no_time_has_no_shares() -> None:
    idle = profile_of(GRAPH, {"d": 0.0})
    assert {row.share for row in costliest_nodes(idle, "d")} == {0.0}


def test_one_line_for_the_whole_model() -> None:
    assert headline(PROFILE, "d") == (
        "mlp: 4 nodes, 25 MACs, 6.0 KiB of parameters, at most 2.0 KiB of activations, 10,000 ms on d (measured)"
    )
    assert headline(PROFILE, "e").endswith("4,000 ms on e (source not stated)")


def test_the_same_as_json() -> None:
    found = summary(replace(PROFILE, uncounted=("operator acme.Op (1 node)",)), "d", 2)
    assert json.loads(json.dumps(found)) == found
    assert (found["model"], found["model_hash"], found["nodes"], found["macs"], found["flops"]) == ("mlp", "h", 4, 25, 50.0)
    assert found["devices"] == {"d": {"seconds": 10.0, "source": "measured"}, "e": {"seconds": 4.0, "source": ""}}
    assert [row["name"] for row in found["costliest_nodes"]] == ["down", "up"]
    assert found["uncounted"] == ["operator acme.Op (1 node)"]
    assert found["warnings"] == []


def on_host(**values: Any) -> Profile:
    return replace(PROFILE, settings={"host": {"1": values}})


@pytest.mark.parametrize(
    ("latency_s", "cpu_s", "is_busy"),
    [
        pytest.param(0.010, 0.0099, False, id="all of it computing"),
        pytest.param(0.010, 0.0080, False, id="just within a quarter"),
        pytest.param(0.010, 0.0079, True, id="more than a quarter waiting"),
        pytest.param(0.010, 0.0200, False, id="two threads' processor time"),
        pytest.param(0.010, 0.0, True, id="no processor time at all"),
    ],
)
def test_latencies_far_above_the_processor_time_are_reported(latency_s: float, cpu_s: float, is_busy: bool) -> None:
    assert bool(warnings(on_host(latency_s=latency_s, cpu_s=cpu_s))) == is_busy
    assert warnings(PROFILE) == []


def test_the_warning_names_times_and_what_to_do() -> None:
    assert warnings(on_host(latency_s=0.025, cpu_s=0.013)) == [
        "with 1 thread the model took 25 ms but only 13 ms of processor time: this machine was busy with other work,"
        " profile again"
    ]
