"""The memory that a model takes in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from multiedge.backends.conversion.footprint import peak_bytes, peak_with_children
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from tests.builders.pipelines import small_model


def test_it_is_that_of_a_process_with_the_runtime_and_unknown_if_the_model_cannot_run(tmp_path: Path) -> None:
    model = small_model(tmp_path / "model.onnx")
    peak = peak_bytes(OnnxRuntimeBackend(), model, {"x": np.ones((1, 16), np.float32)})
    assert peak is not None
    assert 20 << 20 < peak < 500 << 20
    assert peak_bytes(OnnxRuntimeBackend(), model, {"other": np.ones(1, np.float32)}) is None


def test_memory_of_a_process_that_computes_for_it_counts() -> None:
    alone = peak_with_children()
    code = "held = bytearray(b'x') * (100 << 20); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        together = peak_with_children()
        child.communicate(b"\n")
    assert alone is not None
    assert together is not None
    assert together - alone > 100 << 20
