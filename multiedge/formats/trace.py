"""Trace files: a yaml or JSON list of what happens to a fleet, read once and checked whole.

    - {at_s: 10, link: [car, cloud], bandwidth: 0, latency: 80ms}
    - {at_s: 11, link: [car, cloud], latency: 90ms, one_way: true}   from car to cloud alone
    - {at_s: 12, device: car, event: speed, value: 0.5}
    - {at_s: 14, device: tablet, event: leave}
    - {at_s: 20, device: tablet, event: return}
    - {at_s: 25, device: phone, event: battery, value: 200}      joules left

Bandwidth and latency are written as in devices.yaml; a bandwidth of 0 is a link that is down.
"""

from __future__ import annotations

import os

from multiedge import quantity
from multiedge.fleet import Fleet
from multiedge.formats.documents import read_yaml
from multiedge.formats.fields import Field
from multiedge.trace import DEVICE_EVENTS, DeviceEvent, LinkEvent, Trace, TraceEvent, event_violations

_DEVICE_KEYS = ("at_s", "device", "event", "value")
_LINK_KEYS = ("at_s", "link", "bandwidth", "latency", "one_way")


def read_trace(path: str | os.PathLike[str], fleet: Fleet) -> Trace:
    """The trace that a file describes, checked against `fleet`.

    Raises ConfigError, one line with file, place, expectation and finding, for anything that cannot be played.
    """
    return _trace(read_yaml(path), fleet)


def parse_trace(data: object, fleet: Fleet, place: str = "trace") -> Trace:
    """The trace in `data`, as a YAML or JSON parser left it: a list of events, or {name, events}."""
    return _trace(Field(data, place), fleet)


def _trace(document: Field, fleet: Fleet) -> Trace:
    if isinstance(document.value, list):
        document = Field({"events": document.value}, document.place)
    content = document.record(("name", "events"))
    events = content["events"].list_of(lambda field: _event(field, fleet))
    return Trace(events, content["name"].optional(Field.name, document.place))


def _event(field: Field, fleet: Fleet) -> TraceEvent:
    if ("device" in field) == ("link" in field):
        raise field.expected("a mapping with either 'device' or 'link'")
    event = _link_event(field.record(_LINK_KEYS)) if "link" in field else _device_event(field.record(_DEVICE_KEYS))
    for problem in event_violations(event, fleet):
        raise field.error(problem)
    return event


def _device_event(content: Field) -> DeviceEvent:
    return DeviceEvent(
        content["at_s"].quantity(quantity.FACTOR),
        content["device"].name(),
        content["event"].choice(DEVICE_EVENTS),
        content["value"].optional(lambda field: field.quantity(quantity.FACTOR)),
    )


def _link_event(content: Field) -> LinkEvent:
    if not content["bandwidth"].given and not content["latency"].given:
        raise content.error("expected 'bandwidth' or 'latency' for the link, got neither")
    return LinkEvent(
        content["at_s"].quantity(quantity.FACTOR),
        content["link"].pair_of(Field.name),
        content["bandwidth"].optional(lambda field: field.quantity(quantity.BANDWIDTH)),
        content["latency"].optional(lambda field: field.quantity(quantity.SECONDS)),
        content["one_way"].optional(Field.boolean, False),
    )
