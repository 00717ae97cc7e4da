"""Measurements as compact JSON data, and back.

Lists of records become columns, so that a thousand events take a few tens of kilobytes. JSON has no infinity: the
time of an event that did not happen is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, replace
from typing import Any, TypeVar, get_type_hints

from multiedge.composed import DOMAIN, Composition
from multiedge.formats.composed import composition_to_json, read_composition
from multiedge.formats.fields import Field
from multiedge.formats.plan import known_limit
from multiedge.formats.records import reader_of
from multiedge.graph import Graph, Node
from multiedge.measurements import DeviceTotal, Energy, Event, Fault, HostLoad, Item, Measurements, Memory, RanStage

MAX_EVENTS = 6000
MAX_ITEMS = 5000
_DECIMALS = 7

Record = TypeVar("Record", Item, Event, Fault, Memory, Energy, DeviceTotal, RanStage)


def measurements_to_json(
    measurements: Measurements, max_events: int = MAX_EVENTS, max_items: int = MAX_ITEMS
) -> dict[str, Any]:
    """JSON data that `read_measurements` reads. Of a longer run only the first items and events are kept, and
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
        "host": plain_data(asdict(measurements.host)) if measurements.host else None,
        "totals": _columns(DeviceTotal, measurements.totals),
        **({"by_caller": plain_data(measurements.by_caller)} if measurements.by_caller else {}),
        **({"runtimes": _columns(RanStage, measurements.runtimes)} if measurements.runtimes else {}),
        "left_out": {
            "items": max(0, len(items) - max_items),
            "events": max(0, len(events) - max_events) + measurements.left_out_events,
        },
    }


def read_measurements(data: Field) -> Measurements:
    """The Measurements in a field of a file, whose kind of error it raises."""
    return Measurements(
        items=_records(Item, data["items"]),
        events=_records(Event, data["events"]),
        start_s=data["start_s"].number(),
        stop_s=data["stop_s"].number(),
        warmup_items=data["warmup_items"].optional(Field.count, 0),
        faults=data["faults"].optional(lambda columns: _records(Fault, columns), ()),
        memory=data["memory"].optional(lambda columns: _records(Memory, columns), ()),
        energy=data["energy"].optional(lambda columns: _records(Energy, columns), ()),
        settings=data["settings"].optional(free_form, {}),
        host=data["host"].optional(reader_of(HostLoad, finite=True)),
        totals=data["totals"].optional(lambda columns: _records(DeviceTotal, columns), ()),
        left_out_events=data["left_out"].optional(lambda counts: counts["events"].optional(Field.count, 0), 0),
        by_caller=data["by_caller"].optional(lambda hops: hops.list_of(_hop), ()),
        runtimes=data["runtimes"].optional(lambda columns: _records(RanStage, columns), ()),
    )


def _hop(data: Field) -> tuple[int, int]:
    source, target = data.list_of(Field.count)
    return source, target


def free_form(data: Field) -> dict[str, Any]:
    """A mapping of whatever JSON can hold."""
    return data.mapping_of(Field.data)


def graph_to_json(graph: Graph) -> dict[str, Any]:
    """What a drawing of the graph needs: names and operators, and who reads what; sizes and attributes are left out, except
    those of the nodes between the models of a workflow."""

    def reads(node: Node) -> list[str]:
        return [name for name in node.reads if name not in graph.parameters]

    return {
        "name": graph.name,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "nodes": [[node.name, node.op_type, reads(node), list(node.writes)] for node in graph.nodes],
        **(_composition_to_json(graph, graph.composition) if graph.composition else {}),
    }


def _composition_to_json(graph: Graph, composition: Composition) -> dict[str, Any]:
    own = {
        node.name: {key: plain_data(value) for key, value in node.attributes.items() if key != "source"}
        for node in graph.nodes
        if node.domain == DOMAIN
    }
    return {"composition": composition_to_json(composition), "own_nodes": own}


def read_graph(data: Field) -> Graph:
    """The Graph without tensors and parameters, whose kind of error it raises."""
    own = data["own_nodes"].optional(lambda nodes: nodes.mapping_of(free_form), {})
    nodes = tuple(
        replace(node, domain=DOMAIN, attributes=own[node.name]) if node.name in own else node
        for node in data["nodes"].list_of(_node)
    )
    composition = data["composition"].optional(read_composition)
    return Graph(data["name"].text(), nodes, _texts(data["inputs"]), _texts(data["outputs"]), {}, composition=composition)


def _node(data: Field) -> Node:
    entries = data.items()
    if len(entries) != 4:
        raise data.expected("a node as [name, operator, inputs, outputs]")
    name, operator, reads, writes = entries
    return Node(name.text(), operator.text(), _texts(reads), _texts(writes))


def _texts(data: Field) -> tuple[str, ...]:
    return data.list_of(Field.text)


def plain_data(value: Any) -> Any:
    """`value` as JSON knows it: mappings, lists, texts and finite numbers; anything else by its text."""
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


def _records(kind: type[Record], data: Field) -> tuple[Record, ...]:
    """Records from columns of one length. A column may be missing where the record has a default."""
    types = get_type_hints(kind)
    names = [field.name for field in fields(kind) if field.name in data or field.default is MISSING]
    columns = [data[name].list_of(_SPECIAL.get(name) or reader_of(types[name], finite=True)) for name in names]
    if len({len(column) for column in columns}) > 1:
        raise data.error(f"expected columns of one length, got {', '.join(str(len(column)) for column in columns)}")
    return tuple(kind(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True))


_Read = Callable[[Field], object]

_SPECIAL: Mapping[str, _Read] = {
    "done_s": lambda field: field.optional(Field.number, math.inf),
    "limit_bytes": lambda field: known_limit(field.optional(Field.count)),
}
