"""What answers cost: accuracy with labels, agreement without."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.errors import ConfigError
from multiedge.variants.answers import Judge


def outputs(*classes: int) -> list[dict[str, np.ndarray]]:
    return [{"logits": np.eye(4, dtype=np.float32)[[each]]} for each in classes]


def test_with_labels_the_loss_is_that_of_right_answers() -> None:
    measured = Judge.of(outputs(0, 1, 2, 3), (0, 1, 2, 0), 0.1).measured(outputs(0, 1, 1, 0))
    assert (measured.kind, measured.items, measured.reference, measured.value) == ("accuracy", 4, 0.75, 0.75)
    assert measured.loss == 0.0


def test_without_labels_the_loss_is_that_of_equal_answers() -> None:
    measured = Judge.of(outputs(0, 1, 2, 3), (), 0.1).measured(outputs(0, 1, 1, 0))
    assert (measured.kind, measured.reference, measured.value, measured.loss) == ("agreement", 1.0, 0.5, 0.5)


def test_of_several_rows_each_counts() -> None:
    whole = [{"y": np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32)}]
    parts = [{"y": np.array([[0.0, 1.0], [0.0, 1.0]], dtype=np.float32)}]
    assert Judge.of(whole, (), 0.0).measured(parts).value == 0.5
    with pytest.raises(ConfigError, match="expected a model that gives one row of classes for each item"):
        Judge.of(whole, (1,), 0.0)


def test_outputs_without_rows_cannot_be_compared() -> None:
    with pytest.raises(ConfigError, match="no output of the model has rows of numbers"):
        Judge.of([{"y": np.zeros(3, dtype=np.float32)}], (), 0.0)
