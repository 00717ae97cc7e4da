"""Measurements -> numbers with unit and direction. Everything here is a pure function.

`METRICS` is the table that every leaderboard, page and comparison reads; `compute` computes figures by name. A new metric is
a function with the decorator `metric`, and a line in the table or an entry point in the group `multiedge.metrics`.
"""

from multiedge.metrics.table import METRICS, compute, describe_metric, in_other_unit, known_metrics
from multiedge.metrics.value import HIGHER, LOWER, Context, Figure, Metric, MetricValue, metric

__all__ = [
    "HIGHER",
    "LOWER",
    "METRICS",
    "Context",
    "Figure",
    "Metric",
    "MetricValue",
    "compute",
    "describe_metric",
    "in_other_unit",
    "known_metrics",
    "metric",
]
