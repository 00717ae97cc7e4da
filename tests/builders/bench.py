"""Rows of a benchmark without planning."""

from __future__ import annotations

from typing import Any

from multiedge.bench.rows import PLANNED, REFUSED, Figures, Row


def bench_row(strategy: str, cost: float | None = None, *, model: str = "m", seed: int | None = None, **values: Any) -> Row:
    """A row whose every cost is `cost`, where the best single device's is 4; without one it was refused."""
    figures = None
    if cost is not None:
        figures = Figures("throughput", cost, cost / 2, "all plans", 0.5, cost, cost, cost, 10, 20, 2)
    given = {
        "suite": "1",
        "model_digest": "abc",
        "fleet": "f",
        "fleet_digest": "def",
        "options": {},
        "status": REFUSED if figures is None else PLANNED,
        "planning_s": 0.25,
        "versions": "multiedge 1",
        "reason": "too large, by 3_4 %" if figures is None else "",
        "single": dict.fromkeys(("throughput", "latency", "energy"), 4.0),
    }
    return Row(model=model, strategy=strategy, seed=seed, figures=figures, **{**given, **values})
