"""ncnn behind the contract: names and sizes of the ONNX file, batches item by item, errors of one line."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.ncnn import NcnnBackend
from multiedge.errors import MissingDependencyError, ModelError
from tests.builders.onnx_models import noise, parsed, saved

RUNTIME = pytest.mark.skipif("ncnn" not in metadata.packages_distributions(), reason="pip install 'multi-edge-bench[ncnn]'")
BODY = """g (float[n, 3, 6, 6] x, float[n, 4, 6, 6] z) => (float[n, 4, 6, 6] y, float[n, 4, 6, 6] p) {
    p = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w)
    y = Add(p, z)
}"""


def made(folder: Path, body: str = BODY) -> Path:
    weights = {"w": noise(4, 3, 3, 3)} if "w)" in body else {}
    NcnnBackend().convert(saved(parsed(body, **weights), folder / "model.onnx"), folder / "model.param")
    return folder / "model.param"


@RUNTIME
def test_items_of_a_batch_are_answered_each_under_the_names_of_the_model(tmp_path: Path) -> None:
    session = NcnnBackend().open(made(tmp_path))
    assert (session.inputs, session.outputs, session.batch_is_free) == (("x", "z"), ("y", "p"), True)
    x, z = noise(3, 3, 6, 6), noise(3, 4, 6, 6, seed=1)
    outputs = session.run({"x": x, "z": z, "more": z})
    kept = outputs["y"].copy()
    for item in range(3):
        single = session.run({"x": x[item : item + 1], "z": z[item : item + 1]})
        np.testing.assert_array_equal(single["y"][0], outputs["y"][item])
    np.testing.assert_allclose(outputs["y"], outputs["p"] + z, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(outputs["y"], kept)


@RUNTIME
def test_weights_stay_float32_in_the_file(tmp_path: Path) -> None:
    assert made(tmp_path).with_suffix(".bin").stat().st_size >= 4 * 3 * 9 * 4


@RUNTIME
def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    session = NcnnBackend().open(made(tmp_path))
    with pytest.raises(ModelError, match=r"model\.param: input 'z' was not given"):
        session.run({"x": noise(1, 3, 6, 6)})
    with pytest.raises(ModelError, match=r"input 'x': expected float32 \[1, 3, 6, 6\], got float32 \[1, 3, 6, 5\]"):
        session.run({"x": noise(1, 3, 6, 5), "z": noise(1, 4, 6, 6)})
    with pytest.raises(ModelError, match=r"none\.param: no such model file"):
        NcnnBackend().open(tmp_path / "none.param")
    (tmp_path / "model.param").write_text("no model")
    with pytest.raises(ModelError, match=r"model\.param: ncnn cannot load this file"):
        NcnnBackend().open(tmp_path / "model.param")


@RUNTIME
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("g (float[n, m] x) => (float[n, m] y) { y = Relu(x) }", r"'x': ncnn needs fixed sizes, got \['n', 'm'\]"),
        ("g (int64[n, 3] x) => (int64[n, 3] y) { y = Abs(x) }", r"'x': ncnn holds float32 and int32, got int64"),
        ("g (float[1, 3] x) => (float[1, 3] y) { y = acme.Strange(x) }", r"model\.onnx: "),
    ],
)
def test_models_that_ncnn_cannot_hold_are_refused(tmp_path: Path, body: str, reason: str) -> None:
    source = saved(parsed(body, opsets='"" : 17, "acme" : 1'), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=reason):
        NcnnBackend().convert(source, tmp_path / "model.param")


@RUNTIME
def test_nothing_is_printed_where_results_are_expected(tmp_path: Path) -> None:
    path = made(tmp_path)
    code = f"""
from pathlib import Path
from multiedge.backends.ncnn import NcnnBackend
NcnnBackend().convert(Path({str(tmp_path / "model.onnx")!r}), Path({str(path)!r}))
NcnnBackend().open(Path({str(path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'multi-edge-bench\[ncnn\]'"):
        _ = NcnnBackend().version
