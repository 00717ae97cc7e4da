"""What a process takes while it loads stages, kept low and predictable: freed memory goes back to the system.

By default, the C library of Linux keeps large blocks once a block of their size was freed. A runtime that lays weights out anew
frees each copy soon, so the process would keep two to four times its weights, by a factor that no plan can tell.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of <malloc.h>."""
LOADING_BYTES = 128 << 10
"""Blocks of at least this size are mapped, and unmapped when they are freed; glibc starts with this value."""
RUNNING_BYTES = 32 << 20
"""The largest value that glibc would reach by itself; items then cause no system calls for their memory."""


@contextmanager
def memory_returned() -> Iterator[None]:
    """For the time inside, memory that is freed goes back to the system; afterwards, large blocks are kept for the next item.

    For processes of our own only: it sets options of the C library. No effect where that is not glibc.
    """
    c = ctypes.CDLL(None)
    if not _is_glibc(c):
        yield
        return
    c.mallopt(M_MMAP_THRESHOLD, LOADING_BYTES)
    c.mallopt(M_TRIM_THRESHOLD, LOADING_BYTES)
    try:
        yield
    finally:
        c.malloc_trim(0)
        c.mallopt(M_MMAP_THRESHOLD, RUNNING_BYTES)
        c.mallopt(M_TRIM_THRESHOLD, 2 * RUNNING_BYTES)


def return_freed() -> None:
    """Memory that is free now goes back to the system; no setting changes. No effect where the C library is not glibc."""
    c = ctypes.CDLL(None)
    if _is_glibc(c):
        c.malloc_trim(0)


def _is_glibc(c: ctypes.CDLL) -> bool:
    return hasattr(c, "mallopt") and hasattr(c, "malloc_trim")
