"""Hand-written parts: run as written, checked, priced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.errors import PlanError
from multiedge.fleet import Device, Fleet, PartitionPoint
from multiedge.plan import CALLER
from partitioners.manual import Manual
from tests.builders.fleets import fleet_of, with_device
from tests.builders.graphs import chain_graph, fork_graph
from tests.builders.profiles import profile_of

PROFILE = profile_of(fork_graph(2, 1, nbytes=10), dict.fromkeys("abc", 1.0))
"""h reads x; b0.0 and b1.0 read h; y reads both."""


def fleet(*parts: tuple[tuple[str, ...], tuple[str, ...], str]) -> Fleet:
    return replace(fleet_of("a", "b", "c"), partition_points=tuple(PartitionPoint(*part) for part in parts))


BRANCH_AWAY = fleet((("x",), ("h",), "a"), (("h",), ("b0.0",), "b"), (("h", "b0.0"), ("y",), "a"))


def test_parts_run_where_they_are_written_and_a_device_may_have_two() -> None:
    plan = Manual().plan(PROFILE, BRANCH_AWAY)
    assert [(stage.device, stage.nodes) for stage in plan.stages] == [("a", (0,)), ("b", (1,)), ("a", (2, 3))]
    assert plan.left_out == {"c": "no partition point names it"}
    assert (plan.strategy, plan.objective, plan.lower_bound) == ("manual", "throughput", None)


def test_each_tensor_goes_once_to_each_part_that_reads_it() -> None:
    plan = Manual().plan(PROFILE, BRANCH_AWAY)
    assert {(move.source, move.target, move.tensors) for move in plan.transfers} == {
        (CALLER, 0, ("x",)),
        (0, 1, ("h",)),
        (0, 2, ("h",)),
        (1, 2, ("b0.0",)),
        (2, CALLER, ("y",)),
    }


def test_the_objective_decides_what_the_value_is() -> None:
    assert Manual("throughput").plan(PROFILE, BRANCH_AWAY).value == 3.0
    assert Manual("latency").plan(PROFILE, BRANCH_AWAY).value == 4.0


def test_memory_is_checked_as_for_any_plan() -> None:
    """10 B enter, the node makes 10 B beside them, and both are buffered: 40 B."""
    with pytest.raises(PlanError, match="hand-written plan cannot run: device 'b' needs 40 B and has 39 B; 1 B more would do"):
        Manual().plan(PROFILE, with_device(BRANCH_AWAY, "b", memory_bytes=39))
    assert Manual().plan(PROFILE, with_device(BRANCH_AWAY, "b", memory_bytes=40)).stages


def test_an_order_that_cannot_run_is_refused() -> None:
    turned = fleet((("h",), ("y",), "b"), (("x",), ("h",), "a"))
    with pytest.raises(PlanError, match="order broken: node 1 in stage 0 reads 'h', which stage 1 makes later"):
        Manual().plan(PROFILE, turned)


def test_without_points_there_is_nothing_to_run() -> None:
    with pytest.raises(PlanError, match="fleet: strategy 'manual' needs partition_points, and there are none; add some"):
        Manual().plan(PROFILE, fleet_of("a"))


def test_one_part_is_the_whole_model() -> None:
    chain = profile_of(chain_graph(3), {"a": 1.0})
    points = (PartitionPoint(("t0",), ("t3",), "a"),)
    plan = Manual().plan(chain, Fleet((Device("a"),), partition_points=points))
    assert [stage.nodes for stage in plan.stages] == [(0, 1, 2)]
