"""The front of trade-offs, by hand and against its definition."""

from __future__ import annotations

import itertools
import random

import pytest

from multiedge.report.pareto import Point, draw, front
from tests.builders.drawings import Drawing, path_points


def points(*places: tuple[float, float]) -> list[Point]:
    return [Point(number, f"run {number}", x, y) for number, (x, y) in enumerate(places, start=1)]


@pytest.mark.parametrize(
    ("places", "best"),
    [
        pytest.param([], [], id="none"),
        pytest.param([(1, 1)], [1], id="one"),
        pytest.param([(3, 3), (2, 1), (2, 2), (1, 1), (1, 0.5)], [5, 2, 1], id="by-hand"),
        pytest.param([(1, 5), (2, 5)], [2], id="equal-cost-the-faster-one"),
        pytest.param([(2, 5), (2, 4)], [2], id="equal-speed-the-cheaper-one"),
        pytest.param([(2, 5), (2, 5)], [1], id="equal-in-both-the-first"),
        pytest.param([(1, 3), (2, 2), (3, 1)], [3], id="one-beats-all"),
        pytest.param([(0, 0), (1, 1), (2, 4)], [1, 2, 3], id="all-on-the-front"),
    ],
)
def test_the_front_by_hand(places: list[tuple[float, float]], best: list[int]) -> None:
    assert [point.number for point in front(points(*places))] == best


def test_the_front_is_what_no_other_beats() -> None:
    chance = random.Random(11)
    for _ in range(50):
        cloud = points(*((chance.randint(0, 6), chance.randint(0, 6)) for _ in range(12)))
        best = {(point.x, point.y) for point in front(cloud)}
        beaten = {
            (a.x, a.y) for a, b in itertools.permutations(cloud, 2) if b.x >= a.x and b.y <= a.y and (b.x, b.y) != (a.x, a.y)
        }
        assert best == {(point.x, point.y) for point in cloud} - beaten


def picture(*places: tuple[float, float]) -> Drawing:
    return Drawing(draw(points(*places), "items/s", "B", "throughput", "peak memory"))


def test_points_are_numbered_and_those_of_the_front_filled() -> None:
    drawing = picture((2.0, 300 << 20), (1.0, 400 << 20), (3.0, 500 << 20))
    assert sorted(drawing.titles("g", "best")) == ["1. run 1: 2 items/s, 300 MiB", "3. run 3: 3 items/s, 500 MiB"]
    assert drawing.titles("g", "beaten") == ["2. run 2: 1 items/s, 400 MiB"]
    assert drawing.root.get("aria-label") == "throughput against peak memory; no other run beats: run 1, run 3"
    assert drawing.is_inside()


def test_equal_points_are_both_visible_and_both_filled() -> None:
    drawing = picture((2.0, 100.0), (2.0, 100.0), (2.0, 100.0), (1.0, 200.0))
    centres = set(zip(drawing.numbers("circle", "cx"), drawing.numbers("circle", "cy"), strict=True))
    assert len(centres) == 4
    assert len(drawing.all("g", "best")) == 3
    assert drawing.is_inside()


def test_axes_have_units_and_the_better_direction() -> None:
    assert picture((2.0, 300 << 20), (1.0, 400 << 20)).texts("title") == [
        "throughput [items/s] better →",
        "peak memory [MiB] ↓ better",
    ]


def test_the_line_of_the_front_goes_through_its_points_in_steps() -> None:
    drawing = picture((1.0, 1 << 20), (2.0, 2 << 20), (3.0, 3 << 20))
    line = path_points(drawing.all("path", "front")[0].get("d", ""))
    circles = sorted(zip(drawing.numbers("circle", "cx"), drawing.numbers("circle", "cy"), strict=True))
    corners = [(round(x), round(y)) for x, y in line]
    assert all((round(x), round(y)) in corners for x, y in circles)
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in itertools.pairwise(line))
    assert line[0][0] == 52.0


def test_figures_of_zero_are_drawn() -> None:
    assert picture((0.0, 0.0), (0.0, 0.0)).is_inside()
