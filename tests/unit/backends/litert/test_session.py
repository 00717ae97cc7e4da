"""LiteRT behind the contract: names, sizes that are open, errors of one line.

The file in tests/golden/litert was converted from PASSED_ON by this library.
"""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.litert import LiteRtBackend
from multiedge.errors import MissingDependencyError, ModelError

GOLDEN = Path(__file__).parents[3] / "golden" / "litert"
RUNTIME = pytest.mark.skipif(
    "ai_edge_litert" not in metadata.packages_distributions(), reason="pip install 'multi-edge-bench[litert]'"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for path in GOLDEN.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / "model.tflite"


@RUNTIME
def test_tensors_have_the_names_and_the_order_of_the_model(model: Path) -> None:
    session = LiteRtBackend().open(model)
    assert (session.inputs, session.outputs) == (("x", "unused"), ("y", "z", "last"))
    strided = np.arange(-6, 6, dtype=np.float32).reshape(3, 4).T
    outputs = session.run({"x": strided, "unused": strided, "more": strided})
    np.testing.assert_array_equal(outputs["y"], strided)
    np.testing.assert_array_equal(outputs["last"], np.maximum(strided, 0))


@RUNTIME
def test_outputs_stay_what_they_are_in_runs_of_other_sizes(model: Path) -> None:
    session = LiteRtBackend().open(model)
    first = session.run({"x": np.ones((2, 3), np.float32), "unused": np.ones((2, 3), np.float32)})["z"]
    session.run({"x": np.zeros((5, 3), np.float32), "unused": np.ones((5, 3), np.float32)})
    session.run({"x": np.zeros((2, 3), np.float32), "unused": np.ones((2, 3), np.float32)})
    np.testing.assert_array_equal(first, np.ones((2, 3)))


@RUNTIME
def test_what_is_wrong_is_one_line(model: Path) -> None:
    session = LiteRtBackend().open(model)
    with pytest.raises(ModelError, match=r"model\.tflite: input 'unused' was not given"):
        session.run({"x": np.zeros((1, 3), np.float32)})
    with pytest.raises(ModelError, match=r"none\.tflite: no such model file"):
        LiteRtBackend().open(model.with_name("none.tflite"))
    model.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"^.*model\.tflite: LiteRT cannot load this file: .*$"):
        LiteRtBackend().open(model)
    model.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"model\.json: "):
        LiteRtBackend().open(model)


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'multi-edge-bench\[litert\]'"):
        _ = LiteRtBackend().version


def test_another_version_of_the_converter_is_another_environment() -> None:
    assert LiteRtBackend().converter.folder != LiteRtBackend(onnx2tf="2.6.8").converter.folder
