"""A file of the cache while its bytes are fetched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from multiedge.errors import ConfigError, lower_first
from multiedge.network.records import ByteRange
from multiedge.serving.node.intervals import Interval, Intervals, joined, without

PIECE_BYTES = 1 << 20
KEEP_BYTES = 8 << 20
"""After so many new bytes, those that are here are written to the index: what a kill may lose."""


class Draft:
    """A sparse file of `size` bytes, of which those `present` are here; `keep` writes that to its index.

    Raises:
        ConfigError: In one line, if the file cannot be written.
    """

    def __init__(self, path: Path, size: int, present: Intervals, keep: Callable[[Intervals], None]) -> None:
        self._path, self._present, self._keep, self._unkept = path, present, keep, 0
        self.is_finished = False
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._fd, size)
        except OSError as error:
            raise self._refusal(error) from error

    @property
    def present(self) -> Intervals:
        return self._present

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Takes bytes of the file."""
        view, at = memoryview(data), offset
        try:
            while at < offset + len(data):
                at += os.pwrite(self._fd, view[at - offset :], at)
        except OSError as error:
            raise self._refusal(error) from error
        self._present = joined((*self._present, Interval(offset, at)))
        self._unkept += len(data)
        if self._unkept >= KEEP_BYTES:
            self.keep()

    def copy(self, source: Path, interval: Interval) -> None:
        """Takes bytes from another file, at the same place."""
        with source.open("rb", buffering=0) as file:
            for at in range(interval.start, interval.stop, PIECE_BYTES):
                self.write(at, os.pread(file.fileno(), min(PIECE_BYTES, interval.stop - at), at))

    def holds(self, each: ByteRange) -> bool:
        """Whether these bytes of the file are those of the digest; they are read for it."""
        digest = hashlib.sha256()
        for at in range(each.offset, each.offset + each.length, PIECE_BYTES):
            digest.update(os.pread(self._fd, min(PIECE_BYTES, each.offset + each.length - at), at))
        return digest.hexdigest() == each.sha256

    def drop(self, each: ByteRange) -> None:
        """Takes bytes for absent again."""
        self._present = without(self._present, (Interval(each.offset, each.offset + each.length),))
        self._unkept = KEEP_BYTES

    def keep(self) -> None:
        """Brings what is here to the disk, then to the index."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._refusal(error) from error
        self._keep(self._present)
        self._unkept = 0

    def finish(self) -> None:
        """Says that every byte is here and verified."""
        self.keep()
        self.is_finished = True

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._unkept:
                self.keep()
        finally:
            os.close(self._fd)

    def _refusal(self, error: OSError) -> ConfigError:
        reason = lower_first(error.strerror or str(error))
        return ConfigError(f"{self._path.parent}: cannot be written: {reason}; free some space, or choose another --data")
