"""Weights that a runtime maps from a file and packs into memory of its own: what it has read goes back to the system.

Pages of a mapped file count as memory of the process until the system reclaims them, which it does only when it has no other. A
runtime that reads each weight once, to pack it, would hold all of them twice.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MADV_DONTNEED = 4
"""Of <sys/mman.h>."""
PERIOD_S = 0.005
MAPS = Path("/proc/self/maps")


@contextmanager
def read_pages_returned(path: Path, period_s: float = PERIOD_S) -> Iterator[None]:
    """For the time inside, pages of the file that this process maps go back to the system soon after they are read.

    They are read from the file again when they are needed. No effect without /proc.
    """
    if not MAPS.exists():
        yield
        return
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(period_s):
            return_pages(path)

    thread = threading.Thread(target=repeat, name="pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        return_pages(path)


def return_pages(path: Path) -> int:
    """Gives all pages of the file back that are mapped without the right to write; how many bytes of addresses these are."""
    madvise, name, count = ctypes.CDLL(None).madvise, str(path.resolve()), 0
    for line in MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        addresses, permissions, *_ = line.split(maxsplit=2)
        if line.endswith(name) and "w" not in permissions:
            first, last = (int(address, 16) for address in addresses.split("-"))
            madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), MADV_DONTNEED)
            count += last - first
    return count
