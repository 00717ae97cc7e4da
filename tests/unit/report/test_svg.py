"""The pieces of every chart: elements whose text cannot break the drawing, axes, round ticks."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from multiedge.report.svg import Axis, element, frame, group, nice_ticks, picture, tick_text, tooltip
from tests.builders.drawings import Drawing


@pytest.mark.parametrize(
    ("made", "text"),
    [
        pytest.param(element("rect"), "<rect/>", id="bare"),
        pytest.param(
            element("rect", x=1.0, y=None, class_="a b", stroke_width=2),
            '<rect x="1" class="a b" stroke-width="2"/>',
            id="names",
        ),
        pytest.param(element("text", "a < b & c"), "<text>a &lt; b &amp; c</text>", id="text-is-escaped"),
        pytest.param(element("g", Markup("<rect/>"), "<rect/>"), "<g><rect/>&lt;rect/&gt;</g>", id="markup-is-not"),
        pytest.param(element("a", href='"><script>'), '<a href="&#34;&gt;&lt;script&gt;"/>', id="attributes-are-escaped"),
        pytest.param(element("text", ""), "<text></text>", id="empty-text"),
        pytest.param(tooltip("5 %"), "<title>5 %</title>", id="tooltip"),
        pytest.param(group([element("a"), element("b")], class_="g"), '<g class="g"><a/><b/></g>', id="group"),
        pytest.param(group([]), "<g></g>", id="empty-group"),
    ],
)
def test_an_element_as_text(made: Markup, text: str) -> None:
    assert made == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (1.5, "1.5"), (1.256, "1.26"), (100.0, "100"), (-0.001, "-0"), (0.004, "0"), (7, "7"), ("x", "x")],
)
def test_numbers_have_two_places_at_most(value: object, text: str) -> None:
    assert element("rect", x=value) == f'<rect x="{text}"/>'


@pytest.mark.parametrize("text", ["\x00", "a\x1bb", "\x0b", "\x7f", "\ud800", "\ufffe", "\t\n", "é😀"], ids=repr)
def test_no_character_makes_a_drawing_that_cannot_be_read(text: str) -> None:
    drawing = picture([element("text", text, tooltip(text), name=text)], 1, 1, text)
    ElementTree.fromstring(str(drawing).encode())


def test_a_picture_has_a_size_and_a_name() -> None:
    root = ElementTree.fromstring(str(picture([element("rect")], 320.0, 200.5, "a <chart>")))
    assert (root.get("viewBox"), root.get("role"), root.get("aria-label")) == ("0 0 320 200.5", "img", "a <chart>")


@pytest.mark.parametrize(
    ("low", "high", "count", "ticks"),
    [
        pytest.param(0, 9.2, 5, [0, 2, 4, 6, 8], id="twos"),
        pytest.param(0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1.0], id="fifths"),
        pytest.param(0, 12, 5, [0, 2.5, 5, 7.5, 10], id="quarters"),
        pytest.param(0.13, 0.17, 5, [0.13, 0.14, 0.15, 0.16, 0.17], id="not-from-zero"),
        pytest.param(-3, 3, 3, [-2, 0, 2], id="negative"),
        pytest.param(0, 2e9, 4, [0, 5e8, 1e9, 1.5e9, 2e9], id="large"),
        pytest.param(0, 3e-5, 3, [0, 1e-5, 2e-5, 3e-5], id="small"),
        pytest.param(7, 7, 5, [7], id="no-span"),
        pytest.param(9, 3, 5, [9], id="reversed"),
    ],
)
def test_ticks_are_round(low: float, high: float, count: int, ticks: list[float]) -> None:
    assert nice_ticks(low, high, count) == pytest.approx(ticks)


@pytest.mark.parametrize("high", [0.013, 0.9, 1.0, 3.7, 17.0, 99.0, 2345.0, 1e7])
def test_ticks_are_even_and_within_the_axis(high: float) -> None:
    ticks = nice_ticks(0.0, high, 5)
    assert 3 <= len(ticks) <= 7
    assert ticks[0] == 0.0
    assert ticks[-1] <= high * (1 + 1e-9)
    steps = [after - before for before, after in pairwise(ticks)]
    assert steps == pytest.approx([steps[0]] * len(steps))


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.5, "0.5"), (100.0, "100"), (2500.0, "2,500"), (1e6, "1,000,000"), (-0.25, "-0.25")]
)
def test_a_ticks_label_is_short(value: float, text: str) -> None:
    assert tick_text(value) == text


@pytest.mark.parametrize(
    ("axis", "value", "pixel"),
    [
        pytest.param(Axis(0, 10, 100, 200), 5, 150, id="middle"),
        pytest.param(Axis(0, 10, 200, 100), 10, 100, id="upwards"),
        pytest.param(Axis(-5, 5, 0, 100), -5, 0, id="from-below-zero"),
        pytest.param(Axis(3, 3, 0, 100), 3, 50, id="no-span-is-the-middle"),
        pytest.param(Axis(0, 10, 0, 100), 20, 200, id="beyond"),
    ],
)
def test_an_axis_maps_values_to_pixels(axis: Axis, value: float, pixel: float) -> None:
    assert axis(value) == pixel


@pytest.mark.parametrize(("length", "ticks"), [(100, 3), (400, 5), (900, 11)])
def test_a_longer_axis_has_more_ticks(length: float, ticks: int) -> None:
    assert abs(len(Axis(0, 1, 0, length).ticks) - ticks) <= 1


def test_a_frame_has_a_line_and_a_label_for_each_tick() -> None:
    x, y = Axis(0, 10, 50, 300), Axis(0, 100, 250, 30)
    drawing = Drawing(picture(frame(x, y, "time [s]", "share [%]"), 320, 300, "frame"))
    assert len(drawing.all("line", "grid")) == len(drawing.texts("tick")) == len(x.ticks) + len(y.ticks)
    assert drawing.texts("title") == ["time [s]", "share [%]"]
    assert set(drawing.texts("tick")) == {tick_text(value) for value in (*x.ticks, *y.ticks)}
    assert drawing.is_inside()
