"""How long a node may be silent: as long as it usually is, some times over."""

from __future__ import annotations

from collections import deque

RECENT = 100
"""Gaps that count: those of the last seconds."""
FACTOR = 3.0
"""A silence that is so many times the longest recent one is no longer the work of a busy machine."""


class Silence:
    """The limit follows the gaps between signs of life, so that a busy machine is not taken for a lost one.

    A simple form of an accrual failure detector (Hayashibara et al., "The phi accrual failure detector", 2004): their
    distribution is replaced by its largest value, since gaps of a busy machine have a heavy tail.
    """

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self._gaps_s: deque[float] = deque(maxlen=RECENT)
        self._last_s: float | None = None

    def heard(self, now_s: float) -> None:
        """A sign of life has come."""
        if self._last_s is not None:
            self._gaps_s.append(now_s - self._last_s)
        self._last_s = now_s

    @property
    def limit_s(self) -> float:
        """Seconds of silence after which the node may be lost."""
        return max(self._least_s, FACTOR * max(self._gaps_s, default=0.0))
