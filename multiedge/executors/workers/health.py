"""Judging workers: how long a stage may take, what is wrong with a device, and when it may try again."""

from __future__ import annotations

from dataclasses import dataclass, field

from multiedge.executors.flow.stage_clock import StageClock
from multiedge.executors.workers.board import Board
from multiedge.executors.workers.options import Deadlines
from multiedge.fleet import Device


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
    resident = board.memory.resident_bytes or 0
    if watch_memory and device.memory_bytes is not None and resident > device.memory_bytes:
        return "memory", over_memory(resident, device.memory_bytes)
    busy = board.busy
    if busy and now_s - busy.since_s > min(deadlines.floor_s, deadlines.first_s):
        limit_s = clock.limit_s(busy.stage, device.name)
        if now_s - busy.since_s > limit_s:
            return "slow", f"stage {busy.stage} runs for {now_s - busy.since_s:.1f} s; it may take {limit_s:.1f} s"
    return None


def over_memory(resident_bytes: int, limit_bytes: int) -> str:
    return f"takes {resident_bytes / 2**20:.1f} MiB and has {limit_bytes / 2**20:.1f} MiB"
