"""A hub that does not answer: when it is tried again, and one line for each change."""

from __future__ import annotations

import logging
import random

from multiedge.errors import NetworkError
from multiedge.network.records import HEARTBEAT_S

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 5.0
"""How rarely an absent hub is tried, at most."""


class Absence:
    """Times are seconds of one clock; `chance` keeps the nodes of a fleet from coming back in the same moment."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._since_s: float | None = None
        self._failures, self._said = 0, ""

    def failed(self, error: NetworkError, now_s: float) -> float:
        """How long to wait after an attempt that failed at `now_s`."""
        if self._since_s is None:
            self._since_s = now_s
        if str(error) != self._said:
            self._said = str(error)
            log.warning("%s; trying again", error)
        wait_s = min(LONGEST_WAIT_S, HEARTBEAT_S * 2.0**self._failures)
        self._failures = min(self._failures + 1, 10)
        return wait_s * self._chance.uniform(0.5, 1.0)

    def ended(self, now_s: float) -> None:
        """An attempt at `now_s` was answered."""
        if self._since_s is not None:
            log.info("the hub answers again after %.1f s", now_s - self._since_s)
        self._since_s, self._failures, self._said = None, 0, ""
