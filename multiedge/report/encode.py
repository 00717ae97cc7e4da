"""Measurements as compact JSON data, and back.

Lists of records become columns, so that a thousand events take a few tens of kilobytes. JSON has no infinity: a time
that never came is null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from multiedge.formats.plan import known_limit
from multiedge.graph import Graph, Node
from multiedge.measurements import Energy, Event, Fault, Item, Measurements, Memory

MAX_EVENTS = 6000
MAX_ITEMS = 5000
_DECIMALS = 7

Record = TypeVar("Record", Item, Event, Fault, Memory, Energy)


def measurements_to_json(
    measurements: Measurements, max_events: int = MAX_EVENTS, max_items: int = MAX_ITEMS
) -> dict[str, Any]:
    """JSON data that `measurements_from_json` reads. Of a longer run only the first items and events are kept, and
    `left_out` counts the rest; figures must be computed before."""
    items = sorted(measurements.items, key=lambda item: item.due_s)
    events = sorted(measurements.events, key=lambda event: event.start_s)
    return {
        "start_s": measurements.start_s,
        "stop_s": measurements.stop_s,
        "warmup_items": measurements.warmup_items,
        "settings": plain_data(measurements.settings),
        "items": _columns(Item, items[:max_items]),
        "events": _columns(Event, events[:max_events]),
        "faults": _columns(Fault, measurements.faults),
        "memory": _columns(Memory, measurements.memory),
        "energy": _columns(Energy, measurements.energy),
        "left_out": {"items": max(0, len(items) - max_items), "events": max(0, len(events) - max_events)},
    }


def measurements_from_json(data: Mapping[str, Any]) -> Measurements:
    """The Measurements in JSON data. KeyError, TypeError or ValueError if it is none."""
    return Measurements(
        items=tuple(_records(Item, data["items"])),
        events=tuple(_records(Event, data["events"])),
        start_s=float(data["start_s"]),
        stop_s=float(data["stop_s"]),
        warmup_items=int(data.get("warmup_items", 0)),
        faults=tuple(_records(Fault, data.get("faults", {}))),
        memory=tuple(_records(Memory, data.get("memory", {}))),
        energy=tuple(_records(Energy, data.get("energy", {}))),
        settings=dict(data.get("settings", {})),
    )


def graph_to_json(graph: Graph) -> dict[str, Any]:
    """What a drawing of the graph needs: names and operators, and who reads what; sizes and attributes are left out."""

    def reads(node: Node) -> list[str]:
        return [name for name in node.reads if name not in graph.parameters]

    return {
        "name": graph.name,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "nodes": [[node.name, node.op_type, reads(node), list(node.writes)] for node in graph.nodes],
    }


def graph_from_json(data: Mapping[str, Any]) -> Graph:
    """The Graph without tensors and parameters; KeyError, TypeError or ValueError if the data holds none."""
    nodes = tuple(Node(name, operator, tuple(reads), tuple(writes)) for name, operator, reads, writes in data["nodes"])
    return Graph(data["name"], nodes, tuple(data["inputs"]), tuple(data["outputs"]), {})


def plain_data(value: Any) -> Any:
    """`value` as JSON knows it: mappings, lists, words and finite numbers; anything else by its text."""
    if isinstance(value, Mapping):
        return {str(key): plain_data(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_data(entry) for entry in value]
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a numpy scalar
        return plain_data(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def _columns(kind: type[Record], records: Sequence[Record]) -> dict[str, list[Any]]:
    return {field.name: [_rounded(getattr(record, field.name)) for record in records] for field in fields(kind)}


def _rounded(value: Any) -> Any:
    value = plain_data(value)
    return round(value, _DECIMALS) if isinstance(value, float) else value


def _records(kind: type[Record], columns: Mapping[str, Sequence[Any]]) -> Iterable[Record]:
    known = [field.name for field in fields(kind) if field.name in columns]
    for values in zip(*(columns[name] for name in known), strict=True):
        entry = dict(zip(known, values, strict=True))
        if kind is Item and entry["done_s"] is None:
            entry["done_s"] = math.inf
        if kind is Memory and "limit_bytes" in entry:
            entry["limit_bytes"] = known_limit(entry["limit_bytes"])
        yield kind(**entry)
