"""Every metric by name, in the order in which tables show them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import NamedTuple

from multiedge.errors import ConfigError, describe
from multiedge.measurements import Measurements
from multiedge.metrics.value import HIGHER, LOWER, Context, Metric, MetricValue
from multiedge.plan import Plan
from multiedge.registry import Registry

_RUN = "multiedge.metrics.run"
_PREDICTION = "multiedge.metrics.prediction"

METRICS = Registry(
    "metric",
    {
        "fps": f"{_RUN}:fps",
        "fps_bound": f"{_RUN}:fps_bound",
        "fps_predicted": f"{_PREDICTION}:fps_predicted",
        "fps_predicted_at_pace": f"{_PREDICTION}:fps_predicted_at_pace",
        "prediction_error": f"{_PREDICTION}:prediction_error",
        "prediction_error_at_pace": f"{_PREDICTION}:prediction_error_at_pace",
        "latency_mean_s": f"{_RUN}:latency_mean",
        "latency_p50_s": f"{_RUN}:latency_p50",
        "latency_p90_s": f"{_RUN}:latency_p90",
        "latency_p99_s": f"{_RUN}:latency_p99",
        "latency_max_s": f"{_RUN}:latency_max",
        "peak_memory_bytes": f"{_RUN}:peak_memory",
        "peak_gpu_memory_bytes": f"{_RUN}:peak_gpu_memory",
        "peak_power_w": f"{_RUN}:peak_power",
        "energy_per_item_j": f"{_RUN}:energy_per_item",
        "network_bytes": f"{_RUN}:network_bytes",
        "utilisation": f"{_RUN}:utilisation",
        "partition_time_s": f"{_RUN}:partition_time",
        "plan_gap": f"{_RUN}:plan_gap",
        "items": f"{_RUN}:items",
        "completed": f"{_RUN}:completed_items",
        "failed": f"{_RUN}:failed",
        "lost": f"{_RUN}:lost",
        "duplicated": f"{_RUN}:duplicated",
        "recovery_s": f"{_RUN}:recovery",
    },
)


class Description(NamedTuple):
    """What is known of a figure by its name; '' where nothing is."""

    unit: str
    direction: str
    description: str


ANSWER_METRICS = {
    "accuracy": Description("1", HIGHER, "share of items whose largest score is their label's"),
    "accuracy_top1": Description("1", HIGHER, "share of items whose largest score is their label's"),
    "accuracy_top5": Description("1", HIGHER, "share of items whose label is among the five largest scores"),
    "fidelity": Description("1", HIGHER, "share of items on which the cut model and the whole model agree"),
    "max_absolute_error": Description("", LOWER, "largest difference between an output and the whole model's"),
    "max_relative_error": Description("1", LOWER, "largest difference over the largest magnitude of that output"),
}
"""Figures that need the answers themselves (`multiedge.metrics.accuracy`), so that tables know their units too."""

_UNIT_SUFFIXES = {"_s": "s", "_bytes": "B", "_w": "W", "_j": "J", "_ms": "ms", "_mb": "MB"}


@lru_cache(maxsize=1)
def known_metrics() -> dict[str, Metric]:
    """Every metric by name, those of packages from outside last. Looked up once in a process."""
    return {name: load_metric(name) for name in METRICS.names()}


def load_metric(name: str) -> Metric:
    """The metric registered under `name`; ConfigError if there is none, or if it is no Metric."""
    loaded = METRICS.load(name)
    if not isinstance(loaded, Metric):
        raise ConfigError(
            f"metric '{name}' ({METRICS.find(name)}): expected a Metric, which the decorator multiedge.metrics.metric makes,"
            f" got {describe(loaded)}"
        )
    return loaded


def compute(
    measurements: Measurements, names: Iterable[str] | None = None, *, plan: Plan | None = None
) -> dict[str, MetricValue]:
    """The named figures of a run (all of them by default), in the given order; `plan` is the one that ran.

    ConfigError for a name that no metric has, and for a metric from outside that returns something else than a figure.
    """
    known, context = known_metrics(), Context(plan)
    wanted = list(known) if names is None else list(names)
    return {name: (known.get(name) or load_metric(name)).of(measurements, context) for name in wanted}


def describe_metric(name: str) -> Description:
    """Unit, direction and description of a figure by name.

    A user's metric may carry a name of the library in another unit, `latency_mean_ms` or `peak_memory`: it has that
    metric's direction and description, and the unit of its suffix. Of other names nothing more is known.
    """
    known = known_metrics()
    if name in known:
        return Description(known[name].unit, known[name].direction, known[name].description)
    if name in ANSWER_METRICS:
        return ANSWER_METRICS[name]
    unit = next((unit for suffix, unit in _UNIT_SUFFIXES.items() if name.endswith(suffix)), "")
    near = next((known[other] for other in known if _stem(other) == _stem(name)), None)
    return Description(unit, near.direction, near.description) if near else Description(unit, "", "")


def in_other_unit(name: str, names: Collection[str]) -> bool:
    """Whether a user's metric repeats, in another unit, one of `names` that the library computes."""
    known = known_metrics()
    return name not in known and any(other in known and _stem(other) == _stem(name) for other in names)


def _stem(name: str) -> str:
    """The name without its unit: `peak_memory` of `peak_memory_bytes`."""
    return next((name.removesuffix(suffix) for suffix in _UNIT_SUFFIXES if name.endswith(suffix)), name)
