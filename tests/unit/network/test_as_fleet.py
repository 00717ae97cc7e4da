import math

import pytest

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet, Link
from multiedge.network.as_fleet import fleet_of
from multiedge.network.records import LinkState, NodeState

PC = NodeState(
    "pc", "a:1", memory_bytes=8 << 30, free_bytes=2 << 30, threads=4, flops_per_s=8e10, links=(LinkState("phone", 1e7, 0.02),)
)
PHONE = NodeState(
    "phone", "b:1", memory_bytes=1 << 30, free_bytes=3 << 30, flops_per_s=1e10, links=(LinkState("pc", 5e6, 0.04),)
)
TABLET = NodeState("tablet", "c:1", links=(LinkState("other", 2e6, 0.08),))


def test_nodes_are_devices_with_what_they_measured() -> None:
    fleet = fleet_of([PC, PHONE])
    assert fleet.names == ("pc", "phone")
    assert (fleet.device("pc").flops_per_s, fleet.device("pc").threads) == (8e10, 4)
    assert fleet.link("pc", "phone") == Link(1e7, 0.01)
    assert fleet.link("phone", "pc") == Link(5e6, 0.02)


def test_memory_is_what_is_free_and_at_most_the_limit() -> None:
    fleet = fleet_of([PC, PHONE, TABLET])
    assert [device.memory_bytes for device in fleet.devices] == [2 << 30, 1 << 30, None]


def test_nodes_that_did_not_measure_each_other_are_connected_by_the_slower_interface() -> None:
    link = fleet_of([PC, TABLET]).link("pc", "tablet")
    assert link.bandwidth_bytes_per_s == 2e6
    assert link.latency_s == pytest.approx(0.005 + 0.02)


def test_a_link_of_unknown_rate_is_not_taken_for_one_of_rate_zero() -> None:
    silent = NodeState("silent", "d:1", links=(LinkState("pc", None, 0.1),))
    assert fleet_of([PC, silent]).links == {}
    assert math.isinf(fleet_of([silent]).device("silent").bandwidth_bytes_per_s)


def test_declared_values_win_and_what_is_not_declared_is_as_measured() -> None:
    declared = Fleet(
        (Device("pc", speed=0.5, memory_bytes=123), Device("phone"), Device("away")),
        {("pc", "phone"): Link(42.0), ("pc", "away"): Link(1.0)},
        source="phone",
    )
    fleet = fleet_of([PC, PHONE], declared)
    assert fleet.names == ("pc", "phone")
    assert (fleet.device("pc").speed, fleet.device("pc").flops_per_s, fleet.device("pc").memory_bytes) == (0.5, None, 123)
    assert (fleet.device("phone").flops_per_s, fleet.device("phone").memory_bytes) == (1e10, 1 << 30)
    assert fleet.link("pc", "phone") == Link(42.0)
    assert fleet.link("phone", "pc") == Link(42.0)
    assert fleet.source == "phone"


def test_without_nodes_there_is_no_fleet() -> None:
    with pytest.raises(ConfigError, match="expected at least one node, got none; start one with"):
        fleet_of([])
