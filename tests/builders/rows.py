"""Rows of plan tables, as short as a test needs them."""

from __future__ import annotations

from multiedge.network.records import Expected, NodeWork, PlanRow

PHONE, DESK = "phone", "desk"


def row(
    name: str,
    latency_s: float | None = 0.1,
    *,
    energy_j: float | None = None,
    accuracy: float | None = None,
    items_per_s: float | None = 20.0,
    nodes: tuple[str, ...] = (PHONE, DESK),
    first: str = DESK,
    last: str = DESK,
    work: tuple[NodeWork, ...] = (),
) -> PlanRow:
    """A row whose plan has the name as its digest."""
    expected = Expected(items_per_s, latency_s, energy_j=energy_j, accuracy=accuracy, work=work)
    return PlanRow(name, name, name, expected, nodes, (first,), (last,))


LOCAL = row(
    "local",
    0.4,
    energy_j=1.0,
    accuracy=0.9,
    items_per_s=2.5,
    nodes=(PHONE,),
    first=PHONE,
    last=PHONE,
    work=(NodeWork(PHONE, 0.4, 0, 1.0),),
)
FASTEST = row("fastest", 0.2, energy_j=6.0, accuracy=0.9, items_per_s=50.0, work=(NodeWork(PHONE, 0.01, 4e5, 0.3),))
QUICKEST = row(
    "quickest", 0.1, energy_j=4.0, accuracy=0.9, items_per_s=10.0, first=PHONE, work=(NodeWork(PHONE, 0.05, 1e5, 0.5),)
)
FLOAT16 = row("float16", 0.08, energy_j=3.0, items_per_s=60.0, work=(NodeWork(PHONE, 0.01, 2e5, 0.2),))
TABLE = (FASTEST, LOCAL, QUICKEST, FLOAT16)
