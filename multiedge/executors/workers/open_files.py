"""Whether this process may open as many files as its workers take."""

from __future__ import annotations

import os
import sys

from multiedge.errors import PipelineError

FILES_PER_WORKER, SPARE_FILES = 8, 32
"""More than were counted: of each worker a socket, an inbox and the slots of its messages; of the run models and logs."""


def require_open_files(workers: int, limit: int | None = None, opened: int | None = None) -> None:
    """PipelineError, before anything starts, if `workers` take more open files than this process may have.

    `limit` and `opened` are by default those of this process; where the system does not state them, nothing is checked.
    """
    limit = _limit() if limit is None else limit
    opened = _opened(limit) if opened is None else opened
    needed = opened + FILES_PER_WORKER * workers + SPARE_FILES
    if limit is not None and needed > limit:
        raise PipelineError(
            f"{workers} workers need up to {needed} open files, and this process may have {limit}; raise it: ulimit -n {needed}"
        )


def _limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _opened(limit: int | None) -> int:
    """How many there are now; `limit` where not even one more may be opened, to count them."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except FileNotFoundError:  # not Linux
        return 0
    except OSError:
        return limit or 0
