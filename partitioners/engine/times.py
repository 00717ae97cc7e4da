"""What a stage of consecutive nodes takes on a device: the one way in which strategies ask for it.

Where times add up over nodes, a stage takes a difference of prefix sums. Otherwise a table has the time of every stage,
and prefix sums of the least share that each node has in any of them bound it from below:

    prefix[q] - prefix[p] <= table[p, q]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multiedge.fleet import Fleet
from multiedge.profile import Bools, Floats, Ints, Profile

FORBIDDEN = 1e6
"""A node on a device that cannot hold it takes so many times the longest time of any: large, and finite for linear programs."""


@dataclass(frozen=True, eq=False)
class StageTimes:
    """Seconds of stages [p, q) on one device, its overhead per stage not included.

    `prefix` is (n + 1,). `table` is (n + 1, n + 1), inf where the device cannot hold the stage; None where times add up.
    """

    prefix: Floats
    table: Floats | None = None

    @classmethod
    def of(cls, profile: Profile, device: str) -> StageTimes:
        """The times on a device; ProfileError if the profile has none."""
        table = profile.span_matrix_s(device)
        if table is None:
            return cls(_prefix(profile.seconds_on(device)))
        least = profile.least_seconds_on(device)
        return cls(_prefix(np.where(np.isfinite(least), least, 0.0)), table)

    def between(self, start: int, stop: int) -> float:
        """Seconds of one stage."""
        return float(self.prefix[stop] - self.prefix[start] if self.table is None else self.table[start, stop])

    def row(self, start: int) -> Floats:
        """Seconds of stages [start, start + 1), [start, start + 2) ... [start, n)."""
        if self.table is None:
            return np.asarray(self.prefix[start + 1 :] - self.prefix[start])
        return np.asarray(self.table[start, start + 1 :])

    def matrix(self) -> Floats:
        """Seconds of all stages, (n + 1, n + 1); inf where there is none."""
        if self.table is not None:
            return self.table
        seconds = self.prefix[None, :] - self.prefix[:, None]
        return np.where(np.triu(np.ones(seconds.shape, dtype=np.bool_), 1), seconds, np.inf)

    def quickest(self) -> float:
        """Seconds of the quickest stage; inf if the device can hold none."""
        return float((np.diff(self.prefix) if self.table is None else self.table).min(initial=np.inf))

    def longest(self) -> float:
        """Seconds that no stage exceeds that the device can hold."""
        if self.table is None:
            return float(self.prefix[-1])
        return float(self.table.max(initial=0.0, where=np.isfinite(self.table)))

    def held_by(self, fits: Bools) -> StageTimes:
        """The same with only those stages that the device also `fits`, (n + 1, n + 1), where there is a table."""
        return self if self.table is None else StageTimes(self.prefix, np.where(fits, self.table, np.inf))

    def farthest(self, most_s: float) -> Ints:
        """For each start the last end of a stage of at most `most_s`, (n + 1,); before the start or the start if none is."""
        if self.table is None:
            return np.asarray(np.searchsorted(self.prefix, self.prefix + most_s, side="right") - 1)
        within = self.table <= most_s
        last = self.table.shape[1] - 1 - np.argmax(within[:, ::-1], axis=1)
        return np.where(within.any(axis=1), last, 0)

    @cached_property
    def excess(self) -> Floats | None:
        """What stages take beyond the difference of prefixes, (n + 1, n + 1), 0 where none is; None where times add up."""
        if self.table is None:
            return None
        finite = np.isfinite(self.table)
        return np.subtract(self.table, self.prefix[None, :] - self.prefix[:, None], where=finite, out=np.zeros_like(self.table))


def _prefix(seconds: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(seconds)])


def stage_times(profile: Profile, devices: Sequence[str]) -> dict[str, StageTimes]:
    """The times on each of these devices."""
    return {name: StageTimes.of(profile, name) for name in devices}


def node_seconds(profile: Profile, fleet: Fleet) -> Floats:
    """The least time of each node on each device, (n, devices), finite, so that bounds of additive times hold for all."""
    seconds = np.stack([profile.least_seconds_on(name) for name in fleet.names], axis=1)
    possible = np.isfinite(seconds)
    return np.where(possible, seconds, FORBIDDEN * seconds.max(initial=0.0, where=possible))
