"""Latency distributions and throughput over the run, read back from their drawings."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from multiedge.measurements import Fault, Item, Measurements
from multiedge.report.curves import MAX_POINTS, latency_cdf, throughput
from tests.builders.drawings import Drawing, path_points


def curve_points(drawing: Drawing) -> list[list[tuple[float, float]]]:
    return [path_points(path.get("d", "")) for path in drawing.all("path", "curve")]


def run(done_s: Sequence[float], stop_s: float = 10.0, start_s: float = 0.0, faults: Sequence[Fault] = ()) -> Measurements:
    items = tuple(Item(number, start_s, start_s, done) for number, done in enumerate(done_s))
    return Measurements(items, (), start_s, stop_s, faults=tuple(faults))


def test_each_item_is_a_step_of_equal_height() -> None:
    """Four items: the curve rises by a quarter of 220 px at each latency."""
    (points,) = curve_points(Drawing(latency_cdf([(1, "a", [0.4, 0.1, 0.2, 0.3])])))
    heights = sorted({y for _, y in points}, reverse=True)
    assert heights == pytest.approx([254.0, 199.0, 144.0, 89.0, 34.0])
    assert points[0][0] == 52.0
    assert points[-1] == (440.0, 34.0), "all items are answered at the right end"


def test_equal_latencies_are_one_high_step() -> None:
    (points,) = curve_points(Drawing(latency_cdf([(1, "a", [0.2, 0.2, 0.2, 0.2])])))
    assert len({x for x, _ in points}) == 3


def test_many_items_are_a_bounded_number_of_steps_with_both_ends() -> None:
    values = [0.001 * number for number in range(1, 5001)]
    (points,) = curve_points(Drawing(latency_cdf([(1, "a", values)])))
    assert len(points) <= 2 * MAX_POINTS + 2
    assert min(y for _, y in points) == 34.0


@pytest.mark.parametrize(
    ("values", "median"),
    [
        pytest.param([0.1, 0.2, 0.3], "median 200 ms", id="middle"),
        pytest.param([2.0], "median 2 s", id="one-item"),
        pytest.param([0.0, 0.0], "median 0 s", id="no-time-at-all"),
        pytest.param([0.0000012], "median 1.2 µs", id="microseconds"),
    ],
)
def test_a_single_curve_names_its_median(values: list[float], median: str) -> None:
    assert Drawing(latency_cdf([(1, "a", values)])).texts("note") == [median]


def test_several_curves_carry_their_numbers_at_different_heights() -> None:
    drawing = Drawing(latency_cdf([(number, f"run {number}", [0.1, 0.2, 0.3]) for number in (3, 4, 5)]))
    assert drawing.texts("marknumber") == ["3", "4", "5"]
    assert len(set(drawing.numbers("circle", "cy"))) == 3
    assert drawing.titles("path", "curve") == ["3. run 3", "4. run 4", "5. run 5"]
    assert drawing.texts("note") == []
    assert drawing.is_inside()


def test_curves_without_items_are_left_out() -> None:
    drawing = Drawing(latency_cdf([(1, "empty", []), (2, "one", [0.5])]))
    assert len(curve_points(drawing)) == 1
    assert "empty" not in (drawing.root.get("aria-label") or "")
    assert latency_cdf([(1, "empty", [])]) == ""
    assert latency_cdf([]) == ""


def test_the_note_of_a_median_stays_within_the_picture() -> None:
    early = Drawing(latency_cdf([(1, "a", [0.01, 0.01, 1.0])]))
    late = Drawing(latency_cdf([(1, "a", [0.99, 0.99, 1.0])]))
    anchors = [drawing.all("text", "note")[0].get("text-anchor") for drawing in (early, late)]
    assert anchors == ["start", "end"]


def test_a_steady_run_has_a_level_throughput() -> None:
    drawing = Drawing(throughput(run([0.1 * number for number in range(1, 101)])))
    (area,) = drawing.all("path", "area")
    tops = {round(y) for _, y in path_points(area.get("d", ""))[1:-1]}
    assert len(tops) == 1
    assert drawing.root.get("aria-label") == "Throughput over 10 s, 0 faults"


def test_a_gap_in_completions_is_a_gap_in_the_picture() -> None:
    done = [*(0.1 * number for number in range(1, 31)), *(7.0 + 0.1 * number for number in range(1, 31))]
    (area,) = Drawing(throughput(run(done))).all("path", "area")
    heights = {round(x): y for x, y in path_points(area.get("d", ""))}
    ground = max(heights.values())
    middle = [y for x, y in heights.items() if 400 < x < 600]
    assert all(y > ground - 5 for y in middle), "4 s between two completions"


@pytest.mark.parametrize(
    "measurements",
    [
        pytest.param(run([]), id="no-items"),
        pytest.param(run([1.0] * 7), id="few-items"),
        pytest.param(run([0.0] * 20, stop_s=0.0), id="no-time"),
        pytest.param(run([float("inf")] * 20), id="nothing-came-back"),
    ],
)
def test_too_little_to_draw_is_no_picture(measurements: Measurements) -> None:
    assert throughput(measurements) == ""


@pytest.mark.parametrize(
    ("fault", "left", "right", "title"),
    [
        pytest.param(Fault("device", "a", 105.0, 107.5), 500.0, 724.0, "until items were answered", id="recovered"),
        pytest.param(Fault("link", "a", 105.0), 500.0, 948.0, "never recovered", id="never-recovered"),
        pytest.param(Fault("device", "a", 105.0, 200.0), 500.0, 948.0, "until items were answered", id="past-the-end"),
        pytest.param(Fault("device", "a", 90.0, 105.0), 52.0, 500.0, "until items were answered", id="during-the-warm-up"),
        pytest.param(Fault("device", "a", 120.0), 948.0, 950.0, "never recovered", id="after-the-end"),
    ],
)
def test_a_fault_is_a_band_from_detection_to_recovery(fault: Fault, left: float, right: float, title: str) -> None:
    """Ten seconds from 100 s on, over 896 px."""
    done = [100.0 + 0.1 * number for number in range(1, 101)]
    drawing = Drawing(throughput(run(done, start_s=100.0, stop_s=110.0, faults=[fault])))
    (band,) = drawing.all("rect", "fault")
    assert float(band.get("x", 0)) == pytest.approx(left, abs=0.5)
    assert float(band.get("x", 0)) + float(band.get("width", 0)) == pytest.approx(right, abs=0.5)
    assert drawing.titles("g") == [f"{fault.kind}: a, {title}"]
    assert drawing.is_inside()
