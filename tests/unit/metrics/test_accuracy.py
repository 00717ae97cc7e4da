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


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float16", "bool"])
def test_scores_of_any_type_rank_alike(dtype):
    """Quantised models answer in unsigned integers, which have no negative."""
    assert top_k_accuracy([1, 0], np.array([[0, 1, 0], [1, 0, 0]], dtype=dtype)) == 1.0


def test_a_score_that_is_no_number_is_the_worst():
    assert top_k_accuracy([1], [[np.nan, -5.0, np.nan]]) == 1.0


def test_more_places_than_classes_hold_every_label():
    assert top_k_accuracy([0, 1, 2, 0], SCORES, k=99) == 1.0


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


def test_relative_errors_are_of_the_largest_magnitude_of_their_own_output():
    whole = [{"a": np.array([[100.0, 0.0]]), "b": np.array([[0.1]])}]
    parts = [{"a": np.array([[101.0, 0.0]]), "b": np.array([[0.15]])}]
    found = fidelity(whole, parts)
    assert (found.max_absolute_error, found.max_relative_error) == (1.0, pytest.approx(0.5))


def test_an_output_of_zeros_has_an_infinite_relative_error_where_anything_differs():
    assert fidelity(outputs([0, 0]), outputs([0, 0.25])).max_relative_error == np.inf
    assert fidelity(outputs([0, 0]), outputs([0, 0])).max_relative_error == 0.0


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (2, 3)], ids=str)
def test_agreement_is_not_claimed_where_an_item_has_no_vector(shape):
    same = [{"y": np.zeros(shape)}]
    assert fidelity(same, same).top1_agreement is None


def test_no_items_agree_on_nothing():
    assert fidelity([], []).top1_agreement is None


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
