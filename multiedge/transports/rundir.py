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
from urllib.parse import quote

SHARED = Path("/dev/shm")
PREFIX = "multiedge-"
MOST_WAITING = 1024
"""Messages that may be queued for one process. Twice as many records fit into a pipe of 64 KiB, since those of an ended
placement may still be in it."""

MOST_CHARACTERS = 32
"""Characters of a device's name in a file's name: the path of a Unix socket has at most 107 bytes. A longer name ends in its
digest."""


def has_shared_memory(root: Path = SHARED) -> bool:
    return root.is_dir() and os.access(root, os.W_OK | os.X_OK)


def make(root: Path | None = None) -> Path:
    """A new folder, readable by its owner alone, after removing those whose process has ended."""
    root = root or (SHARED if has_shared_memory() else Path(tempfile.gettempdir()))
    remove_orphans(root)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=root))


def remove(directory: Path) -> None:
    """Removes the folder if it exists: any process of a run may be the last one."""
    shutil.rmtree(directory, ignore_errors=True)


def remove_orphans(root: Path) -> None:
    """Removes folders of runs whose process does not exist any more."""
    for path in root.glob(f"{PREFIX}*-*"):
        if is_orphan(path.name):
            remove(path)


def is_orphan(name: str) -> bool:
    """Whether `name` holds the id of a process that does not exist any more."""
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
        # The process of another user, or a number that is no process id: that folder must not be removed.
        return True
    return True
