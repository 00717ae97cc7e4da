"""Sets of bytes: the results are those of sets of numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from multiedge.serving.node.intervals import Interval, Intervals, common, joined, total, without

INTERVALS = st.lists(st.builds(Interval, st.integers(0, 30), st.integers(0, 30)), max_size=6)


def numbers(intervals: list[Interval] | Intervals) -> set[int]:
    return {number for each in intervals for number in range(each.start, each.stop)}


def require_normal(intervals: Intervals) -> None:
    assert all(each.start < each.stop for each in intervals)
    assert all(a.stop < b.start for a, b in pairwise(intervals))


@given(INTERVALS, INTERVALS)
def test_operations_are_those_of_sets(first: list[Interval], second: list[Interval]) -> None:
    for result, expected in (
        (joined(first), numbers(first)),
        (without(first, second), numbers(first) - numbers(second)),
        (common(first, second), numbers(first) & numbers(second)),
    ):
        assert numbers(result) == expected
        assert total(result) == len(expected)
        require_normal(result)
