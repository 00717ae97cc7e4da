"""The folder of a run, with the files that its processes share, and its removal.

It is in shared memory (/dev/shm) where there is any, otherwise among temporary files. Its name holds the id of the process
that made it, so that a later run can remove the folder of one that was killed together with all of its workers.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from multiedge.errors import PipelineError, lower_first
from multiedge.files import make_owned_folder, remove_orphans

SHARED = Path("/dev/shm")
LEAST_FREE_BYTES = 16 << 20
"""With less free memory than this in SHARED, messages go through pipes."""
MOST_WAITING = 1024
"""Messages that may be queued for one process. Twice as many records fit into a pipe of 64 KiB, since those of an ended
placement may still be in it."""

MOST_CHARACTERS = 32
"""Characters of a device's name in a file's name: the path of a Unix socket has at most 107 bytes. A longer name ends in its
digest."""


def has_shared_memory(root: Path = SHARED) -> bool:
    """Whether `root` can be written and has some room."""
    if not (root.is_dir() and os.access(root, os.W_OK | os.X_OK)):
        return False
    status = os.statvfs(root)
    return status.f_bavail * status.f_frsize >= LEAST_FREE_BYTES and (status.f_favail > 0 or status.f_files == 0)


def reserve(fd: int, size: int, path: Path) -> None:
    """Gives a file its pages now: writing to a mapping on a full file system ends the process without an error message.

    PipelineError, one line, if there is no room for them.
    """
    try:
        allocate: Any = getattr(os, "posix_fallocate", None)
        if allocate:
            allocate(fd, 0, size)
        else:
            os.ftruncate(fd, size)
    except OSError as error:
        raise PipelineError(
            f"{path.parent}: no room for {size / 2**20:.1f} MiB ({error.strerror});"
            " free shared memory, lower --depth, or use --transport pipe"
        ) from error


def elsewhere(path: Path, full: PipelineError) -> Path:
    """A new file on disk to which `path`, in a run's folder, leads from now on; raises `full` if that is not possible."""
    folder = _on_disk(path.parent)
    if folder == path.parent:
        raise full
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(folder / path.name)
    except OSError:
        raise full from None
    return folder / path.name


def unlink(path: Path) -> None:
    """Removes a file of the run's folder, wherever it is."""
    if path.is_symlink():
        (_on_disk(path.parent) / path.name).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def bytes_elsewhere(directory: Path) -> int:
    """Bytes of the run's files that had no room in its folder."""
    folder = _on_disk(directory)
    return 0 if folder == directory or not folder.is_dir() else sum(path.stat().st_size for path in folder.iterdir())


def _on_disk(directory: Path) -> Path:
    return Path(tempfile.gettempdir()) / directory.name


def make(root: Path | None = None) -> Path:
    """A new folder, readable by its owner alone, after removing those whose process has ended."""
    root = root or (SHARED if has_shared_memory() else Path(tempfile.gettempdir()))
    remove_orphans(Path(tempfile.gettempdir()))
    try:
        return make_owned_folder(root)
    except OSError as error:
        raise PipelineError(f"{root}: no folder can be made for the run: {lower_first(error.strerror or 'unknown')}") from error


def remove(directory: Path) -> None:
    """Removes the folder if it exists: any process of a run may be the last one."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.rmtree(_on_disk(directory), ignore_errors=True)


def file_of(directory: Path, kind: str, name: str) -> Path:
    """The file that belongs to a device; any name gives a safe file name, short enough for the path of a socket."""
    safe = quote(name, safe="")
    if len(safe) > MOST_CHARACTERS:
        safe = f"{safe[: MOST_CHARACTERS - 17]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return directory / f"{kind}-{safe}"
