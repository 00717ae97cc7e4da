"""`multiedge verify` from words on the command line to its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from multiedge.cli import main
from tests.builders.onnx_models import layers, saved

FLEET = "devices:\n- {name: a, speed: 1}\n- {name: b, speed: 2}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plan folder, with devices.yaml beside it."""
    model = saved(layers(4), tmp_path / "model.onnx")
    (tmp_path / "devices.yaml").write_text(FLEET)
    assert main(["plan", str(model), "--devices", str(tmp_path / "devices.yaml"), "-o", str(tmp_path / "plan")]) == 0
    return tmp_path


def verify(folder: Path, *words: str) -> int:
    return main(["verify", str(folder / "plan"), "--devices", str(folder / "devices.yaml"), *words])


def test_a_plan_folder_is_confirmed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert verify(folder) == 0
    shown = capsys.readouterr().out
    assert "every statement of the plan is confirmed" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_a_figure_that_was_changed_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "plan" / "plan.json"
    data = json.loads(path.read_text())
    data["plan"]["latency_s"] *= 2
    path.write_text(json.dumps(data))
    capsys.readouterr()
    assert verify(folder, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "wrong"
    assert [finding["what"] for finding in told["findings"] if finding["verdict"] == "wrong"] == ["latency_s"]


def test_a_plan_of_another_model_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = saved(layers(5), tmp_path / "other.onnx")
    profile = tmp_path / "other.json"
    assert main(["profile", str(other), "--devices", str(folder / "devices.yaml"), "-o", str(profile)]) == 0
    capsys.readouterr()
    assert verify(folder, "--profile", str(profile)) == 1
    assert "made for another model" in capsys.readouterr().err
