"""Atomic writing of files: a reader of the path sees the old file or the new one, never a part of it.

A file is written under a temporary name in the same folder and renamed when it is complete. By default its bytes reach the
disk before the rename, so that a power failure leaves the old or the new file too.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from multiedge.errors import ConfigError, MultiedgeError, lower_first

PathLike = str | os.PathLike[str]

TEMPORARY = ".*.partial"
"""The pattern of temporary names; a killed process can leave one behind."""

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
    temporary = target.with_name(f".{secrets.token_hex(8)}.partial")
    return target, temporary, open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode))


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
