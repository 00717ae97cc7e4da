"""Trace files: a yaml or JSON list of what happens to a fleet, read once and checked whole.

    - {at_s: 10, link: [car, cloud], bandwidth: 0, latency: 80ms}
    - {at_s: 12, device: car, event: speed, value: 0.5}
    - {at_s: 14, device: tablet, event: leave}
    - {at_s: 20, device: tablet, event: return}
    - {at_s: 25, device: phone, event: battery, value: 200}      joules left

Bandwidth and latency are written as in devices.yaml; a bandwidth of 0 is a link that is down.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from multiedge import quantity
from multiedge.errors import ConfigError, did_you_mean
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_yaml
from multiedge.trace import DeviceEvent, LinkEvent, Trace, TraceEvent

_DEVICE_KEYS = ("at_s", "device", "event", "value")
_LINK_KEYS = ("at_s", "link", "bandwidth", "latency")


def read_trace(path: str | os.PathLike[str], fleet: Fleet) -> Trace:
    """The trace that a file describes, checked against `fleet`.

    Raises ConfigError, one line with file, place, expectation and finding, for anything that cannot be played.
    """
    return parse_trace(read_yaml(path), fleet, str(path))


def parse_trace(data: object, fleet: Fleet, place: str = "trace") -> Trace:
    """The trace in `data`, as a yaml or JSON parser left it: a list of events, or {name, events}."""
    name, items = place, data
    if isinstance(data, Mapping):
        _only(data, ("name", "events"), place)
        name, items = str(data.get("name", place)), data.get("events")
    if not isinstance(items, list):
        raise ConfigError(f"{place}: expected a list of events, got {type(items).__name__}")
    events = tuple(_event(item, f"{place}: events[{number}]") for number, item in enumerate(items))
    # Checked in the order of the file, which numbers the findings; a Trace sorts its events by time.
    for number, event in enumerate(events):
        for wrong in Trace((event,)).violations(fleet):
            raise ConfigError(f"{place}: events[{number}]: {wrong.split(': ', 2)[2]}")
    return Trace(events, name)


def _event(item: object, place: str) -> TraceEvent:
    if not isinstance(item, Mapping) or ("device" in item) == ("link" in item):
        raise ConfigError(f"{place}: expected a mapping with either 'device' or 'link', got {item!r}")
    if "link" in item:
        _only(item, _LINK_KEYS, place)
        return _link_event(item, place)
    _only(item, _DEVICE_KEYS, place)
    value = item.get("value")
    return DeviceEvent(
        _number(item, "at_s", quantity.FACTOR, place),
        str(item["device"]),
        str(item.get("event")),
        None if value is None else _number(item, "value", quantity.FACTOR, place),
    )


def _link_event(item: Mapping[str, Any], place: str) -> LinkEvent:
    ends = item["link"]
    if not isinstance(ends, list) or len(ends) != 2:
        raise ConfigError(f"{place}: link: expected two device names, got {ends!r}")
    if "bandwidth" not in item and "latency" not in item:
        raise ConfigError(f"{place}: expected 'bandwidth' or 'latency' for the link, got neither")
    return LinkEvent(
        _number(item, "at_s", quantity.FACTOR, place),
        (str(ends[0]), str(ends[1])),
        _number(item, "bandwidth", quantity.BANDWIDTH, place) if "bandwidth" in item else None,
        _number(item, "latency", quantity.SECONDS, place) if "latency" in item else None,
    )


def _number(item: Mapping[str, Any], key: str, kind: quantity.Quantity, place: str) -> float:
    if key not in item:
        raise ConfigError(f"{place}: '{key}' is missing")
    try:
        return quantity.parse(item[key], kind)
    except ValueError as error:
        raise ConfigError(f"{place}: {key}: {error}") from None


def _only(item: Mapping[Any, Any], known: tuple[str, ...], place: str) -> None:
    for key in item:
        if key not in known:
            raise ConfigError(f"{place}: unknown key '{key}'{did_you_mean(str(key), known)}")
