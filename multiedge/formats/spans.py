"""What consecutive nodes cost together, as JSON data in a profile: `devices.NAME.spans`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from multiedge.errors import ProfileError
from multiedge.formats.fields import Field
from multiedge.spans import BatchedSpans, FastestSpans, Floats, Ints, MeasuredSpans, SpanCost

MEASURED = "measured"
BATCHED = "batched"
FASTEST = "fastest"


def span_cost_to_json(cost: SpanCost) -> dict[str, Any]:
    """The costs as JSON data; ProfileError for a kind that files do not have."""
    if isinstance(cost, MeasuredSpans):
        table = [[float(value) if math.isfinite(value) else None for value in row] for row in cost.table]
        return {"kind": MEASURED, "boundaries": list(cost.boundaries), "seconds": table}
    if isinstance(cost, BatchedSpans):
        return {
            "kind": BATCHED,
            "batch_s": cost.batch_s.tolist(),
            "item_s": cost.item_s.tolist(),
            "parameter_bytes": cost.parameter_bytes.tolist(),
            "item_bytes": cost.item_bytes.tolist(),
            "room_bytes": cost.room_bytes,
            "most_items": cost.most_items,
        }
    if isinstance(cost, FastestSpans):
        ways = zip(cost.names, cost.rows.tolist(), cost.more_s.tolist(), strict=True)
        return {"kind": FASTEST, "ways": [{"name": name, "seconds": row, "more_s": more_s} for name, row, more_s in ways]}
    raise ProfileError(f"spans: expected times that a file can hold, got {type(cost).__name__}")


def read_span_cost(data: Field, nodes: int) -> SpanCost:
    """The costs that `span_cost_to_json` wrote, of a model with that many nodes."""
    kind = data["kind"].choice((MEASURED, BATCHED, FASTEST))
    if kind == FASTEST:
        ways = data["ways"].list_of(lambda way: way, least=1)
        return FastestSpans(
            names=tuple(way["name"].text() for way in ways),
            rows=np.array([_times(way["seconds"], nodes) for way in ways], dtype=np.float64).reshape(len(ways), nodes),
            more_s=np.array([way["more_s"].number(least=0) for way in ways], dtype=np.float64),
        )
    if kind == MEASURED:
        boundaries = data["boundaries"].list_of(lambda boundary: boundary.integer(0, nodes))
        rows = data["seconds"].list_of(lambda row: row.list_of(_time))
        if list(boundaries) != sorted(set(boundaries)):
            raise data["boundaries"].expected("ascending boundaries")
        if {len(row) for row in rows} - {len(boundaries)} or len(rows) != len(boundaries):
            raise data["seconds"].expected(f"{len(boundaries)} rows of {len(boundaries)} times")
        return MeasuredSpans(boundaries, np.array(rows, dtype=np.float64).reshape(len(rows), len(rows)))
    return BatchedSpans(
        batch_s=_times(data["batch_s"], nodes),
        item_s=_times(data["item_s"], nodes),
        parameter_bytes=_sizes(data["parameter_bytes"], nodes),
        item_bytes=_sizes(data["item_bytes"], nodes),
        room_bytes=data["room_bytes"].number(least=0),
        most_items=data["most_items"].integer(1, 1 << 31),
    )


def _time(field: Field) -> float:
    """Seconds; null, for a span that the device cannot hold, is inf. Entries below the diagonal are 0 or null."""
    return field.optional(lambda given: given.number(least=0), math.inf)


def _times(field: Field, nodes: int) -> Floats:
    values = field.list_of(lambda each: each.number(least=0))
    if len(values) != nodes:
        raise field.expected(f"{nodes} times")
    return np.array(values, dtype=np.float64)


def _sizes(field: Field, nodes: int) -> Ints:
    values = field.list_of(Field.count)
    if len(values) != nodes:
        raise field.expected(f"{nodes} sizes")
    return np.array(values, dtype=np.int64)
