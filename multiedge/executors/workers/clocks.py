"""How far the clock of another machine is from ours, from pings and their answers."""

from __future__ import annotations

from collections import deque

SAMPLES = 40
"""Pings that count: clocks drift, so older ones say less than their round trips promise."""
LEAST_CHANGE_S = 0.0002
"""A correction below this is within what pings can tell on a network."""


class ClockOffset:
    """Our clock minus the other one. The ping with the shortest round trip tells best: half of it bounds the error."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._told_s: float | None = None

    def add(self, sent_s: float, theirs_s: float, received_s: float) -> None:
        """A ping that was sent and answered at these times of our clock, the answer at `theirs_s` of the other one."""
        self._samples.append((received_s - sent_s, (sent_s + received_s) / 2 - theirs_s))

    @property
    def best_s(self) -> float | None:
        """The offset as it is known; None before the first ping was answered."""
        return min(self._samples)[1] if self._samples else None

    @property
    def round_trip_s(self) -> float | None:
        """The shortest round trip; the offset is wrong by at most half of it."""
        return min(self._samples)[0] if self._samples else None

    def news(self) -> float | None:
        """The offset, if it is to be told: for the first time, or since it has changed; otherwise None."""
        best_s = self.best_s
        if best_s is None or (self._told_s is not None and abs(best_s - self._told_s) < LEAST_CHANGE_S):
            return None
        self._told_s = best_s
        return best_s
