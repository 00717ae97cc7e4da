"""Parts of equal work, blind to speeds."""

from __future__ import annotations

import pytest

from multiedge.fleet import Device, Fleet
from partitioners.equal_flops import EqualFlops
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of


@pytest.mark.parametrize(
    ("macs", "devices", "expected"),
    [
        pytest.param([1, 1, 1, 1], "ab", [2, 2], id="halves"),
        pytest.param([6, 1, 1, 4], "ab", [1, 3], id="6 and 6"),
        pytest.param([1, 1, 10, 1, 1], "abc", [2, 1, 2], id="2, 10 and 2"),
        pytest.param([7], "abc", [1], id="one node"),
    ],
)
def test_each_device_gets_an_equal_share_of_the_operations(macs: list[int], devices: str, expected: list[int]) -> None:
    profile = profile_of(chain_graph(len(macs)), {name: 1.0 + index * 50 for index, name in enumerate("abc")}, macs=macs)
    plan = EqualFlops().plan(profile, fleet_of(*devices))
    assert [len(stage.nodes) for stage in plan.stages] == expected
    assert [stage.device for stage in plan.stages] == list(devices[: len(expected)])
    assert (plan.strategy, plan.objective, plan.lower_bound) == ("equal_flops", "throughput", None)


def test_a_device_that_holds_no_node_is_passed_over_with_the_reason() -> None:
    profile = profile_of(chain_graph(2, weight_bytes=100), dict.fromkeys("ab", 1.0), macs=1)
    plan = EqualFlops("latency").plan(profile, Fleet((Device("a", memory_bytes=9), Device("b"))))
    assert [(stage.device, len(stage.nodes)) for stage in plan.stages] == [("b", 2)]
    assert plan.left_out == {"a": "a part on it would not make the largest one smaller"}
    assert plan.value == plan.estimate.latency_s
