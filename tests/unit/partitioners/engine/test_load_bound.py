"""Bounds on the time per item from loads alone."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from partitioners.engine.load_bound import heaviest_node_bound, load_bound, speed_weights, weighted_bound


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param([[1], [2], [3]], 6.0, id="one device does all"),
        pytest.param([[1, 1], [2, 2], [3, 3]], 3.0, id="two equal devices do half each"),
        pytest.param([[1, 0.5], [2, 1], [3, 1.5]], 2.0, id="speeds 1 and 2: 6 / 3"),
        pytest.param([[0, 5], [5, 0]], 0.0, id="each node is free somewhere"),
        pytest.param([[2, 4], [4, 2]], 2.0, id="each node where it is fast"),
        # Node 2 on device 0 and a share x of node 1 moved to device 1: 1 - x + 2 x is least where both take 2.2.
        pytest.param([[1, 4], [2, 3], [6, 1]], 2.2, id="a node divided: 1 + 0.6 * 2 = 0.4 * 3 + 1"),
        pytest.param([[0, 0]], 0.0, id="no time at all"),
    ],
)
def test_load_bound_on_paper(seconds: list[list[float]], expected: float) -> None:
    assert load_bound(np.array(seconds, dtype=float)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_no_assignment_of_nodes_beats_the_bound_and_the_best_split_at_will_is_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seconds = rng.integers(0, 9, (int(rng.integers(1, 6)), int(rng.integers(1, 4)))).astype(float)
    nodes, devices = seconds.shape
    bound = load_bound(seconds)
    loads = [
        max(sum(seconds[v, d] for v in range(nodes) if choice[v] == d) for d in range(devices))
        for choice in product(range(devices), repeat=nodes)
    ]
    assert bound <= min(loads) + 1e-9
    assert bound >= max(weighted_bound(seconds, speed_weights(seconds.sum(axis=0))), 0.0) - 1e-12


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e9])
def test_the_bound_scales_with_the_times(scale: float) -> None:
    seconds = np.array([[1.0, 4.0], [2.0, 3.0], [6.0, 1.0]])
    assert load_bound(seconds * scale) == pytest.approx(2.2 * scale)


def test_any_weights_that_sum_to_one_give_a_bound() -> None:
    seconds = np.array([[1.0, 4.0], [2.0, 3.0], [6.0, 1.0]])
    for share in np.linspace(0, 1, 11):
        assert weighted_bound(seconds, np.array([share, 1 - share])) <= 2.2 + 1e-12
    assert weighted_bound(seconds, np.array([1.0, 0.0])) == 0.0


def test_weights_follow_speeds_and_stand_devices_that_take_no_time() -> None:
    assert speed_weights(np.array([1.0, 3.0])).tolist() == pytest.approx([0.75, 0.25])
    assert speed_weights(np.array([0.0, 3.0])).tolist() == pytest.approx([1.0, 0.0])
    assert speed_weights(np.array([0.0, 0.0])).tolist() == pytest.approx([0.5, 0.5])


def test_the_heaviest_node_on_its_fastest_device() -> None:
    assert heaviest_node_bound(np.array([[9.0, 4.0], [5.0, 6.0]])) == 5.0
    assert heaviest_node_bound(np.zeros((0, 2))) == 0.0
