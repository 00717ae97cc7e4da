"""`multiedge convert --auto` from words on the command line to tables, with the measuring faked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multiedge.backends.choices import Choice, Choices, Outcome
from multiedge.cli import main
from multiedge.commands import _choosing as command
from multiedge.fleet import Device
from tests.builders.onnx_models import layers, saved

ROWS = (
    Choice("onnxruntime", "float32", "1.2", Outcome.TIMED, 0.004, 1e-5, 0.0, 1.0),
    Choice("onnxruntime", "float16", "1.2", Outcome.TIMED, 0.002, 1e-5, 0.015, 0.8),
    Choice("mnn", "float32", "3.0", Outcome.SLOWER, 0.02, 1e-5, 2e-6, 1.0),
    Choice("openvino", "float16", "2.0", Outcome.FAILED, reason="this CPU has no units for float16"),
)
DEVICES = """\
devices:
  - {name: a, threads: 1}
  - {name: b, threads: 1}
  - {name: c, threads: 2, precision: float32}
  - {name: d, backend: openvino}
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Part, threads and settings of each measurement."""
    calls: list[tuple[Any, ...]] = []

    def measure(
        part: Path, device: Device, *, precision: str, again: bool, inputs: list[Path], progress: Any, **_: Any
    ) -> Choices:
        progress("openvino float32", 0.5)
        calls.append((part.name, device.threads, precision, again, [path.name for path in inputs]))
        return Choices(part.name, device.threads, ROWS)

    monkeypatch.setattr(command, "measure_choices", measure)
    return calls


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "devices.yaml").write_text(DEVICES)
    return saved(layers(3, 4), tmp_path / "model.onnx")


def test_candidates_are_shown_fastest_first_with_what_is_chosen(
    asked: list[tuple[Any, ...]], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(model), "--auto"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert asked == [("model.onnx", 1, "", False, [])]
    table = [line.split() for line in lines if line.startswith(("openvino", "onnxruntime", "mnn"))]
    assert table[0] == ["onnxruntime", "1.2", "float16", "chosen", "0.015", "80.0%", "2", "0.50"]
    assert [row[:4] for row in table[1:4]] == [
        ["onnxruntime", "1.2", "float32", "ready"],
        ["mnn", "3.0", "float32", "slower"],
        ["openvino", "2.0", "float16", "failed"],
    ]
    assert "openvino float16: this CPU has no units for float16" in lines
    assert "chosen: onnxruntime float16" in lines
    assert max(map(len, lines[:8])) <= 80


def test_ratios_are_those_to_the_reference_with_the_numbers_of_the_file_also_where_its_int8_is_faster(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    near = Choice("onnxruntime", "int8", "1.2", Outcome.TIMED, 0.001, 1e-5, 0.02, 0.99, is_approximate=True)
    monkeypatch.setattr(command, "measure_choices", lambda *_, **__: Choices("model.onnx", 1, (ROWS[0], near), 0.9))
    assert main(["convert", str(model), "--auto", "--min-agreement", "0.9"]) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("onnxruntime")]
    assert [(row[2], row[3], row[-1]) for row in table] == [("int8", "chosen", "0.25"), ("float32", "ready", "1.00")]


def test_devices_with_the_same_threads_are_measured_once_and_those_with_a_backend_not_at_all(
    asked: list[tuple[Any, ...]], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--auto", "--devices", str(model.parent / "devices.yaml"), "--json", "--again"]
    assert main(["convert", str(model), *words]) == 0
    assert asked == [("model.onnx", 1, "", True, []), ("model.onnx", 2, "", True, [])]
    data = json.loads(capsys.readouterr().out)
    assert [(each["devices"], each["chosen"]["precision"]) for each in data] == [(["a", "b"], "float16"), (["c"], "float32")]


def test_parts_are_measured_for_their_devices(asked: list[tuple[Any, ...]], model: Path, tmp_path: Path) -> None:
    devices = str(model.parent / "devices.yaml")
    plan = ["plan", str(model), "--devices", devices, "--strategy", "equal_parameters", "-o", str(tmp_path / "parts")]
    assert main(plan) == 0
    assert main(["convert", str(tmp_path / "parts"), "--auto", "--devices", devices]) == 0
    assert {(part, threads) for part, threads, *_ in asked} <= {
        (f"sub_model_{number}.onnx", threads) for number in range(1, 5) for threads in (1, 2)
    }
    assert len(asked) >= 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--auto", "--option", "precision=float16"], "--option: is for one backend; give --backend in place of --auto"),
        (["--auto", "--precision", "float8"], "--precision: expected float32, bfloat16, float16, int8, int4, got 'float8'"),
        (["--auto", "--min-agreement", "2"], "--min-agreement: expected a share above 0 and at most 1, got 2"),
        (["--backend", "openvino", "--devices", "x.yaml"], "--devices: has no effect without --auto"),
        (["--backend", "openvino", "--type", "gpu"], "--type: has no effect without --auto"),
        (["--auto", "--type", "gpu", "--devices", "x.yaml"], "--type: has no effect with --devices, which states the types"),
        (["--auto", "--type", "intel"], "--type: expected cpu, x86-cpu, arm-cpu, intel-gpu, intel-npu, gpu, "),
    ],
)
def test_what_has_no_effect_is_refused_in_one_line(
    asked: list[tuple[Any, ...]], model: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    assert main(["convert", str(model), *words]) == 1
    assert text in capsys.readouterr().err
    assert asked == []


def test_a_fleet_without_a_choice_is_refused(
    asked: list[tuple[Any, ...]], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model.parent / "named.yaml").write_text("devices: [{name: d, backend: openvino}]\n")
    assert main(["convert", str(model), "--auto", "--devices", str(model.parent / "named.yaml")]) == 1
    assert "every device names its backend; write backend: auto, or leave it out" in capsys.readouterr().err
