"""What a worker shows of itself, in shared memory: reading it costs the worker nothing and works while it hangs."""

from __future__ import annotations

import math
import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path

from multiedge.errors import PlanError
from multiedge.executors.flow.stage_loop import MOST_JOINED
from multiedge.executors.workers.observation import Busy
from multiedge.meters.memory import MemoryReading, resident_bytes
from multiedge.transports.rundir import file_of, reserve

MOST_TRANSFERS = 2048
LONGEST_END_S = 5.0
"""A worker over its limit goes on after so long: it may have been a moment between two looks of the supervisor."""
_FIXED = 10
_HEARTBEAT_S, _BUSY_SINCE_S, _BUSY_STAGE, _BUSY_ITEMS, _RESIDENT, _PEAK, _ANONYMOUS, _FILE, _GPU_PEAK, _CPU_S = range(_FIXED)
_ITEMS, _SENT, _TAKEN = _FIXED, _FIXED + MOST_JOINED, _FIXED + MOST_JOINED + MOST_TRANSFERS
_CELLS = _FIXED + MOST_JOINED + 2 * MOST_TRANSFERS


class Board:
    """A worker's numbers, of which it is the only writer. Messages are counted by transfer, from 0 in each epoch."""

    def __init__(self, directory: Path, device: str, memory_limit_bytes: int | None = None) -> None:
        self._limit_bytes = math.inf if memory_limit_bytes is None else memory_limit_bytes
        path = file_of(directory, "board", device)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            reserve(fd, 8 * _CELLS, path)
            # A view of the bytes: an array of numpy takes longer for every single number.
            self._cells: memoryview[float] = memoryview(mmap.mmap(fd, 8 * _CELLS)).cast("d")
        finally:
            os.close(fd)

    def clear(self) -> None:
        self._cells[:] = memoryview(bytes(8 * _CELLS)).cast("d")

    # -- by the worker ----------------------------------------------------------------------------------------------

    def begin_epoch(self, transfers: int) -> None:
        """Counts messages from 0 again; PlanError for a plan with more transfers than there is room for."""
        if transfers > MOST_TRANSFERS:
            raise PlanError(f"the plan has {transfers} transfers; the processes executor takes up to {MOST_TRANSFERS}")
        self._cells[_SENT:] = memoryview(bytes(8 * 2 * MOST_TRANSFERS)).cast("d")

    def count_sent(self, transfer: int) -> None:
        self._cells[_SENT + transfer] += 1.0

    def count_taken(self, transfer: int) -> None:
        self._cells[_TAKEN + transfer] += 1.0

    def show_busy(self, stage: int, sequences: Sequence[int], since_s: float) -> None:
        cells = self._cells
        for place, sequence in enumerate(sequences, _ITEMS):
            cells[place] = sequence
        cells[_BUSY_STAGE], cells[_BUSY_ITEMS], cells[_BUSY_SINCE_S] = stage, len(sequences), since_s

    def show_computed(self) -> None:
        """Waits for its end if the worker takes more than its device has: the item that took it is charged, no later one."""
        if self._limit_bytes < math.inf and (resident_bytes() or 0) > self._limit_bytes:
            time.sleep(LONGEST_END_S)

    def show_idle(self) -> None:
        self._cells[_BUSY_SINCE_S] = 0.0

    def beat(self, now_s: float, memory: MemoryReading, gpu_peak_bytes: int | None = None) -> None:
        """A sign of life."""
        cells = self._cells
        cells[_RESIDENT], cells[_PEAK] = memory.resident_bytes or 0, memory.peak_bytes or 0
        cells[_ANONYMOUS], cells[_FILE] = memory.anonymous_bytes or 0, memory.file_bytes or 0
        cells[_GPU_PEAK] = gpu_peak_bytes or 0
        cells[_CPU_S] = time.process_time()
        cells[_HEARTBEAT_S] = now_s

    # -- by the supervisor ------------------------------------------------------------------------------------------

    @property
    def heartbeat_s(self) -> float | None:
        """The last sign of life (CLOCK_MONOTONIC); None before the first."""
        return self._cells[_HEARTBEAT_S] or None

    @property
    def cpu_s(self) -> float | None:
        """Processor time as of the last sign of life; None before the first."""
        return self._cells[_CPU_S] or None

    def busy(self, now_s: float) -> Busy | None:
        since_s = self._cells[_BUSY_SINCE_S]
        if not since_s:
            return None
        first, *others = map(int, self._cells[_ITEMS : _ITEMS + max(1, int(self._cells[_BUSY_ITEMS]))])
        return Busy(int(self._cells[_BUSY_STAGE]), first, now_s - since_s, tuple(others))

    @property
    def memory(self) -> MemoryReading:
        """As of the last sign of life."""
        peak, resident, anonymous, mapped = (int(self._cells[cell]) or None for cell in (_PEAK, _RESIDENT, _ANONYMOUS, _FILE))
        return MemoryReading(peak, resident, anonymous, mapped, "VmHWM at its last sign of life" if peak else "not measured")

    @property
    def gpu_peak_bytes(self) -> int | None:
        """The largest GPU memory that was read; None where none was."""
        return int(self._cells[_GPU_PEAK]) or None

    def counts(self, transfers: int) -> tuple[list[float], list[float]]:
        """Messages sent and taken, of the first so many transfers."""
        return list(self._cells[_SENT : _SENT + transfers]), list(self._cells[_TAKEN : _TAKEN + transfers])
