"""VALID or INVALID, and why, by the rules of MLPerf Inference's scenarios. A figure from here is no MLPerf result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from multiedge.errors import ConfigError, did_you_mean
from multiedge.measurements import Measurements
from multiedge.metrics import run
from multiedge.metrics.percentiles import percentile, samples_needed, within_bound

TARGET_PERCENTILE: Mapping[str, float | None] = {"SingleStream": 0.90, "MultiStream": 0.99, "Server": 0.99, "Offline": None}


@dataclass(frozen=True)
class Validity:
    """Whether a run is `valid`, and every reason why not."""

    valid: bool
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "VALID" if self.valid else f"INVALID: {'; '.join(self.reasons)}"


def validity(measurements: Measurements) -> Validity:
    """Whether the run's figures may be quoted.

    The run's settings hold its `scenario` (Offline if there is none) and, for Server, `latency_bound_s`.
    """
    scenario = str(measurements.settings.get("scenario", "Offline"))
    if scenario not in TARGET_PERCENTILE:
        raise ConfigError(f"unknown scenario '{scenario}'{did_you_mean(scenario, TARGET_PERCENTILE)}")
    reasons = [*_answers(measurements), *_percentile(measurements, scenario)]
    return Validity(not reasons, tuple(reasons))


def _answers(measurements: Measurements) -> list[str]:
    counts = {
        "failed": run.failed(measurements).value,
        "lost": run.lost(measurements).value,
        "answered twice": run.duplicated(measurements).value,
    }
    wrong = [f"{int(count)} item{'s' if count > 1 else ''} {what}" for what, count in counts.items() if count]
    return wrong if run.completed(measurements) else [*wrong, "no item was answered"]


def _percentile(measurements: Measurements, scenario: str) -> list[str]:
    p = TARGET_PERCENTILE[scenario]
    values = query_latencies_s(measurements) if scenario == "MultiStream" else run.latencies_s(measurements)
    if p is None or not values:
        return []
    if len(values) < samples_needed(p):
        return [f"p{p * 100:g} needs {samples_needed(p)} samples, got {len(values)}"]
    bound = measurements.settings.get("latency_bound_s")
    if bound is None or within_bound(values, float(bound), p):
        return []
    return [f"p{p * 100:g} is {percentile(values, p):.4g} s, not backed to be within {float(bound):g} s"]


def query_latencies_s(measurements: Measurements) -> list[float]:
    """Latency of each query: items that were due together are one query, which is answered with the last of them."""
    queries: dict[float, float] = {}
    for item in run.completed(measurements):
        queries[item.due_s] = max(queries.get(item.due_s, 0.0), item.latency_s)
    return list(queries.values())
