"""The process with the converter: what it leaves, and its last line where it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from multiedge.backends.litert import LiteRtBackend
from multiedge.backends.litert import convert as module
from multiedge.backends.litert.convert import convert
from multiedge.backends.litert.onnx2tf_child import plain
from multiedge.errors import ConfigError, ModelError

MAKES = """
import os, signal, sys
from pathlib import Path
source, folder = sys.argv[1:]
text = Path(source).read_text()
if text == "large":
    os.kill(os.getpid(), signal.SIGKILL)
if text != "model":
    print("a line of its log", file=sys.stderr)
    sys.exit("NotImplementedError: operator Strange")
Path(folder, "model.tflite").write_text("made")
Path(folder, "names.json").write_text("{}")
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "child.py").write_text(MAKES)
    monkeypatch.setattr(module, "CHILD", tmp_path / "child.py")


def test_the_file_and_its_names_are_beside_each_other(tmp_path: Path, child: None) -> None:
    (tmp_path / "a.onnx").write_text("model")
    (tmp_path / "out").mkdir()
    convert(Path(sys.executable), tmp_path / "a.onnx", tmp_path / "out" / "a.tflite")
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {"a.tflite": "made", "a.json": "{}"}


def test_a_refusal_is_the_converters_last_line(tmp_path: Path, child: None) -> None:
    (tmp_path / "a.onnx").write_text("strange")
    with pytest.raises(ModelError, match=r"a\.onnx: onnx2tf cannot convert this file: NotImplementedError: operator Strange$"):
        convert(Path(sys.executable), tmp_path / "a.onnx", tmp_path / "a.tflite")
    assert not (tmp_path / "a.tflite").exists()


def test_a_converter_that_was_killed_has_not_refused(tmp_path: Path, child: None) -> None:
    (tmp_path / "a.onnx").write_text("large")
    with pytest.raises(ModelError, match=r"a\.onnx: onnx2tf was stopped by signal 9$") as caught:
        convert(Path(sys.executable), tmp_path / "a.onnx", tmp_path / "a.tflite")
    assert isinstance(caught.value.__cause__, subprocess.CalledProcessError)


def test_without_an_interpreter_the_line_has_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"^onnx2tf: option 'python': expected an interpreter of Python 3\.12 .* got '/gone'$"
    ):
        LiteRtBackend(python="/gone").prepare()


def test_names_of_tensors_lose_what_signatures_add() -> None:
    assert [plain(name) for name in ("x", "serving_default_x:0", "a:0")] == ["x", "x", "a:0"]
