"""How commands show the plans of a deployment: a line for each row of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from multiedge.commands._terminal import Column, print_columns, print_line
from multiedge.formats.plan import plan_to_json
from multiedge.network.records import Expected, PlanRow
from multiedge.quantity import number_text

if TYPE_CHECKING:
    from rich.console import Console

    from multiedge.table import Table

UNKNOWN = "unknown"


def table_json(table: Table) -> dict[str, Any]:
    """The rows with their plans, and why others are absent."""
    rows = [
        {
            "name": row.name,
            "kind": row.kind,
            "expected": asdict(row.expected),
            "devices": list(row.devices),
            "first": list(row.first),
            "last": list(row.last),
            "plan": plan_to_json(row.plan),
        }
        for row in table.rows
    ]
    return {"rows": rows, "absent": dict(table.absent)}


def show_table(title: str, table: Table, console: Console) -> None:
    """Prints the rows, then why others are absent."""
    expected = [row.expected for row in table.rows]
    columns = [
        Column("plan", [row.name for row in table.rows], is_number=False),
        *_figures(expected),
        Column("stages", [str(len(row.plan.stages)) for row in table.rows], leaves=2),
        Column("devices", [" + ".join(row.devices) for row in table.rows], leaves=1, is_number=False),
    ]
    print_columns(console, title, columns)
    for line in absent_lines(table.absent):
        print_line(console, line)


def absent_lines(absent: Mapping[str, str]) -> list[str]:
    """Why there is no such row."""
    return [f"no row '{name}': {reason}" for name, reason in absent.items()]


def request_lines(deployment: str) -> list[str]:
    """Where requests for a deployment with several plans are sent."""
    return [
        "each request takes one of these plans: start a front end at the hub or on a node,",
        "  multiedge hub run ... --serve-http HOST:PORT",
        "  multiedge node ... --serve-http HOST:PORT",
        f"and send requests to http://HOST:PORT/v2/models/{deployment}/infer",
    ]


def text_lines(deployment: str) -> list[str]:
    """Where clients of OpenAI's protocol send requests for a language model."""
    return [
        "a front end with --serve-http, at the hub or on a node, answers clients of OpenAI's protocol:",
        f"  http://HOST:PORT/v1/completions and /v1/chat/completions for model '{deployment}'",
    ]


def show_rows(title: str, rows: Sequence[PlanRow], console: Console) -> None:
    """Prints the rows of a deployment, with their phases and what they wait for unless all are ready."""
    is_ready = all(row.phase == "ready" for row in rows)
    columns = [
        Column("plan", [row.name for row in rows], is_number=False),
        *([] if is_ready else [Column("phase", [row.phase for row in rows], is_number=False)]),
        *_figures([row.expected for row in rows]),
        Column("devices", [" + ".join(row.nodes) for row in rows], leaves=1, is_number=False),
    ]
    print_columns(console, title, columns)
    for row in rows:
        if row.reason:
            print_line(console, f"{row.name}: {row.reason}")


def _figures(expected: Sequence[Expected]) -> list[Column]:
    """The figures that are known of some row: a column of unknown ones would take the place of the devices."""
    columns = [
        Column("items/s\nat most", [_text(each.items_per_s) for each in expected]),
        Column("latency\nms", [_text(each.latency_s, 1e3) for each in expected]),
        Column("J/item", [_text(each.energy_j) for each in expected]),
        Column("accuracy", [_text(each.accuracy) for each in expected]),
    ]
    return [column for column in columns if any(cell != UNKNOWN for cell in column.cells)]


def _text(value: float | None, factor: float = 1.0) -> str:
    return UNKNOWN if value is None else number_text(value * factor)
