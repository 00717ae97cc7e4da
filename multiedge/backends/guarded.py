"""Sessions that map their weights from files: answers end when such a file is written to.

A file that another program overwrites in place changes under a session that has mapped it, whose answers are then wrong. A
write changes the time of the file before the first byte, so an answer is right if the time is still the old one after it was
computed. A file that is replaced by another one of its name stays as it was for who has it open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from multiedge.backends.contract import (
    Array,
    Batching,
    DirectSession,
    ItemsSession,
    Provider,
    SequenceSession,
    Session,
    Tensors,
)
from multiedge.errors import ChangedError
from multiedge.transports.message import ArraySpec


class OpenFiles:
    """Files, held open, as they were when this was made; `remedy` is for the error. OSError for one that cannot be opened."""

    def __init__(self, paths: Iterable[Path], remedy: str = "write the parts again") -> None:
        self._remedy = remedy
        self._files: list[tuple[int, Path, tuple[int, int]]] = []
        for path in paths:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._files.append((fd, path, _state(fd)))

    def require_unchanged(self) -> None:
        """ChangedError that names the first file that was written to. It takes about a microsecond for each file."""
        for fd, path, state in self._files:
            if _state(fd) != state:
                raise ChangedError(f"{path.parent}: '{path.name}' has changed since it was loaded; {self._remedy}")

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


class GuardedDirectSession(GuardedSession):
    """The same for a session that writes outputs where they are needed."""

    def __init__(self, session: DirectSession, files: OpenFiles) -> None:
        super().__init__(session, files)
        self._direct = session

    @property
    def fixed(self) -> Mapping[str, ArraySpec]:
        return self._direct.fixed

    def run_into(self, tensors: Tensors, places: Mapping[str, Array]) -> dict[str, Array]:
        outputs = self._direct.run_into(tensors, places)
        self._files.require_unchanged()
        return outputs


class GuardedSequenceSession(GuardedSession):
    """The same for a session that keeps the states of sequences."""

    def __init__(self, session: SequenceSession, files: OpenFiles) -> None:
        super().__init__(session, files)
        self._sequences = session

    def repeats(self, tensors: Tensors) -> bool:
        return self._sequences.repeats(tensors)

    @property
    def joins(self) -> bool:
        return self._sequences.joins

    def run_together(self, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        outputs = self._sequences.run_together(items)
        self._files.require_unchanged()
        return outputs


class GuardedItemsSession(GuardedSession):
    """The same for a session that takes several items."""

    def __init__(self, session: ItemsSession, files: OpenFiles) -> None:
        super().__init__(session, files)
        self._joining = session

    @property
    def batching(self) -> Batching:
        return self._joining.batching

    def computes(self, tensors: Tensors) -> bool:
        return self._joining.computes(tensors)

    def run_items(self, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        outputs = self._joining.run_items(items)
        self._files.require_unchanged()
        return outputs


def guarded(session: Session, files: OpenFiles) -> Session:
    """The session with its answers guarded; what else `session` can do, the guarded one can, too."""
    if isinstance(session, SequenceSession):
        return GuardedSequenceSession(session, files)
    if isinstance(session, ItemsSession):
        return GuardedItemsSession(session, files)
    return GuardedDirectSession(session, files) if isinstance(session, DirectSession) else GuardedSession(session, files)


def _state(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_size, status.st_mtime_ns
