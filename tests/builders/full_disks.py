"""File systems of a few bytes, which real disks and shared memory become when they are full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(path: Path, nbytes: int) -> Iterator[Path]:
    """A file system with so much room at `path`; OSError where none can be mounted."""
    path.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={nbytes}", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        raise OSError(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


@contextmanager
def small_disk(path: Path, nbytes: int) -> Iterator[Path]:
    """The same for a test, which is skipped where none can be mounted."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(mounted(path, nbytes))
        except OSError as error:
            pytest.skip(str(error))
        yield disk
