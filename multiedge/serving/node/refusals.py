"""One line in the log for each kind of refused connection, and a count of those that follow soon after."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from multiedge.errors import printable

log = logging.getLogger(__name__)

QUIET_S = 10.0
"""After a line, others of the same kind are counted for so long."""
MOST_CHARACTERS = 300


@dataclass
class _Kind:
    said_s: float
    more: int = 0


class Refusals:
    """Logs refusals: the first of a kind with its cause, then how many more there were. Safe between threads."""

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self._quiet_s, self._lock = quiet_s, threading.Lock()
        self._kinds: dict[str, _Kind] = {}

    def add(self, kind: str, line: str, now_s: float) -> None:
        """Logs `line`, or counts it if the last line of its kind was logged less than `quiet_s` ago."""
        with self._lock:
            last = self._kinds.get(kind)
            if last is not None and now_s - last.said_s < self._quiet_s:
                last.more += 1
                return
            self._kinds[kind] = _Kind(now_s)
        log.warning("%s", printable(line)[:MOST_CHARACTERS])

    def flush(self, now_s: float) -> None:
        """Logs the counts of kinds whose time is over, one line each."""
        with self._lock:
            over = {kind: each for kind, each in self._kinds.items() if now_s - each.said_s >= self._quiet_s}
            for kind in over:
                del self._kinds[kind]
        for kind, each in over.items():
            if each.more:
                log.warning("%d more refused in %.0f s: %s", each.more, now_s - each.said_s, kind)
