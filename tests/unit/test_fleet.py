"""Devices with and without a memory limit."""

from __future__ import annotations

import math

import pytest

from multiedge.fleet import Device, Fleet

FLEET = Fleet((Device("small", memory_bytes=100, runtime_bytes=30), Device("large", memory_bytes=200), Device("free")))


@pytest.mark.parametrize(("name", "available_bytes"), [("small", 70), ("large", 200), ("free", math.inf)])
def test_stages_may_take_what_the_runtime_leaves(name, available_bytes):
    assert FLEET.device(name).available_bytes == available_bytes


@pytest.mark.parametrize("available_bytes", [0, 55, math.inf])
def test_a_device_takes_on_the_memory_that_it_is_given(available_bytes):
    assert FLEET.device("small").with_memory_of(available_bytes).available_bytes == available_bytes


@pytest.mark.parametrize(("names", "limit"), [(["free"], None), (["free", "large"], 200), (["large", "small"], 100)])
def test_the_least_memory_is_that_of_the_devices_with_a_limit(names, limit):
    assert FLEET.least_memory_bytes(names) == limit


def test_a_cap_lowers_what_is_larger_and_limits_what_was_not():
    assert [device.memory_bytes for device in FLEET.with_memory_cap(150).devices] == [100, 150, 150]
