"""Metrics of a run with a trace: items in time, lost items, and the rate while the fleet changed."""

from __future__ import annotations

import math
from typing import Any

from sedna.common.class_factory import ClassFactory, ClassType

WINDOW_S = 3.0


@ClassFactory.register(ClassType.GENERAL, alias="in_time")
def in_time(y_true: Any, y_pred: dict[str, Any]) -> float:
    """Percent of the items that were answered within the deadline, counted from when each was due."""
    items = y_pred["measurements"].items
    good = [item for item in items if not item.error and item.latency_s <= y_pred["deadline_s"]]
    return round(100.0 * len(good) / len(items), 1)


@ClassFactory.register(ClassType.GENERAL, alias="fps_over_time")
def fps_over_time(y_true: Any, y_pred: dict[str, Any]) -> str:
    """Items answered per second, in windows of three seconds from the start."""
    done = [item.done_s for item in y_pred["measurements"].items if not item.error]
    windows = math.ceil(max(done, default=0.0) / WINDOW_S)
    counts = [sum(window <= at / WINDOW_S < window + 1 for at in done) for window in range(windows)]
    return " ".join(f"{count / WINDOW_S:.0f}" for count in counts)


@ClassFactory.register(ClassType.GENERAL, alias="replans")
def replans(y_true: Any, y_pred: dict[str, Any]) -> int:
    """Number of new plans."""
    return sum(event.kind == "replan" for event in y_pred["measurements"].events)


@ClassFactory.register(ClassType.GENERAL, alias="method")
def method(y_true: Any, y_pred: dict[str, Any]) -> str:
    """'simulated', or the name of the executor."""
    return str(y_pred["measurements"].settings.get("executor"))
