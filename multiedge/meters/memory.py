"""Memory of one process, as the kernel counts it.

The peak is VmHWM, the largest resident set since the process began. A forked child inherits its parent's peak and
`ru_maxrss` survives exec, so a worker must be *spawned*, and reads its own memory at its end. Anonymous and file pages are
counted separately: the kernel can reclaim weights that are mapped from a file.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

_FIELDS = {"VmHWM": "peak_bytes", "VmRSS": "resident_bytes", "RssAnon": "anonymous_bytes", "RssFile": "file_bytes"}


@dataclass(frozen=True)
class MemoryReading:
    """Bytes of one process now, and its peak so far. `method` names the counter that `peak_bytes` came from."""

    peak_bytes: int | None
    resident_bytes: int | None = None
    anonymous_bytes: int | None = None
    file_bytes: int | None = None
    method: str = "not measured"


def read_memory(pid: int | str = "self", proc: Path = PROC) -> MemoryReading:
    """The memory of a process: from /proc on Linux, otherwise from psutil, as `method` states.

    For a process that has ended, or a system without counters, the bytes are None and `method` states the reason.
    """
    try:
        return parse_status((proc / str(pid) / "status").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return _read_with_psutil(pid)


def resident_bytes(statm: Path = PROC / "self" / "statm") -> int | None:
    """What this process takes now, at a tenth of the cost of `read_memory`; None without /proc."""
    try:
        return int(statm.read_bytes().split()[1]) * mmap.PAGESIZE
    except OSError:
        return None


def parse_status(text: str) -> MemoryReading:
    """The reading in the text of /proc/PID/status; kernel threads and zombies have none.

    >>> parse_status("VmHWM:\\t    2048 kB\\nRssAnon:\\t 1024 kB\\n").peak_bytes
    2097152
    """
    counters = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in _FIELDS:
            counters[_FIELDS[name]] = int(value.split()[0]) * 1024
    if "peak_bytes" not in counters:
        return MemoryReading(None, method="not measured: the process has no VmHWM")
    return MemoryReading(**counters, method="VmHWM")


def _read_with_psutil(pid: int | str) -> MemoryReading:
    import psutil

    try:
        info = psutil.Process(None if pid == "self" else int(pid)).memory_info()
    except psutil.Error as error:
        return MemoryReading(None, method=f"not measured: {error}")
    for name in ("peak_wset", "peak_rss"):
        if hasattr(info, name):
            return MemoryReading(int(getattr(info, name)), int(info.rss), method=f"psutil {name}")
    return MemoryReading(int(info.rss), int(info.rss), method="psutil rss when read, not a peak")
