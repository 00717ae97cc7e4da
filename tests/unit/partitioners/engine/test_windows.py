"""Allowed starts as intervals: the same sets as the table they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.plan import Stage
from partitioners.engine.windows import Windows, memory_windows
from tests.builders.cases import Options, random_case
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.oracle import Oracle
from tests.builders.profiles import profile_of


def starts(windows: Windows, end: int) -> set[int]:
    spans = zip(windows.starts[:, end].tolist(), windows.stops[:, end].tolist(), strict=True)
    return {start for first, stop in spans for start in range(first, stop)}


def table(*rows: str) -> np.ndarray:
    """fits[start, end] from lines of '.' and 'x'."""
    return np.array([[mark == "x" for mark in row] for row in rows])


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param((".xxx", "..xx", "...x"), id="all"),
        pytest.param(("....", "....", "...."), id="none"),
        pytest.param((".x..", "..x.", "...x"), id="single nodes only"),
        pytest.param((".xxx", "..x.", "...x"), id="a hole at start 1 of end 3"),
        pytest.param((".x.x", "....", ".x.x"), id="two intervals for end 1"),
    ],
)
def test_intervals_hold_just_what_the_table_allows(rows: tuple[str, ...]) -> None:
    fits = table(*rows)
    windows = Windows.of(fits)
    for end in range(fits.shape[1]):
        assert starts(windows, end) == set(np.nonzero(fits[:, end])[0].tolist())


@pytest.mark.parametrize("seed", range(10))
def test_random_tables_survive(seed: int) -> None:
    fits = np.random.default_rng(seed).random((7, 8)) < 0.5
    windows = Windows.of(fits)
    assert [starts(windows, end) for end in range(8)] == [set(np.nonzero(column)[0].tolist()) for column in fits.T]


def test_one_interval_where_nothing_is_forbidden() -> None:
    windows = Windows.all_starts(3)
    assert windows.starts.shape == (1, 4)
    assert [starts(windows, end) for end in range(4)] == [set(), {0}, {0, 1}, {0, 1, 2}]


def test_starts_too_early_are_dropped_and_the_windows_stay_as_they_were() -> None:
    windows = Windows.of(table(".xxx", "....", "..xx"))
    later = windows.not_before(np.array([0, 0, 1, 2]))
    assert [starts(later, end) for end in range(4)] == [set(), {0}, {2}, {2}]
    assert starts(windows, 3) == {0, 2}


def test_ends_that_are_not_allowed_have_no_start() -> None:
    closed = Windows.all_starts(3).ending_at(np.array([True, True, False, True]))
    assert [starts(closed, end) for end in range(4)] == [set(), {0}, set(), {0, 1, 2}]


def test_memory_allows_short_stages_first() -> None:
    """Weights of 10 bytes each, nothing else: budget 20 holds two nodes."""
    profile = profile_of(chain_graph(4, sizes=0, weight_bytes=10), {})
    (windows,) = memory_windows(profile, [20])
    assert [starts(windows, end) for end in range(5)] == [set(), {0}, {0, 1}, {1, 2}, {2, 3}]


def test_what_a_stage_must_buffer_at_its_start_can_punch_a_hole() -> None:
    """t1 has 100 bytes: the stage that starts with it takes more than the one that starts before it."""
    profile = profile_of(chain_graph(3, sizes=[0, 100, 0, 0]), {})
    (windows,) = memory_windows(profile, [150])
    # [0, 3) holds t1 while it runs, 100; [1, 3) holds it and its buffer, 200; [2, 3) nothing.
    assert starts(windows, 3) == {0, 2}


def test_ample_and_unlimited_memory_allow_every_start() -> None:
    profile = profile_of(chain_graph(3, sizes=9, weight_bytes=10), {})
    for windows in memory_windows(profile, [10_000, float("inf")]):
        assert [starts(windows, end) for end in range(4)] == [set(), {0}, {0, 1}, {0, 1, 2}]


def test_no_memory_allows_nothing_but_stages_of_no_bytes() -> None:
    weighty, weightless = chain_graph(2, sizes=0, weight_bytes=1), chain_graph(2, sizes=0)
    assert not starts(memory_windows(profile_of(weighty, {}), [0])[0], 2)
    assert starts(memory_windows(profile_of(weightless, {}), [0])[0], 2) == {0, 1}
    assert not starts(memory_windows(profile_of(weighty, {}), [-5])[0], 2)


def test_no_stage_ends_inside_a_fused_node() -> None:
    graph = graph_of("a: x", "b: a", "c: b")
    (windows,) = memory_windows(profile_of(graph, {}, fused={"a"}), [float("inf")])
    assert [starts(windows, end) for end in range(4)] == [set(), set(), {0, 1}, {0, 1, 2}]


@pytest.mark.parametrize("seed", range(20))
def test_windows_allow_what_the_oracle_says_fits(seed: int) -> None:
    profile, fleet = random_case(seed, Options(nodes=(1, 6), devices=(1, 1), limited=False))
    oracle, count = Oracle(profile, fleet), len(profile)
    needed = {}
    for start in range(count):
        for stop in range(start + 1, count + 1):
            spans = [span for span in ((0, start), (start, stop), (stop, count)) if span[0] < span[1]]
            stages, index = [Stage.span("d0", *span) for span in spans], spans.index((start, stop))
            needed[start, stop] = oracle.stage_bytes(stages[index], index, oracle.relay_messages(stages))
    budgets = sorted({*needed.values(), min(needed.values()) - 1})
    for budget, windows in zip(budgets, memory_windows(profile, budgets), strict=True):
        for stop in range(1, count + 1):
            expected = {start for start in range(stop) if needed[start, stop] <= budget}
            assert starts(windows, stop) == (expected if profile.open_boundaries[stop] else set()), (budget, stop)


@pytest.mark.parametrize(
    ("rows", "earliest"),
    [
        pytest.param((".xxx", "..xx", "...x"), [0, 0, 0, 0], id="all"),
        pytest.param((".xx.", "..x.", "...x"), [0, 0, 0, 2], id="one interval that reaches the end"),
        pytest.param(("..x.", "..x.", "...x"), [0, 1, 0, 2], id="no start: the end itself"),
        pytest.param((".xx.", "...x", "...."), None, id="a start, but not every later one"),
        pytest.param((".x.x", "....", ".x.x"), None, id="two intervals"),
    ],
)
def test_the_earliest_start_stands_for_all_where_there_is_no_gap(rows: tuple[str, ...], earliest: list[int] | None) -> None:
    found = Windows.of(table(*rows)).earliest
    assert (None if found is None else found.tolist()) == earliest
