"""Accuracy against labels, fidelity against the whole model."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.errors import ConfigError
from multiedge.metrics.accuracy import fidelity, top_k_accuracy

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]])


def test_top_1_and_top_2():
    assert top_k_accuracy([1, 1, 0, 0], SCORES) == 0.5
    assert top_k_accuracy([1, 1, 0, 0], SCORES, k=2) == 0.75
    assert top_k_accuracy([1, 1, 0, 0], SCORES, k=3) == 1.0


def test_tie_goes_to_the_smaller_class():
    assert top_k_accuracy([0], SCORES[3:]) == 1.0
    assert top_k_accuracy([1], SCORES[3:]) == 0.0


def test_no_items_no_accuracy():
    assert top_k_accuracy([], np.empty((0, 3))) is None


def test_shapes_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"got \(2,\) and \(4, 3\)"):
        top_k_accuracy([1, 2], SCORES)


def outputs(*rows):
    return [{"logits": np.array([row], dtype=np.float32)} for row in rows]


def test_equal_outputs():
    same = fidelity(outputs([1, 2], [4, 3]), outputs([1, 2], [4, 3]))
    assert (same.items, same.top1_agreement, same.max_absolute_error, same.max_relative_error) == (2, 1.0, 0.0, 0.0)


def test_errors_and_agreement_by_hand():
    found = fidelity(outputs([1, 2], [4, 3]), outputs([1, 2], [2, 3]))
    assert (found.top1_agreement, found.max_absolute_error, found.max_relative_error) == (0.5, 2.0, 0.5)


def test_nan_that_the_reference_lacks_is_infinitely_wrong():
    assert fidelity(outputs([1, 2]), outputs([1, np.nan])).max_absolute_error == np.inf


def test_same_infinities_and_nans_are_equal():
    assert fidelity(outputs([np.inf, np.nan]), outputs([np.inf, np.nan])).max_absolute_error == 0.0


def test_agreement_is_not_claimed_for_maps():
    maps = [{"mask": np.zeros((1, 2, 2))}]
    assert fidelity(maps, maps).top1_agreement is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ([], "1 reference items against 0"),
        ([{"wrong": np.zeros((1, 2))}], "expected"),
        ([{"logits": np.zeros((1, 3))}], r"shape \(1, 3\), expected \(1, 2\)"),
    ],
)
def test_what_cannot_be_compared(other, message):
    with pytest.raises(ConfigError, match=message):
        fidelity(outputs([1, 2]), other)
