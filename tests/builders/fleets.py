"""Small fleets written down in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from multiedge.fleet import Device, Fleet, Link


def fleet_of(
    *devices: str | Device,
    links: Link | Mapping[tuple[str, str], Link] | None = None,
    source: str | None = None,
    name: str = "fleet",
    **values: Any,
) -> Fleet:
    """Devices, or their names; `values` are fields of those given by name. One Link joins every pair."""
    made = tuple(Device(device, **values) if isinstance(device, str) else device for device in devices)
    if isinstance(links, Link):
        links = dict.fromkeys(combinations([device.name for device in made], 2), links)
    return Fleet(made, links or {}, name=name, source=source)


def with_device(fleet: Fleet, name: str, **values: Any) -> Fleet:
    """The fleet with fields of one device changed."""
    devices = tuple(replace(device, **values) if device.name == name else device for device in fleet.devices)
    return replace(fleet, devices=devices)


def with_devices(fleet: Fleet, **values: Any) -> Fleet:
    """The fleet with fields of every device changed."""
    return replace(fleet, devices=tuple(replace(device, **values) for device in fleet.devices))
