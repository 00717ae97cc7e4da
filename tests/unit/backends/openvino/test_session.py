"""OpenVINO behind the contract: names, types of numbers, errors of one line, and no telemetry."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.openvino import OpenVinoBackend
from multiedge.errors import MissingDependencyError, ModelError
from multiedge.fleet import Device
from multiedge.transports.message import ArraySpec
from tests.builders.onnx_models import layers, parsed, saved

pytest.importorskip("openvino", reason="pip install 'multi-edge-bench[openvino]'")

PASSED_ON = """g (float[n, 3] x, float[n, 3] unused) => (float[n, 3] y, float[n, 3] z, float[n, 3] last) {
    y = Identity(x)
    z = Relu(y)
    last = Relu(z)
}"""


def made(folder: Path, body: str = PASSED_ON) -> Path:
    OpenVinoBackend().convert(saved(parsed(body), folder / "model.onnx"), folder / "model.xml")
    return folder / "model.xml"


def test_tensors_keep_their_names_where_one_is_passed_on(tmp_path: Path) -> None:
    session = OpenVinoBackend().open(made(tmp_path))
    assert (session.inputs, session.outputs, session.batch_is_free) == (("x", "unused"), ("y", "z", "last"), True)
    strided = np.arange(-6, 6, dtype=np.float32).reshape(3, 4).T
    outputs = session.run({"x": strided, "unused": strided, "more": strided})
    np.testing.assert_array_equal(outputs["y"], strided)
    np.testing.assert_array_equal(outputs["last"], np.maximum(strided, 0))


def test_outputs_stay_what_they_are_in_the_next_run(tmp_path: Path) -> None:
    session = OpenVinoBackend().open(made(tmp_path))
    ones = np.ones((1, 3), np.float32)
    first = session.run({"x": ones, "unused": ones})["z"]
    session.run({"x": 2 * ones, "unused": ones})
    np.testing.assert_array_equal(first, ones)


def test_outputs_of_known_size_are_written_where_they_are_needed(tmp_path: Path) -> None:
    body = "g (float[2, 3] x) => (float[2, 3] y, float[2, 3] z) { y = Relu(x) z = Neg(y) }"
    session = OpenVinoBackend().open(made(tmp_path, body))
    assert session.fixed == {name: ArraySpec(np.dtype(np.float32), (2, 3)) for name in ("y", "z")}
    x, place, other = (np.full((2, 3), value, np.float32) for value in (5, 0, 0))
    outputs = session.run_into({"x": x}, {"z": place})
    assert outputs["z"] is place
    assert (place == -5).all()
    assert (outputs["y"] == 5).all()
    session.run_into({"x": 2 * x}, {"z": other, "y": place})
    assert ((place == 10) & (other == -10)).all()
    assert (session.run({"x": 3 * x})["z"] == -15).all()
    assert ((place == 10) & (other == -10)).all()


def test_outputs_of_open_size_and_inputs_passed_on_have_memory_of_their_own(tmp_path: Path) -> None:
    assert OpenVinoBackend().open(made(tmp_path)).fixed == {}


def test_a_signal_is_handled_after_sessions_of_two_parts(tmp_path: Path) -> None:
    """As in a worker that has held two stages; of two Cores, one left a stack for signals that had been freed."""
    code = f"""
import os, signal
from pathlib import Path
from multiedge.backends.openvino import OpenVinoBackend
first, second = [OpenVinoBackend().open(Path({str(made(tmp_path))!r})) for _ in range(2)]
first.close()
second.close()
del first, second
signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n")


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.xml: input 'unused' was not given"):
        OpenVinoBackend().open(made(tmp_path)).run({"x": np.zeros((1, 3), np.float32)})


def test_numbers_are_float32_and_threads_those_of_the_device(tmp_path: Path) -> None:
    compiled = OpenVinoBackend().open(made(tmp_path), Device("d", threads=2)).compiled
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2
    assert compiled.get_property("NUM_STREAMS") == 1


def test_weights_stay_float32_in_the_file(tmp_path: Path) -> None:
    OpenVinoBackend().convert(saved(layers(2, 16), tmp_path / "model.onnx"), tmp_path / "model.xml")
    assert (tmp_path / "model.bin").stat().st_size == 2 * 16 * 16 * 4


def test_bad_files_and_operators_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.xml: no such model file"):
        OpenVinoBackend().open(tmp_path / "none.xml")
    (tmp_path / "bad.xml").write_text("no model")
    with pytest.raises(ModelError, match=r"^.*bad\.xml: OpenVINO cannot load this file: .*$"):
        OpenVinoBackend().open(tmp_path / "bad.xml")
    body = "g (float[n, 3] x) => (float[n, 3] y) { y = acme.Strange(x) }"
    source = saved(parsed(body, opsets='"" : 17, "acme" : 1'), tmp_path / "strange.onnx")
    with pytest.raises(ModelError, match=r"strange\.onnx: OpenVINO cannot convert this file: .*acme\.Strange"):
        OpenVinoBackend().convert(source, tmp_path / "strange.xml")


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'multi-edge-bench\[openvino\]'"):
        _ = OpenVinoBackend().version


def test_converting_and_running_loads_no_telemetry_and_connects_nowhere(tmp_path: Path) -> None:
    saved(parsed(PASSED_ON), tmp_path / "model.onnx")
    code = f"""
import json, sys
from pathlib import Path
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event.startswith(("socket.connect", "socket.sendto")) else None)
from multiedge.backends.openvino import OpenVinoBackend
folder = Path({str(tmp_path)!r})
OpenVinoBackend().convert(folder / "model.onnx", folder / "model.xml")
OpenVinoBackend().open(folder / "model.xml")
loaded = [name for name in sys.modules if name.startswith("openvino_telemetry")]
print(json.dumps([loaded, calls]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], []]
