"""Measurements -> numbers with unit and direction. Everything here is a pure function.

`METRICS` is the table that every leaderboard, page and comparison reads; `compute` works figures out by name.
"""

from multiedge.metrics.table import METRICS, compute, describe
from multiedge.metrics.value import Metric, MetricValue

__all__ = ["METRICS", "Metric", "MetricValue", "compute", "describe"]
