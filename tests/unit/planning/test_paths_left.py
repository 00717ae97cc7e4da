"""Which paths of a plan are left when devices are away, and at which rates."""

from __future__ import annotations

import pytest

from multiedge.fleet import Link
from multiedge.planning.paths import filled, paths_left
from tests.builders.paths import paths_fleet, two_paths

FLEET = paths_fleet()
SLOW = paths_fleet(d0_d1=Link(bandwidth_bytes_per_s=16 * 10))


@pytest.mark.parametrize(
    ("away", "expected"),
    [
        ("", {(0, 2): 5.0, (0, 1, 3): 20.0}),  # the plan's own rates, though the first path could take more
        ("d4", {(0, 2): 5.0, (0, 1, 3): 20.0}),
        ("d1", {(0, 1, 3): 20.0}),
        ("d2", {(0, 2): 50 / 3}),
        ("d3", {(0, 2): 50 / 3}),
        ("d0", {}),
        ("d1 d3", {}),
    ],
)
def test_the_paths_left_take_what_their_devices_can_serve(away: str, expected: dict[tuple[int, ...], float]) -> None:
    left = paths_left(two_paths(rates=(5.0, 20.0)), FLEET, set(away.split()))
    assert {path.stages: path.items_per_s for path in left} == pytest.approx(expected)


def test_a_link_limits_the_rate_of_the_path_that_is_left() -> None:
    (left,) = paths_left(two_paths(SLOW), SLOW, {"d3"})
    assert left.items_per_s == pytest.approx(10.0)


def test_a_path_goes_on_with_the_replicas_of_its_stage_that_are_left() -> None:
    left = paths_left(two_paths(replicas=("d4",), rates=(100 / 3, 20.0)), FLEET, {"d1"})
    assert [path.items_per_s for path in left] == pytest.approx([50 / 3, 20.0])
    assert paths_left(two_paths(replicas=("d4",)), FLEET, {"d1", "d4"})[0].stages == (0, 1, 3)


@pytest.mark.parametrize(
    ("weights", "used", "expected"),
    [
        ([1.0, 3.0], [{("a",): 0.1}, {("a",): 0.1}], [2.5, 7.5]),  # in proportion to the weights
        ([1.0, 1.0], [{("a",): 0.1}, {("b",): 0.5}], [10.0, 2.0]),  # neither limits the other
        ([1.0, 1.0, 1.0], [{("a",): 0.2}, {("a",): 0.2, ("b",): 0.1}, {("b",): 0.1}], [2.5, 2.5, 7.5]),
        ([4.0, 1.0], [{}, {("a",): 0.5}], [4.0, 2.0]),  # what nothing limits keeps its weight
        ([4.0], [{("a",): 0.0}], [4.0]),
        ([], [], []),
    ],
)
def test_rates_grow_in_proportion_until_something_is_always_busy(
    weights: list[float], used: list[dict[tuple[str, ...], float]], expected: list[float]
) -> None:
    assert filled(weights, used) == pytest.approx(expected)
