"""Memory of every contiguous stage, against sums on paper and against the oracle."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.plan import Stage, relay_transfers
from multiedge.planning.memory import stage_memory_bytes
from multiedge.profile import MemoryUse
from partitioners.engine.memory import memory_rows, result_bytes
from tests.builders.cases import Options, random_case
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.oracle import Oracle
from tests.builders.profiles import profile_of


def test_rows_of_a_chain_on_paper() -> None:
    """t0 (1) -> n0 w0 (100) -> t1 (2) -> n1 w1 (100) -> t2 (4): parameters + peak + what enters and leaves."""
    rows = list(memory_rows(profile_of(chain_graph(2, sizes=[1, 2, 4], weight_bytes=100), {})))
    assert [row.tolist() for row in rows] == [
        [100 + (1 + 2) + (1 + 2), 200 + (2 + 4) + (1 + 4)],
        [100 + (2 + 4) + (2 + 4)],
    ]


def test_a_tensor_that_only_passes_by_is_held() -> None:
    """a (10) is read again by the last node, so the middle stage holds it beside b (1) and c (1)."""
    graph = graph_of("a: x", "b: a", "c: b", "d: c a", tensors={"x": 0, "a": 10, "b": 1, "c": 1, "d": 0})
    middle = list(memory_rows(profile_of(graph, {})))[2][0]
    assert middle == (10 + 1 + 1) + (10 + 1) + (10 + 1)


def test_a_shared_parameter_counts_in_each_stage_once() -> None:
    graph = graph_of("a: x w", "b: a", "c: b w", tensors=0, parameters={"w": 7})
    rows = [row.tolist() for row in memory_rows(profile_of(graph, {}))]
    assert rows == [[7, 7, 7], [0, 7], [7]]


def test_a_node_that_reads_a_parameter_twice_holds_it_once() -> None:
    graph = graph_of("a: w w", inputs=(), tensors=0, parameters={"w": 7})
    assert [row.tolist() for row in memory_rows(profile_of(graph, {}))] == [[7]]


def test_a_parameter_that_no_node_reads_counts_nowhere() -> None:
    graph = graph_of("a: x", tensors=0, parameters={"unread": 7})
    assert [row.tolist() for row in memory_rows(profile_of(graph, {}))] == [[0]]


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        pytest.param(("c",), [0, 0, 0, 5], id="the last result"),
        pytest.param(("a", "c"), [0, 3, 3, 8], id="an early result as well"),
        pytest.param(("x",), [0, 0, 0, 0], id="an input handed through is made by no node"),
    ],
)
def test_result_bytes_are_summed_where_they_are_made(outputs: tuple[str, ...], expected: list[int]) -> None:
    graph = graph_of("a: x", "b: a", "c: b", outputs=outputs, tensors={"x": 1, "a": 3, "b": 4, "c": 5})
    assert result_bytes(profile_of(graph, {})).tolist() == expected


def test_an_early_result_is_buffered_on_its_way_back() -> None:
    graph = graph_of("a: x", "b: a", outputs=("a", "b"), tensors={"x": 1, "a": 10, "b": 2})
    rows = list(memory_rows(profile_of(graph, {})))
    assert rows[0][0] == (1 + 10) + 1 + 10 + 10


@pytest.mark.parametrize("seed", range(30))
def test_every_span_equals_the_oracle(seed: int) -> None:
    profile, fleet = random_case(seed, Options(nodes=(1, 6), devices=(1, 1)))
    oracle, count = Oracle(profile, fleet), len(profile)
    for start, row in enumerate(memory_rows(profile)):
        for stop in range(start + 1, count + 1):
            spans = [span for span in ((0, start), (start, stop), (stop, count)) if span[0] < span[1]]
            stages = [Stage.span("d0", *span) for span in spans]
            index = spans.index((start, stop))
            expected = oracle.stage_bytes(stages[index], index, oracle.relay_messages(stages))
            assert row[stop - start - 1] == expected, (start, stop)


@pytest.mark.parametrize("seed", range(10))
def test_every_span_equals_the_cost_model_whatever_the_runtime_packs(seed: int) -> None:
    profile, _ = random_case(seed, Options(nodes=(1, 6), devices=(1, 1)))
    operators = sorted({node.op_type for node in profile.graph.nodes})
    copies = {name: number % 4 for number, name in enumerate(operators, start=1)}
    profile = replace(profile, memory_use=MemoryUse(2, 5, copies, weight_copies=1 + seed % 2))
    for start, row in enumerate(memory_rows(profile)):
        for stop in range(start + 1, len(profile) + 1):
            spans = [span for span in ((0, start), (start, stop), (stop, len(profile))) if span[0] < span[1]]
            stages = [Stage.span("d0", *span) for span in spans]
            moves = relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())
            index = spans.index((start, stop))
            entering = [move for move in moves if move.target == index]
            leaving = [move for move in moves if move.source == index]
            expected = stage_memory_bytes(profile, stages[index], entering, leaving)
            assert row[stop - start - 1] == expected, (start, stop)
