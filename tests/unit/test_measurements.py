"""What a run left behind: spans that are merged, latencies, devices."""

from __future__ import annotations

import pytest

from multiedge.measurements import Energy, Event, Item, Measurements, Memory, merge_spans

Spans = list[tuple[float, float]]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param([(1, 2)], [(1, 2)], id="one"),
        pytest.param([(3, 4), (1, 2)], [(1, 2), (3, 4)], id="apart, in order of time"),
        pytest.param([(1, 3), (2, 4)], [(1, 4)], id="overlapping"),
        pytest.param([(1, 2), (2, 3)], [(1, 3)], id="touching"),
        pytest.param([(1, 9), (2, 3)], [(1, 9)], id="one inside another"),
        pytest.param([(1, 9), (2, 3), (8, 9.5)], [(1, 9.5)], id="the longest so far decides"),
        pytest.param([(-5, 1), (9, 15)], [(0, 1), (9, 10)], id="clipped to the window"),
        pytest.param([(-5, -1), (11, 12), (0, 0), (10, 10)], [], id="outside, or of no length"),
        pytest.param([(-5, 15)], [(0, 10)], id="longer than the window"),
        pytest.param([(5, 4)], [], id="backwards"),
    ],
)
def test_spans_are_merged_within_the_window(spans: Spans, expected: Spans) -> None:
    """The window is 0 to 10 s."""
    assert list(merge_spans(spans, 0, 10)) == expected


def compute(device: str, start_s: float, stop_s: float, stage: int = 0) -> Event:
    return Event("compute", 0, stage, device, start_s, stop_s)


RUN = Measurements(
    items=(Item(0, 1.0, 1.5, 4.0),),
    events=(
        compute("late", 6, 8, stage=1),
        compute("early", 0, 3),
        compute("early", 2, 4),
        Event("transfer", 0, 0, "sender", 4, 6, 100, "late"),
        Event("load", -1, -1, "loader", 0, 1),
    ),
    start_s=1.0,
    stop_s=7.0,
)


def test_latency_counts_from_when_an_item_was_due() -> None:
    assert RUN.items[0].latency_s == 3.0
    assert RUN.events[0].seconds == 2
    assert RUN.wall_s == 6.0


def test_busy_time_is_of_computing_only_within_the_window_and_counted_once() -> None:
    assert RUN.busy_spans("early") == ((1.0, 4),)
    assert RUN.busy_s("early") == 3.0
    assert RUN.busy_s("late") == 1.0
    assert RUN.busy_s("sender") == RUN.busy_s("nobody") == 0


def test_devices_are_those_measured_then_those_that_computed_by_stage() -> None:
    assert RUN.devices == ("early", "late")
    measured = Measurements(
        (), RUN.events, 0.0, 1.0, memory=(Memory("idle", None),), energy=(Energy("late", None, None, None),)
    )
    assert measured.devices == ("idle", "late", "early")
    assert Measurements((), (), 0.0, 0.0).devices == ()


def test_what_was_not_measured_is_none_and_not_zero() -> None:
    memory, energy = Memory("d", None), Energy("d", None, None, None)
    assert (memory.peak_bytes, memory.planned_bytes, memory.method) == (None, None, "not measured")
    assert (energy.joules, energy.peak_w, energy.method) == (None, None, "none")
