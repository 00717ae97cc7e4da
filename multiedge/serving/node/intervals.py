"""Sets of bytes of a file as half-open intervals: sorted, apart from each other, none empty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

Intervals = tuple["Interval", ...]


@dataclass(frozen=True, order=True)
class Interval:
    """Bytes [start, stop)."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def joined(intervals: Iterable[Interval]) -> Intervals:
    """The same bytes with intervals that overlap or touch made into one.

    >>> joined([Interval(4, 6), Interval(0, 2), Interval(2, 3)])
    (Interval(start=0, stop=3), Interval(start=4, stop=6))
    """
    result: list[Interval] = []
    for each in sorted(each for each in intervals if each.start < each.stop):
        if result and each.start <= result[-1].stop:
            result[-1] = Interval(result[-1].start, max(result[-1].stop, each.stop))
        else:
            result.append(each)
    return tuple(result)


def without(intervals: Iterable[Interval], removed: Iterable[Interval]) -> Intervals:
    """The bytes of `intervals` that are not in `removed`.

    >>> without([Interval(0, 10)], [Interval(2, 3), Interval(8, 12)])
    (Interval(start=0, stop=2), Interval(start=3, stop=8))
    """
    holes = joined(removed)
    result: list[Interval] = []
    for each in joined(intervals):
        inside = [hole for hole in holes if hole.start < each.stop and hole.stop > each.start]
        edges = [each.start, *(edge for hole in inside for edge in (hole.start, hole.stop)), each.stop]
        result += [Interval(start, stop) for start, stop in list(pairwise(edges))[::2] if start < stop]
    return tuple(result)


def common(intervals: Iterable[Interval], others: Iterable[Interval]) -> Intervals:
    """The bytes that are in both.

    >>> common([Interval(0, 10)], [Interval(2, 3), Interval(8, 12)])
    (Interval(start=2, stop=3), Interval(start=8, stop=10))
    """
    first = joined(intervals)
    return without(first, without(first, others))


def total(intervals: Iterable[Interval]) -> int:
    """How many bytes they have together, if they do not overlap."""
    return sum(map(len, intervals))
