"""What each step takes for each item, and for which items it is there."""

from __future__ import annotations

from pathlib import Path

from multiedge.backends.stages import load_backend
from multiedge.backends.step_times import record_operations
from tests.builders.composed import SURE, UNSURE, composed


def test_each_operation_of_each_item_has_its_time_and_whether_it_made_something(tmp_path: Path) -> None:
    made = record_operations(composed(tmp_path), [SURE, UNSURE, SURE, SURE], load_backend("onnxruntime"))
    assert made.segments == ("small", "large.when", "large", "pick")
    assert made.outputs[2] == ("large/probabilities",)
    assert made.present.tolist() == [[True, True, True, True] if row == 1 else [True, False, False, True] for row in range(4)]
    assert made.seconds.shape == (4, 4)
    assert (made.seconds > 0).all()
    assert made.seconds[1, 2] > made.seconds[[0, 2, 3], 2].max()
    assert made.rates["large/probabilities"] == 0.25
    assert made.rates["probabilities"] == 1.0
