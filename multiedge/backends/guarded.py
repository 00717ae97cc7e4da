"""Sessions that map their weights from files: answers end when such a file is written to.

A file that another program overwrites in place changes under a session that has mapped it, whose answers are then wrong. A
write changes the time of the file before the first byte, so an answer is right if the time is still the old one after it was
computed. A file that is replaced by another one of its name stays as it was for who has it open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from multiedge.backends.contract import Array, Provider, Session, Tensors
from multiedge.errors import ChangedError


class OpenFiles:
    """Files, held open, as they were when this was made. OSError for one that cannot be opened."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files: list[tuple[int, Path, tuple[int, int]]] = []
        for path in paths:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._files.append((fd, path, _state(fd)))

    def require_unchanged(self) -> None:
        """ChangedError that names the first file that was written to. It takes about a microsecond for each file."""
        for fd, path, state in self._files:
            if _state(fd) != state:
                raise ChangedError(f"{path.parent}: '{path.name}' has changed since it was loaded; write the parts again")

    def __len__(self) -> int:
        return len(self._files)

    def close(self) -> None:
        for fd, _, _ in self._files:
            os.close(fd)
        self._files.clear()


class GuardedSession:
    """A session that gives answers only while the files that it maps are unchanged; after that, `run` raises ChangedError."""

    def __init__(self, session: Session, files: OpenFiles) -> None:
        self._session, self._files = session, files
        self.inputs, self.outputs = session.inputs, session.outputs
        self.batch_is_free = session.batch_is_free

    @property
    def provider(self) -> Provider:
        return self._session.provider

    def run(self, tensors: Tensors) -> dict[str, Array]:
        outputs = self._session.run(tensors)
        self._files.require_unchanged()
        return outputs

    def close(self) -> None:
        self._session.close()
        self._files.close()


def _state(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_size, status.st_mtime_ns
