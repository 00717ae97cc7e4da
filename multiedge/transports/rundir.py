"""The folder of a run: what its processes share, by name, and how nothing of it stays behind.

It lies in shared memory (/dev/shm) where there is any, else among temporary files. Its name holds the process that
made it, so that a later run can sweep up after one that was killed together with all of its workers.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

SHARED = Path("/dev/shm")
PREFIX = "multiedge-"
MOST_WAITING = 1024
"""Messages that may wait for one process. Twice as many records fit into a pipe of 64 KiB: those of a placement that ended
may still lie there."""

MOST_CHARACTERS = 32
"""Of a device's name in that of a file: the path of a Unix socket has 107 bytes at most. A longer name ends in its digest."""


def has_shared_memory(root: Path = SHARED) -> bool:
    return root.is_dir() and os.access(root, os.W_OK | os.X_OK)


def make(root: Path | None = None) -> Path:
    """A new folder, readable by its owner alone, after sweeping up those whose process has gone."""
    root = root or (SHARED if has_shared_memory() else Path(tempfile.gettempdir()))
    sweep(root)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=root))


def remove(directory: Path) -> None:
    """Removes the folder; one that has gone is no error, since every process of a run may be the last."""
    shutil.rmtree(directory, ignore_errors=True)


def sweep(root: Path) -> None:
    """Removes folders of runs whose process does not exist any more."""
    for path in root.glob(f"{PREFIX}*-*"):
        if is_orphan(path.name):
            remove(path)


def is_orphan(name: str) -> bool:
    """Whether `name` holds a process that does not exist any more."""
    owner = name[len(PREFIX) :].split("-")[0]
    return owner.isdecimal() and not _alive(int(owner))


def file_of(directory: Path, kind: str, name: str) -> Path:
    """The file that belongs to a device; any name gives a safe file name, short enough for the path of a socket."""
    safe = quote(name, safe="")
    if len(safe) > MOST_CHARACTERS:
        safe = f"{safe[: MOST_CHARACTERS - 17]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return directory / f"{kind}-{safe}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        # Of another user, or a number that no process ever had: such a folder is not ours to remove.
        return True
    return True
