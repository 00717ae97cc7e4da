"""Outputs that a server keeps for the servers of later stages."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from multiedge.transports.open_inference import Array

LONGEST_S = 300.0
"""Nothing is kept for longer: its caller has gone."""


@dataclass(frozen=True)
class Entry:
    """A kept tensor, and when it was made."""

    array: Array
    since_s: float


class KeptOutputs:
    """Tensors by random key, up to `limit_bytes` of them: older ones make room, and who wants them makes them again."""

    def __init__(self, limit_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_bytes, self._now = limit_bytes, clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Size of all that is kept."""
        return sum(entry.array.nbytes for entry in self._entries.values())

    def put(self, array: Array) -> str:
        """The key of a tensor that is kept from now on."""
        key, now = uuid.uuid4().hex, self._now()
        with self._lock:
            self._entries[key] = Entry(array, now)
            oldest = next(iter(self._entries))
            while oldest != key and (self.nbytes > self._limit_bytes or self._entries[oldest].since_s < now - LONGEST_S):
                del self._entries[oldest]
                oldest = next(iter(self._entries))
        return key

    def get(self, key: str) -> Array:
        """The tensor; KeyError if it is not kept any more."""
        with self._lock:
            return self._entries[key].array

    def release(self, keys: Iterable[str]) -> None:
        """Forgets tensors; keys that are not known do not matter."""
        with self._lock:
            for key in keys:
                self._entries.pop(key, None)
