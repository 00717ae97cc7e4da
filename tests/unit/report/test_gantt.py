"""The Gantt chart: lanes, windows and bars of runs small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from multiedge.measurements import Event, Fault, Measurements
from multiedge.report.gantt import Lane, Window, draw, lanes, stage_means, windows
from tests.builders.drawings import Drawing
from tests.builders.reports import FLEET, pipeline

COLOURS = {"a": 0, "b": 1}
ALL = Window("all", 0.0, 10.0)


def computed(item: int, device: str, start_s: float, stop_s: float, stage: int = 0) -> Event:
    return Event("compute", item, stage, device, start_s, stop_s)


def run(*events: Event, stop_s: float = 10.0, faults: Sequence[Fault] = ()) -> Measurements:
    return Measurements((), events, 0.0, stop_s, faults=tuple(faults))


def bars(measurements: Measurements, window: Window = ALL, **options: int) -> Drawing:
    return Drawing(draw(measurements, window, COLOURS, **options))


def test_a_lane_by_hand() -> None:
    """Busy 1 s to 3 s and 7 s to 8 s of ten: a bubble of 4 s."""
    events = [computed(0, "a", 1.0, 2.0), computed(1, "a", 2.0, 3.0), computed(2, "a", 7.0, 8.0)]
    assert lanes(run(*events), COLOURS) == [Lane("a", 0, 3, 1.0, 1.0, pytest.approx(0.3), 4.0)]


def test_items_that_a_stage_skipped_are_counted_apart_and_took_no_time() -> None:
    measured = run(computed(0, "a", 1.0, 2.0), replace(computed(1, "a", 2.0, 2.0), kind="skip"))
    (lane,) = lanes(measured, COLOURS)
    assert (lane.computed, lane.skipped, lane.mean_s) == (1, 1, 1.0)
    assert stage_means(measured) == [0.5]


@pytest.mark.parametrize(
    ("events", "rows"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([computed(0, "b", 0.0, 1.0), computed(0, "a", 1.0, 2.0)], ["a", "b"], id="in-the-order-of-colours"),
        pytest.param([computed(0, "a", -2.0, -1.0)], [], id="before-the-timed-window"),
        pytest.param([Event("transfer", 0, 0, "a", 0.0, 1.0, 8, "b")], [], id="only-sent"),
    ],
)
def test_a_device_that_computed_has_a_lane(events: list[Event], rows: list[str]) -> None:
    assert [lane.device for lane in lanes(run(*events), COLOURS)] == rows


def test_one_item_has_no_bubble() -> None:
    assert lanes(run(computed(0, "a", 1.0, 2.0)), COLOURS)[0].longest_bubble_s == 0.0


def test_lanes_of_a_pipeline() -> None:
    lane = lanes(pipeline((0.1, 0.2), items=3), {name: number for number, name in enumerate(FLEET.names)})[1]
    assert (lane.device, lane.computed) == ("raspberry-pi", 3)
    assert lane.mean_s == pytest.approx(0.2, rel=0.1)
    assert 0.0 <= lane.longest_bubble_s < 0.1


def test_the_first_items_are_a_window() -> None:
    events = [computed(item, "a", item, item + 0.5) for item in range(30)]
    assert windows(run(*events), items=5) == [Window("The first 5 items", 0, 4.5)]


def test_items_that_are_no_requests_make_no_window() -> None:
    assert windows(run(Event("load", -1, 0, "a", 0.0, 1.0), computed(-1, "a", 1.0, 2.0))) == []
    assert windows(run()) == []


@pytest.mark.parametrize(
    ("fault", "window"),
    [
        pytest.param(Fault("device", "a", 5.0, 6.0), (4.0, 7.0), id="a-third-of-the-first-window-around-it"),
        pytest.param(Fault("link", "a", 4.0, 9.0), (1.5, 10.0), id="a-long-one-has-half-its-time-around-it"),
        pytest.param(Fault("link", "a", 0.5, 0.6), (0.0, 1.6), id="not-before-the-first-item"),
        pytest.param(Fault("device", "a", 9.0), (8.0, 10.0), id="never-recovered-lasts-to-the-end"),
    ],
)
def test_a_fault_has_a_window_of_its_own(fault: Fault, window: tuple[float, float]) -> None:
    first, around = windows(run(computed(0, "a", 0.0, 3.0), faults=[fault]))
    assert (first.begin_s, first.end_s) == (0.0, 3.0)
    assert around.title == f"Around the {fault.kind} fault of a"
    assert (around.begin_s, around.end_s) == pytest.approx(window)


def test_two_faults_at_most_are_drawn_apart() -> None:
    faults = [Fault("device", "a", second, second + 0.1) for second in (1.0, 3.0, 5.0)]
    assert len(windows(run(computed(0, "a", 0.0, 3.0), faults=faults))) == 3


def test_bars_lie_where_their_times_are() -> None:
    """850 px from 110 px on for ten seconds."""
    drawing = bars(run(computed(0, "a", 1.0, 2.0), computed(1, "b", 2.0, 10.0)))
    (first,), (second,) = drawing.all("rect", "c0"), drawing.all("rect", "c1")
    scale = (948 - 110) / 10
    assert float(first.get("x", 0)) == pytest.approx(110 + scale, abs=0.01)
    assert float(first.get("width", 0)) == pytest.approx(scale, abs=0.01)
    assert float(second.get("width", 0)) == pytest.approx(8 * scale, abs=0.01)
    assert float(second.get("y", 0)) > float(first.get("y", 0))
    assert drawing.is_inside()


def test_a_bar_says_what_it_is() -> None:
    drawing = bars(run(computed(7, "a", 1.0, 1.25, stage=2), Event("transfer", 7, 2, "a", 1.25, 1.5, 2048, "b")))
    assert drawing.titles("rect", "c0") == ["item 7, stage 3 on a: 250 ms"]
    assert drawing.titles("rect", "sent") == ["item 7: a → b, 2.00 KiB in 250 ms"]


def test_neighbours_differ_and_short_bars_have_no_number() -> None:
    drawing = bars(run(computed(4, "a", 0.0, 4.0), computed(5, "a", 4.0, 8.0), computed(6, "a", 8.0, 8.01)))
    assert len(drawing.all("rect", "odd")) == 1
    assert drawing.texts("item") == ["4", "5"]


def test_a_bar_too_short_to_see_is_still_drawn() -> None:
    drawing = bars(run(computed(0, "a", 0.0, 1e-6), computed(1, "a", 9.0, 10.0)))
    assert min(drawing.numbers("rect", "width", "c0")) == pytest.approx(0.6)


def test_bars_are_clipped_to_the_window() -> None:
    drawing = bars(run(computed(0, "a", 0.0, 6.0), computed(1, "a", 6.0, 10.0)), Window("part", 4.0, 8.0))
    assert drawing.numbers("rect", "width", "c0") == pytest.approx([419.0, 419.0])
    assert drawing.is_inside()


@pytest.mark.parametrize("window", [Window("later", 99.0, 100.0), Window("before", -5.0, 0.0)], ids=lambda window: window.title)
def test_a_window_without_events_is_no_picture(window: Window) -> None:
    assert draw(run(computed(0, "a", 1.0, 2.0)), window, COLOURS) == ""


def test_the_number_of_bars_is_bounded_and_the_axis_ends_with_the_last() -> None:
    drawing = bars(run(*(computed(item, "a", item / 10, item / 10 + 0.1) for item in range(90))), max_bars=30)
    assert len(drawing.all("rect", "c0")) == 30
    assert drawing.texts("tick")[-1] == "3"


def test_devices_keep_their_rows_when_one_of_them_has_nothing_in_the_window() -> None:
    drawing = bars(run(computed(0, "a", 0.0, 1.0), computed(0, "b", 8.0, 9.0)), Window("early", 0.0, 2.0))
    assert drawing.texts("lane") == ["a", "b"]
    assert "10% busy" in drawing.texts("tick")


def test_a_long_name_is_shortened_and_whole_in_its_tooltip() -> None:
    colours = {"a-device-with-a-long-name": 0}
    drawing = Drawing(draw(run(computed(0, "a-device-with-a-long-name", 0.0, 1.0)), ALL, colours))
    assert drawing.texts("lane") == ["a-device-with-…"]
    assert "a-device-with-a-long-name" in drawing.titles("g")


@pytest.mark.parametrize(
    ("fault", "drawn"),
    [
        pytest.param(Fault("device", "a", 2.0, 3.0, "unplugged"), 1, id="within"),
        pytest.param(Fault("device", "a", 2.0), 1, id="never-recovered"),
        pytest.param(Fault("device", "a", 20.0, 30.0), 0, id="after-the-window"),
        pytest.param(Fault("device", "a", -3.0, -2.0), 0, id="before-the-window"),
        pytest.param(Fault("device", "a", -3.0, 99.0), 1, id="longer-than-the-window"),
    ],
)
def test_a_fault_covers_its_time(fault: Fault, drawn: int) -> None:
    drawing = bars(run(computed(0, "a", 0.0, 5.0), computed(1, "a", 6.0, 10.0), faults=[fault]))
    assert drawing.titles("rect", "fault") == [f"device fault of a: {fault.detail}"] * drawn
    assert drawing.is_inside()


@pytest.mark.parametrize(
    ("events", "means"),
    [
        pytest.param([], [], id="none"),
        pytest.param([computed(0, "a", 0.0, 1.0), computed(1, "a", 1.0, 4.0)], [2.0], id="mean"),
        pytest.param([computed(0, "b", 0.0, 1.0, stage=2)], [None, None, 1.0], id="stages-that-never-ran"),
        pytest.param([computed(0, "a", -2.0, -1.0), computed(1, "a", 1.0, 2.0)], [1.0], id="warm-up-does-not-count"),
        pytest.param([computed(0, "a", 0.0, 1.0), computed(1, "b", 0.0, 3.0)], [2.0], id="replicas-of-a-stage-together"),
    ],
)
def test_mean_seconds_of_each_stage(events: list[Event], means: list[float | None]) -> None:
    assert list(stage_means(run(*events))) == means


def test_a_run_of_no_time_is_drawn_without_a_share() -> None:
    measurements = replace(run(computed(0, "a", 0.0, 1.0)), stop_s=0.0)
    assert lanes(measurements, COLOURS) == []
    assert draw(measurements, ALL, COLOURS) == ""
