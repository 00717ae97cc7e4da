"""Devices and links as values: memory, cards, links in both directions, fleets that lose a device."""

from __future__ import annotations

import math

import pytest

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet, Link
from tests.builders.fleets import fleet_of

FLEET = Fleet((Device("small", memory_bytes=100, runtime_bytes=30), Device("large", memory_bytes=200), Device("free")))


@pytest.mark.parametrize(("name", "available_bytes"), [("small", 70), ("large", 200), ("free", math.inf)])
def test_stages_may_take_what_the_runtime_leaves(name, available_bytes):
    assert FLEET.device(name).available_bytes == available_bytes


@pytest.mark.parametrize("available_bytes", [0, 55, math.inf])
def test_a_device_takes_on_the_memory_that_it_is_given(available_bytes):
    assert FLEET.device("small").with_memory_of(available_bytes).available_bytes == available_bytes


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.12, 1 / 3])
@pytest.mark.parametrize("memory_bytes", [1, 100, 12_345_678, (1 << 34) + 1])
def test_the_margin_is_kept_to_the_byte(memory_bytes: int, margin: float) -> None:
    device = Device("d", memory_bytes=memory_bytes, memory_margin=margin, runtime_bytes=7)
    largest = device.plannable_bytes
    assert largest is not None
    assert device.memory_for(largest) <= memory_bytes < device.memory_for(largest + 1)
    assert device.available_bytes == largest - 7
    assert device.with_memory_of(55).available_bytes == 55


@pytest.mark.parametrize(("names", "limit"), [(["free"], None), (["free", "large"], 200), (["large", "small"], 100)])
def test_the_least_memory_is_that_of_the_devices_with_a_limit(names, limit):
    assert FLEET.least_memory_bytes(names) == limit


def test_a_cap_lowers_what_is_larger_and_limits_what_was_not():
    assert [device.memory_bytes for device in FLEET.with_memory_cap(150).devices] == [100, 150, 150]


@pytest.mark.parametrize(
    ("kind", "card"),
    [("cpu", None), ("gpu", 0), ("gpu-0", 0), ("gpu-3", 3), ("gpu-x", None), ("gpu3", None), ("GPU", None), ("npu-1", None)],
)
def test_the_type_tells_the_card(kind, card):
    assert Device("d", type=kind).gpu == card


@pytest.mark.parametrize(
    ("link", "nbytes", "occupancy_s", "transfer_s"),
    [
        pytest.param(Link(), 1e12, 0.0, 0.0, id="no limit"),
        pytest.param(Link(10.0), 5, 0.5, 0.5, id="a rate"),
        pytest.param(Link(10.0, 2.0), 5, 0.5, 2.5, id="latency does not occupy it"),
        pytest.param(Link(10.0, 2.0, loss=0.5), 5, 1.0, 3.0, id="half is sent again"),
        pytest.param(Link(10.0, 2.0), 0, 0.0, 2.0, id="an empty message"),
        pytest.param(Link(latency_s=2.0, jitter_s=1.0), 5, 0.0, 2.0, id="jitter is for those who emulate it"),
    ],
)
def test_a_message_takes_its_bytes_and_the_latency(link, nbytes, occupancy_s, transfer_s):
    assert link.occupancy_s(nbytes) == pytest.approx(occupancy_s)
    assert link.transfer_s(nbytes) == pytest.approx(transfer_s)


A, B = Device("a", bandwidth_bytes_per_s=10.0, latency_s=0.5), Device("b", bandwidth_bytes_per_s=4.0, latency_s=0.25)


@pytest.mark.parametrize(
    ("links", "there", "back"),
    [
        pytest.param({}, Link(4.0, 0.75), Link(4.0, 0.75), id="interfaces: the slower rate, both latencies"),
        pytest.param({("a", "b"): Link(9.0)}, Link(9.0), Link(9.0), id="declared one way"),
        pytest.param({("b", "a"): Link(9.0)}, Link(9.0), Link(9.0), id="declared the other way"),
        pytest.param({("a", "b"): Link(9.0), ("b", "a"): Link(3.0)}, Link(9.0), Link(3.0), id="declared both ways"),
        pytest.param({("a", "b"): Link(1e9)}, Link(1e9), Link(1e9), id="a declared link goes before the interfaces"),
    ],
)
def test_the_way_from_one_device_to_another(links, there, back):
    fleet = Fleet((A, B), links)
    assert (fleet.link("a", "b"), fleet.link("b", "a")) == (there, back)
    assert fleet.link("a", "a") == Link()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"devices": ()}, "mine: expected at least one device, got none", id="no device"),
        pytest.param(
            {"devices": (A, B, A, B, Device("c"))}, "mine: device names must be unique, got a, b more than once", id="names"
        ),
        pytest.param({"devices": (A,), "links": {("a", "bb"): Link()}}, "device 'bb' is not in mine; known: a", id="a link"),
        pytest.param({"devices": (Device("nano"),), "source": "nan0"}, "did you mean 'nano'", id="the source"),
    ],
)
def test_a_fleet_that_contradicts_itself_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Fleet(**values, name="mine")


def test_devices_are_found_by_name_in_the_order_declared():
    fleet = fleet_of("z", "a", "m")
    assert fleet.names == ("z", "a", "m")
    assert fleet.device("m") is fleet.by_name["m"]
    with pytest.raises(ConfigError, match="device 'q' is not in fleet; known: a, m, z"):
        fleet.device("q")


def test_a_fleet_without_a_device_has_none_of_its_links():
    fleet = Fleet((A, B, Device("c")), {("a", "b"): Link(1.0), ("b", "c"): Link(2.0)})
    left = fleet.without("a")
    assert (left.names, dict(left.links)) == (("b", "c"), {("b", "c"): Link(2.0)})
    assert fleet.without() == fleet
    assert fleet.without("nobody") == fleet
    with pytest.raises(ConfigError, match="expected at least one device"):
        fleet.without("a", "b", "c")


@pytest.mark.parametrize("pair", [("a", "b"), ("b", "a")])
def test_a_changed_link_holds_both_ways(pair):
    fleet = Fleet((A, B), {("a", "b"): Link(9.0), ("b", "a"): Link(3.0)}).with_link(*pair, Link(1.0))
    assert fleet.link("a", "b") == fleet.link("b", "a") == Link(1.0)
