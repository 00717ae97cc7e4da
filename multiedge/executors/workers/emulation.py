"""A worker that behaves as slow, and as narrow, as the device that it stands for."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from multiedge.fleet import Device

CGROUP = Path("/sys/fs/cgroup")
PERIOD_US = 10_000
"""CPU bandwidth is granted per period; a longer one would let a short stage run at full speed and then halt."""


class Pace:
    """Time dilation: stretches compute to `speed` by waiting, and keeps account of waits that took too long.

    Only slowing down can be emulated: a speed above 1 counts as 1. What is stretched is the time for which the work
    had a processor: waiting for one is the host's doing, and multiplying it would multiply the host's noise.
    """

    def __init__(self, speed: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.speed, self._now = speed, clock
        self._overslept_s = 0.0
        self._start_s = self._start_cpu_s = 0.0

    def begin(self) -> float:
        """Now, as compute begins."""
        self._start_s = self._now()
        if self.speed < 1.0:
            self._start_cpu_s = time.process_time()
        return self._start_s

    def stretch(self) -> None:
        """Returns once the compute since `begin` has taken its time over the speed."""
        if self.speed >= 1.0:
            return
        now = self._now()
        # Several threads use more processor time than has passed; then they had processors all the while.
        worked_s = min(now - self._start_s, time.process_time() - self._start_cpu_s)
        until = now + worked_s * (1.0 / self.speed - 1.0) - self._overslept_s
        if until > now:
            time.sleep(until - now)
        self._overslept_s = max(0.0, self._now() - until)


def assign_cores(devices: Sequence[Device], cores: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Cores of its own for each device, by its threads; empty for all if there are not enough cores."""
    if sum(device.threads for device in devices) > len(cores):
        return {}
    left, by_device = list(cores), {}
    for device in devices:
        by_device[device.name] = tuple(left[: device.threads])
        del left[: device.threads]
    return by_device


def pin(cores: Sequence[int]) -> None:
    """Keeps this process, and the threads that it starts from now on, on `cores`; where the system can."""
    if cores and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cores)


class Quota:
    """A CPU cgroup (v1 or v2) that grants `share` of one core. Use `made` to see whether the system allowed it."""

    def __init__(self, name: str, share: float, root: Path = CGROUP) -> None:
        self.made = False
        self._folder: Path | None = None
        quota_us = max(1000, int(share * PERIOD_US))
        for base, files in (
            (root, {"cpu.max": f"{quota_us} {PERIOD_US}"}),
            (root / "cpu", {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}),
        ):
            if self._make(base / f"multiedge-{os.getpid()}-{name}", files):
                return

    def _make(self, folder: Path, files: dict[str, str]) -> bool:
        try:
            folder.mkdir()
        except OSError:
            return False
        self._folder = folder
        try:
            for file, text in files.items():
                if not (folder / file).exists():
                    raise FileNotFoundError(file)
                (folder / file).write_text(text, encoding="ascii")
        except OSError:
            self.close()
            return False
        self.made = True
        return True

    def add(self, pid: int) -> None:
        """Puts the process, with all its threads, under the quota."""
        if self._folder:
            (self._folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def close(self) -> None:
        """Removes the cgroup; it must be empty by then."""
        if self._folder:
            with contextlib.suppress(OSError):
                self._folder.rmdir()
        self._folder, self.made = None, False
