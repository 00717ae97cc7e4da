"""The cost model on a model small enough for pencil and paper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.graph import Node
from multiedge.plan import CALLER, Stage, Transfer, direct_transfers, relay_transfers
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from tests.builders.fleets import with_device
from tests.builders.graphs import graph_of
from tests.builders.profiles import profile_of


@pytest.fixture
def profile() -> Profile:
    """x(10) -> A -> a(100) -> B -> b(50) -> C -> c(5), C reads a again; A and C share parameter w(1000), B has v(300)."""
    graph = graph_of(
        Node("A", "Op", ("x", "w"), ("a",)),
        Node("B", "Op", ("a", "v"), ("b",)),
        Node("C", "Op", ("b", "a", "w"), ("c",)),
        tensors={"x": 10, "a": 100, "b": 50, "c": 5},
        parameters={"w": 1000, "v": 300},
    )
    seconds = {"fast": [1.0, 2.0, 3.0], "slow": [2.0, 4.0, 6.0], "twin": [2.0, 4.0, 6.0]}
    return profile_of(graph, seconds, overhead_s={"slow": 0.5})


@pytest.fixture
def fleet() -> Fleet:
    devices = (
        Device("fast", memory_bytes=5000, power=Power(1.0, 11.0), joules_per_byte=0.01),
        Device("slow", memory_bytes=5000, power=Power(2.0, 5.0)),
        Device("twin", memory_bytes=5000, power=Power(2.0, 5.0)),
    )
    return Fleet(devices, {("fast", "slow"): Link(10.0, 1.0), ("fast", "twin"): Link(10.0, 1.0)})


def relay(profile: Profile, *stages: Stage):
    return stages, relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())


def test_compute_and_transfer_overlap_so_the_busiest_sets_the_pace(profile, fleet):
    expected = cost.estimate(profile, fleet, *relay(profile, Stage.span("fast", 0, 2), Stage.span("slow", 2, 3)))
    assert [stage.compute_s for stage in expected.stages] == [3.0, 6.5]
    assert expected.bottleneck_s == 15.0
    assert expected.bottleneck == "link 'fast' -> 'slow'"
    assert expected.stages[0].transfer_s == 1.0 + 150 / 10
    assert expected.latency_s == 3.0 + 16.0 + 6.5
    assert expected.network_bytes == 150
    assert [stage.utilisation for stage in expected.stages] == [pytest.approx(0.2), pytest.approx(6.5 / 15)]


def test_energy_counts_idling_for_the_whole_item_and_bytes_sent(profile, fleet):
    expected = cost.estimate(profile, fleet, *relay(profile, Stage.span("fast", 0, 2), Stage.span("slow", 2, 3)))
    assert expected.energy_j == pytest.approx((1.0 * 15 + 10.0 * 3 + 0.01 * 150) + (2.0 * 15 + 3.0 * 6.5))


def test_energy_is_unknown_where_a_device_in_use_declares_no_watts(profile, fleet):
    silent = with_device(fleet, "fast", power=None)
    assert cost.estimate(profile, silent, *relay(profile, Stage.span("fast", 0, 3))).energy_j is None
    assert cost.estimate(profile, silent, *relay(profile, Stage.span("slow", 0, 3))).energy_j is not None


def test_memory_is_shared_parameters_once_plus_peak_plus_buffers(profile, fleet):
    stages, moves = relay(profile, Stage.span("fast", 0, 3))
    assert cost.memory_by_device(profile, fleet, stages, moves) == {"fast": 1300 + 155 + (10 + 5)}
    stages, moves = relay(profile, Stage.span("fast", 0, 1), Stage.span("slow", 1, 3))
    assert cost.memory_by_device(profile, fleet, stages, moves) == {
        "fast": 1000 + 110 + (10 + 100),
        "slow": 1300 + 155 + (100 + 5),
    }


def test_memory_adds_the_runtime_once_per_device(profile, fleet):
    roomy = with_device(fleet, "fast", runtime_bytes=777)
    stages = (Stage.span("fast", 0, 1), Stage.span("slow", 1, 2), Stage.span("fast", 2, 3))
    moves = direct_transfers(profile.graph, stages)
    separate = [
        cost.stage_memory_bytes(profile, stages[i], [m for m in moves if m.target == i], [m for m in moves if m.source == i])
        for i in (0, 2)
    ]
    assert cost.memory_by_device(profile, roomy, stages, moves)["fast"] == 777 + sum(separate)


def test_replicas_share_the_items_and_their_links_the_bytes(profile, fleet):
    stages, moves = relay(profile, Stage.span("fast", 0, 2), Stage.span("slow", 2, 3, ("twin",)))
    expected = cost.estimate(profile, fleet, stages, moves)
    assert expected.bottleneck_s == 7.5
    assert expected.stages[1].utilisation == pytest.approx(6.5 / 2 / 7.5)
    assert expected.network_bytes == 150
    assert set(cost.memory_by_device(profile, fleet, stages, moves)) == {"fast", "slow", "twin"}


def test_items_travel_from_where_they_arise_and_results_back(profile, fleet):
    home = replace(fleet, source="slow")
    expected = cost.estimate(profile, home, *relay(profile, Stage.span("fast", 0, 3)))
    assert expected.latency_s == pytest.approx(1.0 + 10 / 10 + 6.0 + 1.0 + 5 / 10)
    assert expected.bottleneck == "device 'fast'"
    assert expected.network_bytes == 15


def test_direct_transfers_send_a_tensor_once_to_each_reader(profile):
    stages = (Stage.span("fast", 0, 1), Stage.span("slow", 1, 2), Stage.span("twin", 2, 3))
    assert direct_transfers(profile.graph, stages) == (
        Transfer(CALLER, 0, ("x",), 10),
        Transfer(0, 1, ("a",), 100),
        Transfer(0, 2, ("a",), 100),
        Transfer(1, 2, ("b",), 50),
        Transfer(2, CALLER, ("c",), 5),
    )


def test_violations_lists_everything_at_once(profile, fleet):
    stages = (Stage("phone", (2,)), Stage("slow", (0, 0, 9)), Stage("fast", ()))
    assert violations(profile, fleet, stages, ()) == [
        "stage 0: device 'phone' is not in fleet; known: fast, slow, twin",
        "node 0 'A' is in stage 1 and again in stage 1",
        "stage 1: node 9 does not exist; the model has nodes 0 to 2",
        "stage 2 on 'fast' has no nodes",
        "node 1 'B' is in no stage",
        "order broken: node 2 in stage 0 reads 'a', which stage 1 makes later",
    ]


def test_violations_tells_memory_needed_and_there(profile, fleet):
    tight = with_device(fleet, "fast", memory_bytes=1469)
    assert violations(profile, tight, *relay(profile, Stage.span("fast", 0, 3))) == [
        "device 'fast' needs 1.4 KiB and has 1.4 KiB; 1 B more would do"
    ]
