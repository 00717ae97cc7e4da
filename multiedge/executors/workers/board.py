"""What a worker shows of itself, in shared memory: reading it costs the worker nothing and works while it hangs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multiedge.errors import PlanError
from multiedge.transports.rundir import file_of

MOST_TRANSFERS = 2048
_FIXED = 8
HEARTBEAT_S, BUSY_SINCE_S, BUSY_STAGE, BUSY_SEQUENCE, RESIDENT, PEAK, ANONYMOUS, FILE = range(_FIXED)


class Board:
    """A worker's numbers. `sent` and `taken` count the messages of this epoch by transfer; the worker is their only writer."""

    def __init__(self, directory: Path, device: str) -> None:
        size = (_FIXED + 2 * MOST_TRANSFERS) * 8
        path = file_of(directory, "board", device)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(fd, size)
        os.close(fd)
        # A plain view: a memmap runs Python code for every single number.
        self.cells: npt.NDArray[np.float64] = np.asarray(np.memmap(path, dtype=np.float64, mode="r+", shape=(size // 8,)))
        self.sent = self.cells[_FIXED : _FIXED + MOST_TRANSFERS]
        self.taken = self.cells[_FIXED + MOST_TRANSFERS :]

    def clear(self) -> None:
        self.cells[:] = 0.0

    def clear_counts(self, transfers: int) -> None:
        """Starts counting for an epoch; PlanError for a plan with more transfers than there is room for."""
        if transfers > MOST_TRANSFERS:
            raise PlanError(f"the plan has {transfers} transfers; the processes executor takes up to {MOST_TRANSFERS}")
        self.sent[:] = 0.0
        self.taken[:] = 0.0
