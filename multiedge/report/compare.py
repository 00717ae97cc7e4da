"""Two runs compared, and whether a difference is more than noise.

Where both runs were repeated, the noise is the spread over repeats: Welch's interval of the difference of means. Where
they were not, throughput and latency are resampled from the run's own items, in blocks, since the items of a pipeline
follow one another (circular block bootstrap of Politis and Romano, blocks of about the cube root of n). A difference
whose 95 % interval holds 0 is within noise. Other figures are one sample each, and nothing is claimed of their noise.
Resampling sees the noise within a run only; what differs between runs, such as a busy neighbour, takes repeats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multiedge.metrics.run import completed, latencies_s
from multiedge.report.results import RunResult

DRAWS = 1000
FEWEST_ITEMS = 16

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""(draws, n) samples -> (draws,) figures."""


def _percentile(p: float) -> Statistic:
    """`multiedge.metrics.percentiles.percentile` of each row."""
    return lambda rows: np.asarray(np.sort(rows, axis=1)[:, min(int(rows.shape[1] * p), rows.shape[1] - 1)])


_OF_LATENCIES: dict[str, Statistic] = {
    "latency_mean_s": lambda rows: np.asarray(rows.mean(axis=1)),
    "latency_p50_s": _percentile(0.50),
    "latency_p90_s": _percentile(0.90),
    "latency_p99_s": _percentile(0.99),
}


@dataclass(frozen=True)
class Difference:
    """One figure in two runs. `change` is (value - other) / other; `better` is None where it is no better or worse.
    `within_noise` is None where the noise is not known, and `note` is the method."""

    name: str
    value: float
    other: float
    change: float | None
    better: bool | None
    within_noise: bool | None
    note: str


def compare(result: RunResult, other: RunResult, seed: int = 0) -> list[Difference]:
    """Every figure that both runs measured, in the order of the first."""
    differences = []
    for name, figure in result.results.items():
        before = other.results.get(name)
        if figure.value is None or before is None or before.value is None:
            continue
        change = (figure.value - before.value) / abs(before.value) if before.value else None
        interval, note = noise_interval(name, result, other, seed)
        within = None if interval is None else interval[0] <= 0.0 <= interval[1]
        equal = figure.value == before.value
        better = None if equal or not figure.direction else (figure.value > before.value) == (figure.direction == "higher")
        differences.append(Difference(name, figure.value, before.value, change, better, True if equal else within, note))
    return differences


def noise_interval(name: str, result: RunResult, other: RunResult, seed: int = 0) -> tuple[tuple[float, float] | None, str]:
    """The 95 % interval of the difference of a figure, and the method; None where it is not known."""
    repeats = [run.repeats.get(name, ()) for run in (result, other)]
    if all(len(values) >= 3 for values in repeats):
        return _welch(*repeats), f"spread over {len(repeats[0])} and {len(repeats[1])} repeats"
    samples = [_samples(name, run) for run in (result, other)]
    if any(values is None for values in samples):
        return None, "one sample each: noise unknown"
    if min(len(values or ()) for values in samples) < FEWEST_ITEMS:
        return None, f"fewer than {FEWEST_ITEMS} items: noise unknown"
    statistic: Statistic = _OF_LATENCIES.get(name, lambda gaps: 1.0 / gaps.mean(axis=1))
    random = np.random.default_rng(seed)
    draws = [_block_bootstrap(np.array(values), statistic, random) for values in samples]
    low, high = np.quantile(draws[0] - draws[1], [0.025, 0.975])
    return (float(low), float(high)), "resampled from the run's items"


def _samples(name: str, run: RunResult) -> list[float] | None:
    if run.measurements is None or any(run.left_out.values()):
        return None
    if name in _OF_LATENCIES:
        return latencies_s(run.measurements)
    if name != "fps":
        return None
    done = sorted(item.done_s for item in completed(run.measurements))
    return [after - before for before, after in zip([run.measurements.start_s, *done], done, strict=False)]


def _block_bootstrap(values: Floats, statistic: Statistic, random: np.random.Generator) -> Floats:
    count = len(values)
    width = max(1, round(count ** (1 / 3)))
    blocks = math.ceil(count / width)
    starts = random.integers(0, count, size=(DRAWS, blocks, 1))
    picked = ((starts + np.arange(width)) % count).reshape(DRAWS, -1)[:, :count]
    return statistic(values[picked])


def _welch(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    from scipy.special import stdtrit

    parts = [float(np.var(values, ddof=1)) / len(values) for values in (a, b)]
    difference, error = float(np.mean(a) - np.mean(b)), math.sqrt(sum(parts))
    if error == 0.0:
        return difference, difference
    freedom = sum(parts) ** 2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True))
    half_width = float(stdtrit(freedom, 0.975)) * error
    return difference - half_width, difference + half_width
