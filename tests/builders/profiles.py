"""Profiles of small graphs written down in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from multiedge.graph import Graph
from multiedge.profile import Profile


def profile_of(
    graph: Graph,
    seconds: Mapping[str, float | Sequence[float]],
    *,
    overhead_s: Mapping[str, float] | float = 0.0,
    fused: Iterable[str] = (),
    macs: Sequence[int] | int = 0,
    **values: Any,
) -> Profile:
    """A profile with seconds by device, one number for all nodes or one for each; flops are twice the MACs."""
    count = len(graph.nodes)
    counted = np.array(np.broadcast_to(macs, count), dtype=np.int64)
    times = {name: np.array(np.broadcast_to(each, count), dtype=np.float64) for name, each in seconds.items()}
    overheads = overhead_s if isinstance(overhead_s, Mapping) else dict.fromkeys(times, overhead_s)
    return Profile(graph, counted, 2.0 * counted, times, overhead_s=overheads, fused=frozenset(fused), **values)
