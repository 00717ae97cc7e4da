"""Timing things in turn until the figures are good enough: wall and CPU time, warm-up left out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from multiedge.profile import Floats
from profilers.contract import Progress, silent

Z_95 = 1.96


@dataclass(frozen=True)
class Accuracy:
    """When to stop: the 95 % confidence interval of every median is narrower than +-`relative`, `budget_s` is spent, or
    `most` rounds are done; but never before `least` rounds. `warmup` rounds come first and are not counted."""

    relative: float = 0.02
    budget_s: float = 12.0
    least: int = 5
    most: int = 300
    warmup: int = 2


@dataclass(frozen=True)
class Timing:
    """Samples of one thing, seconds. `cpu_s` is the time of all threads of this process."""

    wall_s: Floats = field(repr=False)
    cpu_s: Floats = field(repr=False)

    @property
    def median_s(self) -> float:
        return float(np.median(self.wall_s))

    @property
    def cpu_median_s(self) -> float:
        return float(np.median(self.cpu_s))

    @property
    def relative_error(self) -> float:
        return median_error(self.wall_s) / self.median_s if self.median_s > 0 else 0.0


def median_error(samples: Sequence[float] | Floats) -> float:
    """Half the width of the 95 % confidence interval of the median, from order statistics; inf below 5 samples.

    Needs no assumption on the distribution (H. A. David, H. N. Nagaraja: Order Statistics, 7.1).
    """
    count = len(samples)
    if count < 5:
        return math.inf
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    reach = Z_95 * math.sqrt(count) / 2
    low = max(0, math.floor(count / 2 - reach) - (count <= 7))
    high = min(count - 1, math.ceil(count / 2 + reach))
    return float(ordered[high] - ordered[low]) / 2


def time_in_turn(actions: Sequence[Callable[[], object]], accuracy: Accuracy, progress: Progress = silent) -> list[Timing]:
    """Times the actions one after the other, round after round, so that a slow spell of the machine meets all of them."""
    for _ in range(accuracy.warmup):
        for action in actions:
            action()
    walls: list[list[float]] = [[] for _ in actions]
    cpus: list[list[float]] = [[] for _ in actions]
    began = time.monotonic()
    for done in range(1, accuracy.most + 1):
        for index, action in enumerate(actions):
            cpu, wall = time.process_time(), time.perf_counter()
            action()
            walls[index].append(time.perf_counter() - wall)
            cpus[index].append(time.process_time() - cpu)
        spent = time.monotonic() - began
        progress("timing", min(1.0, max(spent / max(accuracy.budget_s, 1e-9), done / accuracy.most)))
        if done >= accuracy.least and (spent >= accuracy.budget_s or _good_enough(walls, accuracy.relative)):
            break
    return [Timing(np.array(wall), np.array(cpu)) for wall, cpu in zip(walls, cpus, strict=True)]


def _good_enough(walls: Sequence[Sequence[float]], relative: float) -> bool:
    return all(median_error(samples) <= relative * float(np.median(samples)) for samples in walls)
