"""Where a stage that ends at a boundary may start: half-open intervals, for all ends together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multiedge.profile import Bools, Ints, Profile
from partitioners.engine.memory import ample_bytes, memory_rows
from partitioners.engine.times import StageTimes


@dataclass(frozen=True, eq=False)
class Windows:
    """For each end q = 0 ... n the starts p that memory allows: union over k of [starts[k, q], stops[k, q]).

    Usually one interval per end, since a shorter stage takes less; what it must buffer at its start can punch holes.
    """

    starts: Ints
    stops: Ints

    @classmethod
    def all_starts(cls, count: int) -> Windows:
        """No limit: every start before the end."""
        ends = np.arange(count + 1)
        return cls(np.zeros((1, count + 1), dtype=np.int64), ends[None, :])

    @classmethod
    def of(cls, fits: Bools) -> Windows:
        """From fits[p, q], (n, n + 1): whether stage [p, q) is allowed."""
        by_end = np.zeros((fits.shape[1], fits.shape[0] + 2), dtype=np.int8)
        by_end[:, 1:-1] = fits.T
        change = np.diff(by_end, axis=1)
        end, start = np.nonzero(change == 1)
        stop = np.nonzero(change == -1)[1]
        first = np.searchsorted(end, np.arange(fits.shape[1]))
        rank = np.arange(len(end)) - first[end]
        shape = (int(rank.max(initial=0)) + 1, fits.shape[1])
        starts, stops = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        starts[rank, end], stops[rank, end] = start, stop
        return cls(starts, stops)

    @cached_property
    def earliest(self) -> Ints | None:
        """For each end the first start, where every start from it up to the end is allowed, (n + 1,); the end itself where none
        is. None if some end has a gap among its starts."""
        ends = np.arange(self.starts.shape[1])
        allowed = self.stops[0] > self.starts[0]
        if len(self.starts) > 1 or (self.stops[0] != ends)[allowed].any():
            return None
        return np.where(allowed, self.starts[0], ends)

    @cached_property
    def mask(self) -> Bools:
        """Whether [p, q) is allowed, (n + 1, n + 1)."""
        start = np.arange(self.starts.shape[1])[:, None]
        return np.asarray(((start >= self.starts[:, None]) & (start < self.stops[:, None])).any(axis=0))

    def ending_at(self, allowed: Bools) -> Windows:
        """The same with no starts for the ends that are not `allowed`, (n + 1,)."""
        return Windows(self.starts, np.where(allowed, self.stops, self.starts))

    def not_before(self, earliest: Ints) -> Windows:
        """The same with every start at or after `earliest`, (n + 1,); empty intervals have stop = start."""
        starts = np.maximum(self.starts, earliest)
        return Windows(starts, np.maximum(self.stops, starts))


def memory_windows(profile: Profile, budgets: Sequence[float], times: Sequence[StageTimes] = ()) -> list[Windows]:
    """Windows of stages that take at most budgets[i] bytes, the runtime not counted, have one of the `times`, where there are
    tables of them, and end inside no fused node.

    A stage starts where another one ends, so that starts inside a fused node need no further care."""
    count, ample = len(profile), ample_bytes(profile)
    tight = [index for index, budget in enumerate(budgets) if budget < ample]
    fits = dict(zip(tight, fits_memory(profile, [budgets[index] for index in tight]), strict=True))
    for index, each in enumerate(times):
        if each.table is not None:
            finite = np.isfinite(each.table[:count])
            fits[index] = finite & fits[index] if index in fits else finite
    held = [Windows.of(fits[index]) if index in fits else Windows.all_starts(count) for index in range(len(budgets))]
    return [windows.ending_at(profile.open_boundaries) for windows in held]


def within_memory(profile: Profile, budgets: Sequence[float], times: Sequence[StageTimes]) -> list[StageTimes]:
    """The times with no stage in a table that takes more than budgets[i] bytes or ends inside a fused node."""
    tables = [index for index, each in enumerate(times) if each.table is not None]
    limited = list(times)
    for index, fits in zip(tables, fits_memory(profile, [budgets[index] for index in tables]), strict=True):
        limited[index] = times[index].held_by(np.vstack([fits, fits[:1]]) & profile.open_boundaries)
    return limited


def fits_memory(profile: Profile, budgets: Sequence[float]) -> list[Bools]:
    """Whether each stage takes at most budgets[i] bytes, (n, n + 1) each."""
    count = len(profile)
    fits = [np.zeros((count, count + 1), dtype=np.bool_) for _ in budgets]
    if fits:
        for start, memory in enumerate(memory_rows(profile)):
            for each, budget in zip(fits, budgets, strict=True):
                each[start, start + 1 :] = memory <= budget
    return fits


def starts_within(times: StageTimes, windows: Windows, most_s: float) -> tuple[Windows, Ints]:
    """Windows of stages of at most `most_s` seconds, and for each end the first start that such a stage may have."""
    if times.table is not None:
        return Windows.of(times.table[:-1] <= most_s), np.zeros(len(times.prefix), dtype=np.int64)
    return windows, np.searchsorted(times.prefix, times.prefix - most_s, side="left")
