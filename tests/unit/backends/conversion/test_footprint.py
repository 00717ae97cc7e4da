"""The memory that a model takes in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multiedge.backends.conversion.footprint import peak_bytes
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from tests.builders.pipelines import small_model


def test_it_is_that_of_a_process_with_the_runtime_and_unknown_if_the_model_cannot_run(tmp_path: Path) -> None:
    model = small_model(tmp_path / "model.onnx")
    peak = peak_bytes(OnnxRuntimeBackend(), model, {"x": np.ones((1, 16), np.float32)})
    assert peak is not None
    assert 20 << 20 < peak < 500 << 20
    assert peak_bytes(OnnxRuntimeBackend(), model, {"other": np.ones(1, np.float32)}) is None
