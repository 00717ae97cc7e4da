"""Where a model is cut to learn what a cut costs, and what is made of the times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from multiedge.backends.contract import Coverage, NodeTimes
from multiedge.backends.timing import Timing
from multiedge.errors import ModelError
from multiedge.graph import Graph
from profilers.engine import cutting
from profilers.engine.cutting import cut_cost_s, equal_times
from profilers.engine.host import Host, HostTimes
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of


def ends(graph: Graph, seconds: list[float], **values: Any) -> list[int]:
    return equal_times(profile_of(graph, {}, **values), np.array(seconds))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param([1.0] * 8, [0, 2, 4, 6, 8], id="equal nodes: quarters"),
        pytest.param([1, 1, 1, 1, 4, 4, 2, 2], [0, 4, 5, 6, 8], id="equal times, not equal numbers of nodes"),
        pytest.param([10, 1, 1], [0, 1, 3], id="one boundary near three quarters"),
        pytest.param([18, 1, 1], [0, 3], id="no boundary near a quarter of the time"),
        pytest.param([6, 6], [0, 1, 2], id="two nodes: one cut"),
        pytest.param([1], [0, 1], id="one node"),
        pytest.param([0, 0, 0, 0], [0, 4], id="no time at all"),
    ],
)
def test_parts_are_of_about_equal_time(seconds: list[float], expected: list[int]) -> None:
    assert ends(chain_graph(len(seconds)), seconds) == expected


def test_no_part_ends_inside_a_fused_node() -> None:
    assert ends(chain_graph(8), [1.0] * 8, fused={"t4"}) in ([0, 2, 3, 6, 8], [0, 2, 5, 6, 8], [0, 2, 6, 8])


def test_of_near_boundaries_the_one_that_fewest_tensors_cross_is_taken() -> None:
    """A second path runs beside nodes 3 to 5, so the middle is crossed by two tensors and one further on by one."""
    lines = [f"t{i + 1}: t{i}" for i in range(16)]
    lines[8] = "t9: t8 t6"
    graph = graph_of(*lines, inputs=("t0",))
    found = ends(graph, [1.0] * 16)
    assert [len(graph.cuts[end].tensors) for end in found[1:-1]] == [1, 1, 1]
    assert 8 not in found


def times(*, blocked_share: float | None = 0.5, seconds: float = 1.0, count: int = 8) -> HostTimes:
    """A model of 8 s in all and 0.5 s for the call; `blocked_share` None: times of nodes were not measured."""
    graph, each = chain_graph(count), np.full(count, seconds)
    whole = Timing(np.full(9, each.sum() + 0.5), np.full(9, each.sum()))
    nodes = None
    if blocked_share is not None:
        nodes = NodeTimes(
            graph, each, each * 0, 0.5, whole, whole, each.sum(), Coverage(count, 0, 0, 0), blocked_share=blocked_share
        )
    return HostTimes(Host(), graph, each, each * 0, 0.5, whole, nodes=nodes)


@pytest.mark.parametrize(
    ("longer", "expected"),
    [
        # Four parts: 20 % of 8.5 s more, of which 3 further calls of 0.5 s are known; the rest is shared by four.
        pytest.param(0.2, (0.2 * 8.5 - 3 * 0.5) / 4, id="parts take longer together"),
        pytest.param(0.1, 0.0, id="no longer than their calls"),
        pytest.param(-0.1, 0.0, id="parts take less: never negative"),
    ],
)
def test_the_cost_of_a_cut_is_what_parts_take_beyond_their_calls(
    monkeypatch: pytest.MonkeyPatch, longer: float, expected: float
) -> None:
    monkeypatch.setattr(cutting, "longer_in_parts", lambda *_: longer)
    assert cut_cost_s(times()) == pytest.approx(expected)


@pytest.mark.parametrize(
    "plain",
    [pytest.param(times(blocked_share=0.05), id="few tensors in blocks"), pytest.param(times(count=1), id="one node, no cut")],
)
def test_where_a_cut_changes_nothing_it_is_not_timed(monkeypatch: pytest.MonkeyPatch, plain: HostTimes) -> None:
    monkeypatch.setattr(cutting, "longer_in_parts", lambda *_: pytest.fail("timed all the same"))
    assert cut_cost_s(plain) == 0.0


def test_without_times_of_nodes_it_is_not_known_to_be_plain_and_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "longer_in_parts", lambda *_: 1.0)
    assert cut_cost_s(times(blocked_share=None)) == pytest.approx((8.5 - 1.5) / 4)


def test_a_model_that_cannot_be_cut_costs_nothing_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> float:
        raise ModelError("no file")

    monkeypatch.setattr(cutting, "longer_in_parts", refuse)
    assert cut_cost_s(times()) == 0.0
    assert "chain: what a cut costs is not known and counts as nothing: no file" in caplog.text
