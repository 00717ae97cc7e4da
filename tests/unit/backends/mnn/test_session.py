"""MNN behind the contract: names, values, errors of one line, and nothing that sends logs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.mnn import MnnBackend
from multiedge.errors import MissingDependencyError, ModelError
from tests.builders.onnx_models import noise, parsed, saved

RUNTIME = pytest.mark.skipif(
    not any(name.lower() == "mnn" for name in metadata.packages_distributions()),
    reason="pip install 'multi-edge-bench[mnn]'",
)

BODY = """g (float[n, 4] x, float[n, 6] z) => (float[n, 6] y, float[n, 6] p) {
    p = MatMul(x, w)
    y = Add(p, z)
}"""


def made(folder: Path) -> Path:
    MnnBackend().convert(saved(parsed(BODY, w=noise(4, 6)), folder / "model.onnx"), folder / "model.mnn")
    return folder / "model.mnn"


@RUNTIME
def test_weights_lie_beside_the_file_wherever_the_folder_is_and_nothing_lies_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    made(Path("../here"))
    assert list((tmp_path / "work").iterdir()) == []
    assert (tmp_path / "here" / "model.mnn.weight").stat().st_size >= 4 * 6 * 4
    moved = (tmp_path / "here").rename(tmp_path / "there")
    x, z = noise(2, 4), noise(2, 6, seed=1)
    np.testing.assert_allclose(MnnBackend().open(moved / "model.mnn").run({"x": x, "z": z})["p"], x @ noise(4, 6), rtol=1e-5)


@RUNTIME
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not list threads")
def test_threads_are_those_of_the_device(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from multiedge.fleet import Device;"
        "from multiedge.backends.mnn import MnnBackend; from multiedge.backends.mnn.session import load_mnn; load_mnn();"
        "count = lambda: len(os.listdir('/proc/self/task')); before = count();"
        "kept = MnnBackend().open(Path(sys.argv[1]), Device('d', threads=int(sys.argv[2])));"
        "print(count() - before, file=sys.stderr)"
    )
    for threads in (1, 3):
        done = subprocess.run(
            [sys.executable, "-c", code, str(made(tmp_path)), str(threads)], capture_output=True, text=True, check=True
        )
        assert done.stderr.splitlines()[-1] == str(threads - 1)


@RUNTIME
def test_values_have_the_names_of_the_model_and_stay_what_they_are(tmp_path: Path) -> None:
    session = MnnBackend().open(made(tmp_path))
    assert (set(session.inputs), set(session.outputs), session.batch_is_free) == ({"x", "z"}, {"y", "p"}, False)
    strided, add = noise(4, 3).T, noise(3, 6, seed=1)
    outputs = session.run({"x": strided, "z": add, "more": add})
    kept = outputs["y"].copy()
    session.run({"x": noise(2, 4), "z": noise(2, 6)})
    np.testing.assert_array_equal(outputs["y"], kept)
    np.testing.assert_allclose(outputs["p"], strided @ noise(4, 6), rtol=1e-5)
    np.testing.assert_allclose(outputs["y"], strided @ noise(4, 6) + add, rtol=1e-5)


@RUNTIME
def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    session = MnnBackend().open(made(tmp_path))
    with pytest.raises(ModelError, match=r"model\.mnn: input 'z' was not given"):
        session.run({"x": noise(1, 4)})
    with pytest.raises(ModelError, match=r"input 'x': expected float32 or int32, which MNN holds, got float16"):
        session.run({"x": noise(1, 4).astype(np.float16), "z": noise(1, 6)})
    with pytest.raises(ModelError, match=r"none\.mnn: no such model file"):
        MnnBackend().open(tmp_path / "none.mnn")


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'multi-edge-bench\[mnn\]'"):
        _ = MnnBackend().version


@RUNTIME
def test_converting_loads_no_logging_connects_nowhere_and_leaves_stdout_alone(tmp_path: Path) -> None:
    saved(parsed(BODY, w=noise(4, 6)), tmp_path / "model.onnx")
    code = f"""
import json, sys
from pathlib import Path
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event.startswith(("socket.connect", "socket.sendto")) else None)
from multiedge.backends.mnn import MnnBackend
folder = Path({str(tmp_path)!r})
MnnBackend().convert(folder / "model.onnx", folder / "model.mnn")
MnnBackend().open(folder / "model.mnn")
print(json.dumps([[name for name in sys.modules if "aliyun" in name or name.startswith("MNN.tools")], calls]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], []]
