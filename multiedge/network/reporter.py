"""Sends reports of a run to its hub, from a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from multiedge.errors import MultiedgeError, NetworkError
from multiedge.network.runs import REPORT_S, RunReport

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 30.0
"""How rarely a hub that is away is tried, at most; the wait doubles from REPORT_S."""
CLOSE_S = 0.5
"""How long closing waits for the last report to be sent."""


class ReportClient(Protocol):
    """What sends a report; NetworkError if it cannot be sent, with a status if it is refused."""

    def report(self, report: RunReport) -> None: ...


class Reporter:
    """Keeps the latest report, and sends it. A hub that is away costs a run nothing but this thread.

    Args:
        open_hub: A new connection to the hub.
        clock: Seconds of a clock that does not go back.
    """

    def __init__(
        self, open_hub: Callable[[], AbstractContextManager[ReportClient]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_hub, self._now = open_hub, clock
        self._offered_s = clock()
        self._latest: RunReport | None = None
        self._changed, self._is_closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._send_all, name="run-reports", daemon=True)
        self._thread.start()

    @property
    def is_due(self) -> bool:
        """Whether REPORT_S have passed since the last offer."""
        return self._now() - self._offered_s >= REPORT_S

    def offer(self, report: RunReport) -> None:
        """The report to send next, in place of one that is not sent yet."""
        with self._changed:
            self._offered_s, self._latest = self._now(), report
            self._changed.notify()

    def close(self) -> None:
        """Ends the thread once the latest report is sent, or after CLOSE_S."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(CLOSE_S)

    def _send_all(self) -> None:
        wait_s = REPORT_S
        try:
            with self._open_hub() as hub:
                while (report := self._next()) is not None:
                    try:
                        hub.report(report)
                        wait_s = REPORT_S
                    except NetworkError as error:
                        if error.status is not None:  # a hub that does not take reports
                            log.debug("no more reports of this run: %s", error)
                            return
                        self._pause(wait_s)
                        wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
        except MultiedgeError as error:
            log.debug("no reports of this run: %s", error)

    def _next(self) -> RunReport | None:
        """The next report; None once all are sent and it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._latest is not None or self._is_closed)
            report, self._latest = self._latest, None
            return report

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, seconds)
