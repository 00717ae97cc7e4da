"""Timing actions in turn until the medians are known well enough: wall and CPU time, warm-up left out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from multiedge.profile import Floats

Progress = Callable[[str, float], None]
"""Called now and then with the present step and the share of the work that is done, 0 to 1."""


def silent(step: str, share: float) -> None:
    """A Progress that shows nothing."""


Z_95 = 1.96
BLOCK_S = 0.03
MOST_IN_A_ROW = 20


@dataclass(frozen=True)
class Accuracy:
    """When to stop: the 95 % confidence interval of every median is narrower than +-`relative`, `budget_s` is spent, or
    `most` rounds are done; but never before `least` rounds. `warmup` runs come first and are not counted. Each run comes after
    a pause of `pause_s`, for what does not run again and again: caches and clocks are those of a processor that waited."""

    relative: float = 0.02
    budget_s: float = 12.0
    least: int = 5
    most: int = 300
    warmup: int = 2
    pause_s: float = 0.0


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
    """Times the actions one after the other, round after round, so that a slow phase of the machine affects all of them.

    A stage finds its weights in the processor's caches, since it runs again and again. So short actions run several
    times in a row, and the first of these, which follows another action, is not counted.
    """
    blocks = [_Block(action, accuracy.warmup, accuracy.pause_s) for action in actions]
    began = time.monotonic()
    for done in range(1, accuracy.most + 1):
        for block in blocks:
            block.run()
        spent = time.monotonic() - began
        progress("timing", min(1.0, max(spent / max(accuracy.budget_s, 1e-9), done / accuracy.most)))
        walls = [block.walls for block in blocks]
        if done >= accuracy.least and (spent >= accuracy.budget_s or _good_enough(walls, accuracy.relative)):
            break
    return [Timing(np.array(block.walls), np.array(block.cpus)) for block in blocks]


class _Block:
    """One action, run as often in a row as BLOCK_S takes."""

    def __init__(self, action: Callable[[], object], warmup: int, pause_s: float = 0.0) -> None:
        self.action, self.pause_s = action, pause_s
        self.walls: list[float] = []
        self.cpus: list[float] = []
        seconds = BLOCK_S
        for _ in range(warmup):
            began = time.perf_counter()
            action()
            seconds = time.perf_counter() - began
        self.repeats = 1 if pause_s else max(1, min(MOST_IN_A_ROW, int(BLOCK_S / max(seconds, 1e-7))))

    def run(self) -> None:
        if self.repeats > 1:
            self.action()
        for _ in range(self.repeats):
            if self.pause_s:
                time.sleep(self.pause_s)
            cpu, wall = time.process_time(), time.perf_counter()
            self.action()
            self.walls.append(time.perf_counter() - wall)
            self.cpus.append(time.process_time() - cpu)


def _good_enough(walls: Sequence[Sequence[float]], relative: float) -> bool:
    return all(median_error(samples) <= relative * float(np.median(samples)) for samples in walls)
