"""What runs leave behind on this machine, in words, so that a target can list it before and after."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from multiedge.files import OWNED, owner
from multiedge.transports.namespaces import NAMESPACES

SHARED = Path("/dev/shm")


def processes() -> Iterator[str]:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            yield f"process {process.pid} {' '.join(process.cmdline()[:4])}"


def folders() -> Iterator[str]:
    for root in {SHARED, Path(tempfile.gettempdir())}:
        yield from (f"folder {path}" for path in root.glob(f"{OWNED}{owner()}*"))


def networks() -> Iterator[str]:
    yield from (f"network namespace {path.name}" for path in NAMESPACES.glob(f"{OWNED}{owner()}*"))
    yield from (f"interface {name}" for name in psutil.net_if_stats() if name.startswith(f"me{os.getpid()}-"))


def sockets() -> Iterator[str]:
    """Sockets, pipes and files in shared memory that this process has open."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            file = os.readlink(link)
            if file.startswith(("socket:", "pipe:", str(SHARED))):
                yield file


def listeners() -> Iterator[str]:
    """Ports on which this process takes connections."""
    for each in psutil.Process().net_connections(kind="inet"):
        if each.status == psutil.CONN_LISTEN:
            yield f"port {each.laddr.port}"
