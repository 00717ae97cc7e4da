"""Copies of arrays, for callers that keep them, in memory that is used again.

The pages of new memory are cleared by the system, with one page fault for each: for an array of 600 KB this takes several times
as long as to copy it. So a copy's memory is used again when the copy, and everything that refers to it, has gone.
"""

from __future__ import annotations

import mmap
import weakref
from collections import deque

import numpy as np

from multiedge.executors.flow.contract import Array

LEAST_BYTES = 65_536
"""The memory of smaller arrays is kept by the allocator."""
MOST_KEPT = 16
"""Pieces of memory of one size that wait to be used again."""
MOST_SIZES = 8


class Copies:
    """Copies of arrays that belong to who gets them."""

    def __init__(self) -> None:
        self._unused: dict[int, deque[mmap.mmap]] = {}

    def of(self, array: Array) -> Array:
        """A writable copy with the same dtype and shape."""
        if array.nbytes < LEAST_BYTES or array.dtype.hasobject:
            return np.array(array)
        unused = self._pieces(array.nbytes)
        memory = unused.pop() if unused else mmap.mmap(-1, array.nbytes)
        # The memory is no array: numpy lets every view of the copy refer to the copy, so it goes last.
        copy: Array = np.ndarray(array.shape, array.dtype, memory)
        copy[...] = array
        weakref.finalize(copy, unused.append, memory).atexit = False
        return copy

    def _pieces(self, nbytes: int) -> deque[mmap.mmap]:
        if nbytes not in self._unused:
            if len(self._unused) >= MOST_SIZES:
                self._unused.clear()
            self._unused[nbytes] = deque(maxlen=MOST_KEPT)
        return self._unused[nbytes]
