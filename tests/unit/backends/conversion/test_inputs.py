"""Inputs that are kept beside a part's conversions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.conversion.inputs import PartInputs, inputs_file, keep_inputs, kept_inputs
from multiedge.errors import ModelError
from tests.builders.onnx_models import noise

INPUTS = PartInputs(({"a/b": noise(2, 3), "n": np.array([1, 2])}, {"a/b": noise(2, 3, seed=1), "n": np.array([3, 4])}), (7, 8))


def test_inputs_come_back_in_order_with_their_labels(tmp_path: Path) -> None:
    part = tmp_path / "part.onnx"
    assert kept_inputs(part, tmp_path / "kept") is None
    keep_inputs(part, tmp_path / "kept", INPUTS)
    back = kept_inputs(part, tmp_path / "kept")
    assert back is not None
    assert back.labels == (7, 8)
    assert [item["n"].tolist() for item in back.items] == [[1, 2], [3, 4]]
    np.testing.assert_array_equal(back.items[1]["a/b"], INPUTS.items[1]["a/b"])
    assert back.digest == INPUTS.digest


def test_the_digest_is_that_of_values_and_labels() -> None:
    other = PartInputs(tuple({**item, "n": item["n"] + 1} for item in INPUTS.items), INPUTS.labels)
    assert len({INPUTS.digest, other.digest, PartInputs(INPUTS.items).digest}) == 3


def test_damaged_files_and_other_values_than_arrays_are_refused(tmp_path: Path) -> None:
    part = tmp_path / "part.onnx"
    inputs_file(part, tmp_path).write_bytes(b"no archive")
    with pytest.raises(ModelError, match=r"part.inputs.npz: is damaged; convert the model again with --inputs"):
        kept_inputs(part, tmp_path)
    with pytest.raises(ModelError, match="expected arrays of numbers as inputs, got 's' of another type"):
        keep_inputs(part, tmp_path, PartInputs(({"s": [noise(1)]},)))
