"""`multiedge convert` from words on the command line to its exit status, with the conversion faked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multiedge.backends.conversion.gate import SampleError
from multiedge.backends.conversion.record import Conversion, State
from multiedge.cli import main
from multiedge.commands import convert as command
from tests.builders.onnx_models import layers, saved

pytest.importorskip("openvino", reason="pip install 'multi-edge-bench[openvino]'")

RIGHT = Conversion(
    State.SUCCESS,
    "m.onnx",
    "OpenVinoBackend",
    "2026.4",
    "float32",
    {},
    tolerance=1e-4,
    errors=(SampleError("random", "y", 2e-7, 1.0), SampleError("zeros", "y", 0.0, 1.0)),
    agreement=1.0,
    latency_s=0.01,
    reference_latency_s=0.02,
    artefact={"m.xml": "xxh3:0"},
)
WRONG = Conversion(
    State.FAILED,
    "m.onnx",
    "OpenVinoBackend",
    "2026.4",
    "float32",
    {},
    tolerance=1e-4,
    errors=(SampleError("random", "y", 0.3, 0.5),),
    agreement=0.5,
    reason="m.onnx: gives wrong outputs; first wrong node 'layer_h2' (MatMul)",
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Options of the backend, name of the part, again and inputs of each conversion; those of part 2 fail."""
    calls: list[tuple[Any, ...]] = []

    def converted(backend: Any, part: Path, keep: Path, *, again: bool, inputs: list[Path], limit_s: float) -> Conversion:
        calls.append((backend.numbers, part.name, again, [path.name for path in inputs]))
        return WRONG if part.name == "sub_model_2.onnx" else RIGHT

    monkeypatch.setattr(command, "converted", converted)
    monkeypatch.setattr(command, "peak_bytes", lambda backend, path, inputs: 100 << 20)
    return calls


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(layers(3, 4), tmp_path / "model.onnx")


def test_a_model_is_converted_and_its_figures_are_shown(
    asked: list[tuple[Any, ...]], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(model), "--backend", "openvino"]) == 0
    shown = capsys.readouterr().out
    assert asked == [("float32", "model.onnx", False, [])]
    row = next(line for line in shown.splitlines() if line.startswith("model.onnx  "))
    assert row.split() == ["model.onnx", "success", "2e-07", "100.0%", "0.50", "100.0", "MiB", "100.0", "MiB"]
    assert f"kept in {model.parent}" in shown


def test_precision_inputs_and_another_attempt_are_passed_on(asked: list[tuple[Any, ...]], model: Path) -> None:
    real = model.parent / "real.npz"
    real.touch()
    words = ["--precision", "bfloat16", "--inputs", str(real), "--again"]
    assert main(["convert", str(model), "--backend", "openvino", *words]) == 0
    assert asked == [("bfloat16", "model.onnx", True, ["real.npz"])]


def test_one_wrong_part_of_a_plan_is_an_error_with_its_reason(
    asked: list[tuple[Any, ...]], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["split", str(model), "--at", "h1", "-o", str(tmp_path / "parts")]) == 0
    capsys.readouterr()
    assert main(["convert", str(tmp_path / "parts"), "--backend", "openvino"]) == 1
    assert "first wrong node 'layer_h2' (MatMul)" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "parts"), "--backend", "openvino", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert [(each["state"], each["peak_bytes"]) for each in data] == [("success", 100 << 20), ("failed", None)]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--backend", "onnxruntime"], "--backend onnxruntime: opens .onnx files itself, so there is nothing to convert"),
        (["--backend", "synthetic"], "--backend synthetic: states no tolerances, so its outputs cannot be judged"),
        (["--backend", "openvno"], "unknown backend 'openvno'; did you mean 'openvino'"),
        (["--backend", "openvino", "--precision", "int4"], "option 'precision': expected 'float32' or 'bfloat16' or 'float16'"),
        (
            ["--backend", "openvino", "--precision", "float16", "--option", "precision=float32"],
            "--option precision: a flag gives it, too",
        ),
        (["--backend", "openvino", "--limit", "0"], "--limit: expected more than 0 seconds, got 0"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_line(
    asked: list[tuple[Any, ...]], model: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    assert main(["convert", str(model), *words]) == 1
    assert text in capsys.readouterr().err
    assert asked == []
