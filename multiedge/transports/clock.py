"""The clock of a run: that of its caller, wherever a worker is."""

from __future__ import annotations

import time


class RunClock:
    """CLOCK_MONOTONIC of the caller, in seconds: this machine's plus an offset, which is 0 on the caller's machine."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.offset_s
