"""Judging workers: how long a stage may take, what is wrong with a device, and when it may try again."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from multiedge.executors.workers.board import BUSY_SINCE_S, BUSY_STAGE, RESIDENT, Board
from multiedge.executors.workers.options import Deadlines, StageDeadlines
from multiedge.fleet import Device
from multiedge.plan import Manifest

SAMPLES = 256
ENOUGH = 20
"""Observed times of a stage before they say more than its profile."""


class StageClock:
    """How long each stage may take for an item: a multiple of its 99th percentile.

    `expected_s` holds what the plan expects by stage; observed times replace it once there are enough. An observed
    time counts per device, because a stage that moves to a slower one takes longer without fault.
    """

    def __init__(self, deadlines: StageDeadlines, expected_s: Mapping[int, float]) -> None:
        self._deadlines = deadlines
        self._expected_s = expected_s
        self._seen: dict[tuple[int, str], deque[float]] = {}
        self._patience: dict[int, float] = {}

    def was_slow(self, stage: int) -> None:
        """Doubles what the stage may take: if every device is slower than expected, one of them must still finish."""
        self._patience[stage] = 2 * self._patience.get(stage, 1.0)

    def saw(self, stage: int, device: str, seconds: float) -> None:
        self._seen.setdefault((stage, device), deque(maxlen=SAMPLES)).append(seconds)

    def limit_s(self, stage: int, device: str) -> float:
        """Seconds after which the stage on that device counts as failed."""
        return self._patience.get(stage, 1.0) * self._usual_limit_s(stage, device)

    def _usual_limit_s(self, stage: int, device: str) -> float:
        seen = self._seen.get((stage, device), ())
        if len(seen) >= ENOUGH:
            p99 = float(np.percentile(np.asarray(seen), 99))
        elif stage in self._expected_s:
            # The plan's figure is for the planned device and unloaded; the first items are the slowest.
            return max(self._deadlines.first_s, self._deadlines.factor * self._expected_s[stage])
        else:
            return self._deadlines.first_s
        return max(self._deadlines.floor_s, self._deadlines.factor * p99)


def expected_seconds(manifest: Manifest) -> dict[int, float]:
    """Seconds per stage as the plan expects them; empty if it does not say."""
    return {number: costs.compute_s for number, costs in enumerate(manifest.plan.estimate.stages)} if manifest.plan else {}


@dataclass
class Breaker:
    """A circuit breaker per device: after each failure in a row it stays open twice as long."""

    cooldown_s: float
    failures: dict[str, int] = field(default_factory=dict)
    closed_from_s: dict[str, float] = field(default_factory=dict)

    def failed(self, device: str, now_s: float) -> None:
        self.failures[device] = self.failures.get(device, 0) + 1
        self.closed_from_s[device] = now_s + self.cooldown_s * 2 ** min(self.failures[device] - 1, 10)

    def allows(self, device: str, now_s: float) -> bool:
        return now_s >= self.closed_from_s.get(device, 0.0)

    def worked(self, device: str) -> None:
        """The device has answered items again: its failures are forgotten."""
        self.failures.pop(device, None)


def complaint(
    device: Device, board: Board, silent_s: float, clock: StageClock, now_s: float, deadlines: Deadlines, watch_memory: bool
) -> tuple[str, str] | None:
    """What is wrong with a worker that runs: (kind, detail), or None."""
    if silent_s > deadlines.heartbeat_s:
        return "hang", f"no sign of life for {silent_s:.1f} s"
    resident = int(board.cells[RESIDENT])
    if watch_memory and resident > device.memory_bytes:
        return "memory", over_memory(device, resident)
    since, stage = float(board.cells[BUSY_SINCE_S]), int(board.cells[BUSY_STAGE])
    if since and now_s - since > min(deadlines.floor_s, deadlines.first_s):
        limit_s = clock.limit_s(stage, device.name)
        if now_s - since > limit_s:
            return "slow", f"stage {stage} runs for {now_s - since:.1f} s; it may take {limit_s:.1f} s"
    return None


def over_memory(device: Device, resident: int) -> str:
    return f"takes {resident / 2**20:.1f} MiB and has {device.memory_bytes / 2**20:.1f} MiB"
