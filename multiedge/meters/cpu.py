"""Processor time of a process and of the whole machine, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from multiedge.meters.memory import PROC

_STATE, _UTIME, _STIME = 0, 11, 12
"""Fields of /proc/PID/stat, counted after the name of the program; those of a thread are the same."""
_IDLE, _WAITING_FOR_DISK, _STEAL, _COUNTED = 3, 4, 7, 8
"""Fields of a line of /proc/stat. What follows these is counted in them already."""


@dataclass(frozen=True)
class HostTime:
    """Seconds of some processors since the machine was started: computing, and taken by other machines of the same host."""

    busy_s: float
    steal_s: float

    def __sub__(self, before: HostTime) -> HostTime:
        return HostTime(self.busy_s - before.busy_s, self.steal_s - before.steal_s)


def process_cpu_s(pid: int | str = "self", proc: Path = PROC) -> float | None:
    """Processor time that all threads of a process have used; None if it has ended, or the system does not show it."""
    try:
        fields = _fields_of(proc / str(pid))
        return (int(fields[_UTIME]) + int(fields[_STIME])) / _ticks_per_s()
    except (OSError, IndexError, ValueError):
        return None


def process_waited_s(pid: int | str = "self", proc: Path = PROC) -> float | None:
    """For how long the main thread of a process was ready to compute and had no processor; None if it has ended, or the system
    does not show it."""
    try:
        return int((proc / str(pid) / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


def thread_states(pid: int | str = "self", proc: Path = PROC) -> frozenset[str] | None:
    """The states that threads of a process are in, such as 'R' (computes or is ready to), 'S' (sleeps), 'D' (waits for a disk),
    'T' (stopped by a signal), 't' (stopped by a debugger); None if it has ended, or the system does not show them."""
    states = set()
    try:
        for thread in (proc / str(pid) / "task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
                states.add(_fields_of(thread)[_STATE].decode())
    except (OSError, IndexError):
        return None
    return frozenset(states) or None


def own_processors() -> list[int]:
    """Numbers of the processors that this process, and those that it starts, may use; ascending."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def read_host_time(processors: Collection[int], proc: Path = PROC) -> HostTime | None:
    """What these processors of this machine have done so far; None where the system does not show it."""
    try:
        lines = [line.split() for line in (proc / "stat").read_text(errors="replace").splitlines()]
        wanted = {f"cpu{number}" for number in processors}
        each = [[int(field) for field in fields[:_COUNTED]] for name, *fields in filter(None, lines) if name in wanted]
    except (OSError, ValueError):
        return None
    if len(each) < len(wanted) or any(len(fields) < _COUNTED for fields in each):
        return None
    ticks = [sum(fields) for fields in zip(*each, strict=True)]
    busy = sum(ticks) - ticks[_IDLE] - ticks[_WAITING_FOR_DISK] - ticks[_STEAL]
    return HostTime(busy / _ticks_per_s(), ticks[_STEAL] / _ticks_per_s())


def _fields_of(process: Path) -> list[bytes]:
    # The name of the program is in brackets and may hold anything, brackets too.
    return (process / "stat").read_bytes().rpartition(b")")[2].split()


def _ticks_per_s() -> int:
    return os.sysconf("SC_CLK_TCK")
