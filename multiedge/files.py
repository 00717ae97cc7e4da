"""Atomic writing of files, and temporary folders: a reader of a path sees the old file or the new one, never a part of it.

A file is written under a temporary name in the same folder and renamed when it is complete. By default its bytes reach the
disk before the rename, so that a power failure leaves the old or the new file too.

Names of temporary files and folders hold the process that made them, so that a later process can remove what a killed one has
left.
"""

from __future__ import annotations

import errno
import os
import platform
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from multiedge.errors import ConfigError, MultiedgeError, lower_first

PathLike = str | os.PathLike[str]

TEMPORARY = ".*.partial"
"""The pattern of temporary files; a killed process can leave one behind."""
OWNED = "multiedge-"
"""The beginning of the names of temporary folders, before `owner`."""

LOCK = "lock"
"""The file in a data folder that the process has open which uses the folder."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_text(path: PathLike, text: str, *, error: type[MultiedgeError] = ConfigError) -> Path:
    """Replaces a file atomically by `text` in UTF-8; makes its folder. Returns the path, raises `error` as `replacing` does."""
    return write_bytes(path, text.encode(), error=error)


def write_bytes(path: PathLike, data: bytes, *, error: type[MultiedgeError] = ConfigError) -> Path:
    """Replaces a file atomically by `data`; makes its folder. Returns the path, raises `error` as `replacing` does."""
    with replacing(path, error=error) as file:
        file.write(data)
    return Path(path)


@contextmanager
def replacing(
    path: PathLike, *, error: type[MultiedgeError] = ConfigError, mode: int = 0o666, sync: bool = True
) -> Iterator[BinaryIO]:
    """A new file, open for writing, that takes the place of `path` when the block ends, and is removed if the block fails.

    Its folder is made; a link is followed. `mode` are its permissions, less the umask. Without `sync` a power failure may
    leave an empty or short file: for files that are checked by a digest, or can be made again. What the system refuses is
    an `error` of one line; errors of the block's own pass through.
    """
    with _explained(path, error):
        target, temporary, file = _open_draft(path, error, mode)
    try:
        with file:
            yield file
            with _explained(path, error):
                file.flush()
                if sync:
                    os.fsync(file.fileno())
        with _explained(path, error):
            os.replace(temporary, target)
    except OSError as failure:
        if failure.errno in _FULL:
            raise _refusal(path, failure, error) from failure
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def require_writable(path: PathLike, *, error: type[MultiedgeError] = ConfigError) -> None:
    """Raises `error` if a file cannot be written to `path`, before the work whose result it is to hold. Makes its folder."""
    with _explained(path, error):
        _, temporary, file = _open_draft(path, error, 0o600)
        file.close()
        temporary.unlink()


def _open_draft(path: PathLike, error: type[MultiedgeError], mode: int) -> tuple[Path, Path, BinaryIO]:
    """The file that `path` stands for, and a new one beside it, open for writing."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise error(f"{path}: is {'a folder' if target.is_dir() else 'no regular file'}; expected a path for a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans_once(target.parent)
    temporary = target.with_name(f".{owner()}-{secrets.token_hex(8)}.partial")
    return target, temporary, open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode))


def cache_folder(kind: str) -> Path:
    """Where results of that kind are kept between runs, in the user's folder for caches; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "multiedge" / kind


def data_folder(kind: str) -> Path:
    """Where data of that kind is kept for good, in the user's folder for data; it may not exist yet."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "multiedge" / kind


def lock_folder(folder: Path, holder: str) -> BinaryIO:
    """An open file in the folder, which is made, that keeps other processes from it until it is closed.

    ConfigError if another `holder`, as the error calls it, uses the folder, or if it cannot be written.
    """
    import fcntl  # which Windows lacks

    with _explained(folder, ConfigError):
        folder.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(folder / LOCK, os.O_WRONLY | os.O_CREAT, 0o600), "wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ConfigError(f"{folder}: another {holder} uses this folder; end it, or choose another with --data") from None
    return file


@contextmanager
def temporary_folder(purpose: str, root: PathLike | None = None) -> Iterator[Path]:
    """A new folder below `root`, by default among the system's temporary files, that is removed when the block ends."""
    folder = make_owned_folder(Path(root or tempfile.gettempdir()), purpose)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_owned_folder(root: Path, purpose: str = "") -> Path:
    """A new folder in `root`, readable by its owner alone, after removing those whose process has ended."""
    remove_orphans(root)
    return Path(tempfile.mkdtemp(prefix=f"{OWNED}{owner()}-{purpose}", dir=root))


def remove_orphans(root: Path) -> None:
    """Removes temporary folders and files in `root` of processes that do not exist any more."""
    for path in root.glob(f"{OWNED}*-*"):
        if is_orphan(path.name.removeprefix(OWNED)):
            shutil.rmtree(path, ignore_errors=True)
    for path in root.glob(TEMPORARY):
        if is_orphan(path.name.removeprefix(".")):
            path.unlink(missing_ok=True)


def owner(pid: int | None = None) -> str:
    """What names of temporary files hold: the process, by default this one, and the host and PID namespace of its id."""
    return f"{os.getpid() if pid is None else pid}.{_pid_namespace()}"


def is_orphan(name: str) -> bool:
    """Whether `name`, which begins with an `owner`, is of a process of this host and namespace that does not exist any more."""
    pid, _, namespace = name.split("-")[0].partition(".")
    return pid.isdecimal() and namespace == _pid_namespace() and not _is_alive(int(pid))


@lru_cache(maxsize=1)
def _pid_namespace() -> str:
    """Containers and hosts may share a file system, where one's process ids mean nothing to the other. The first namespace has
    the same number on every host, so that the host's name counts too."""
    try:
        number = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # no /proc: the host alone
        number = 0
    return f"{number ^ zlib.crc32(os.fsencode(platform.node())):x}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        # The process of another user, or a number that is no process id: what it owns must not be removed.
        return True
    return not _has_ended(pid)


def _has_ended(pid: int) -> bool:
    """Whether the process has ended and only its parent has not asked for its status; False without /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


@lru_cache(maxsize=256)
def _remove_orphans_once(folder: Path) -> None:
    """Removes what killed processes left in `folder`; once per process, since a folder may have many files."""
    remove_orphans(folder)


@contextmanager
def _explained(path: PathLike, error: type[MultiedgeError]) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise _refusal(path, failure, error) from failure
    except ValueError as failure:
        raise error(f"{str(path)!r}: a path cannot hold a null character") from failure


def _refusal(path: PathLike, failure: OSError, error: type[MultiedgeError]) -> MultiedgeError:
    remedy = "free some space" if failure.errno in _FULL else "choose another path"
    return error(f"{path}: cannot be written: {lower_first(failure.strerror or 'unknown reason')}; {remedy}")
