"""Processes that a test has started."""

from __future__ import annotations

from contextlib import suppress

import psutil


def own_children() -> list[psutil.Process]:
    """The children of this process, without the tracker that `multiprocessing` starts once and keeps to the end."""
    return [child for child in psutil.Process().children() if not _is_tracker(child)]


def _is_tracker(child: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any("multiprocessing.resource_tracker" in word for word in child.cmdline())
    return False
