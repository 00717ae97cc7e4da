"""What a hub logs: one line for each event, and not more of one kind than a person can read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from multiedge.errors import one_line, printable

LOGGER = logging.getLogger("multiedge.hub")
MOST_LINES = 5
PERIOD_S = 10.0


class LimitedLog:
    """Logs warnings, of each kind at most `MOST_LINES` in `PERIOD_S`; then one line counts those that were left out. Safe
    between threads."""

    def __init__(self, clock: Callable[[], float], write: Callable[[str], None] = LOGGER.warning) -> None:
        self._clock, self._write, self._lock = clock, write, threading.RLock()
        self._began_s: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def warn(self, kind: str, line: str) -> None:
        """Logs the line, unless there were many of its kind lately."""
        with self._lock:
            self.flush()
            self._began_s.setdefault(kind, self._clock())
            self._counts[kind] = self._counts.get(kind, 0) + 1
            if self._counts[kind] <= MOST_LINES:
                self._write(printable(line))

    def flush(self) -> None:
        """Logs how many lines of a kind were left out in a period that is over."""
        now = self._clock()
        with self._lock:
            for kind in [kind for kind, began in self._began_s.items() if now - began >= PERIOD_S]:
                left_out = self._counts.pop(kind) - MOST_LINES
                del self._began_s[kind]
                if left_out > 0:
                    self._write(f"{kind}: {left_out} more in {PERIOD_S:g} s")

    def logger(self) -> logging.Logger:
        """A logger for a library that serves HTTP: of each error one line, which names the peer, and nothing else."""
        logger = logging.Logger("multiedge.hub.http")
        logger.addHandler(_Errors(self))
        return logger


class _Errors(logging.Handler):
    def __init__(self, log: LimitedLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            peer = record.args[0] if isinstance(record.args, tuple) and record.args else "unknown"
            self._log.warn("no HTTP", f"{peer}: refused: no request of HTTP: {one_line(record.exc_info[1])[:80]}")
