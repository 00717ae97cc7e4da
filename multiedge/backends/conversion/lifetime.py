"""How long the process of a conversion lives: not longer than its limit, nor than the process that waits for it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""Of <sys/prctl.h>."""
SAID = "said"


class LimitError(Exception):
    """The process took longer than its limit, and was stopped."""


def run_limited(command: Sequence[str], environment: Mapping[str, str], scratch: Path, limit_s: float) -> tuple[int, str]:
    """Runs a command in a process group of its own, with its temporary files in `scratch`: exit status, and its last line.

    Whatever the command has started ends with it. LimitError if it takes longer than `limit_s`.
    """
    with (scratch / SAID).open("wb") as said:
        process = subprocess.Popen(
            command,
            env={**environment, "TMPDIR": str(scratch)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise LimitError from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    lines = (scratch / SAID).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return process.returncode, lines[-1] if lines else "no message"


def end_with(parent: int) -> None:
    """This process ends when the process `parent`, which has started it, does. No effect where the system is not Linux."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before the line above
        os._exit(1)


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Keeps other processes that call this for the same file waiting until the block ends.

    The kernel ends the wait if this process ends, and nothing is left in the folder. Without locks in the file system, no
    process waits.
    """
    try:
        import fcntl  # which Windows lacks
    except ImportError:
        yield
        return
    with path.open("rb") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
