"""A device with the backend auto: measured, planned and run with what was chosen, and measured by the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends import BACKENDS
from multiedge.backends.automatic import installed_version
from multiedge.backends.choices import Choice, Choices, Outcome, path_of, save_choices
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.cli import main
from multiedge.executors import open_pipeline
from multiedge.fleet import default_runtime_bytes
from multiedge.formats.devices import read_fleet
from multiedge.onnx_io import read_manifest
from tests.builders.pipelines import small_model

pytest.importorskip("openvino", reason="pip install 'multi-edge-bench[openvino]'")

DEVICES = """\
devices:
  - {name: box, speed: 1, bandwidth: 1Gbps}
  - {name: laptop, speed: 1, backend: onnxruntime, bandwidth: 1Gbps}
partition_points:
  - {input_names: [x], output_names: [h2, h1], device_name: box}
  - {input_names: [h2, h1], output_names: ["y"], device_name: laptop}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small_model(tmp_path / "small.onnx")
    (tmp_path / "devices.yaml").write_text(DEVICES)
    return tmp_path


def planned(folder: Path) -> dict[str, str]:
    """The backend of each device in a new plan."""
    words = ["--devices", str(folder / "devices.yaml"), "--strategy", "manual", "-o", str(folder / "parts")]
    assert main(["plan", str(folder / "small.onnx"), *words]) == 0
    runtimes = json.loads((folder / "parts" / "plan.json").read_text())["plan"]["runtimes"]
    return {name: runtime["backend"] for name, runtime in runtimes.items()}


def planned_bytes(folder: Path) -> int:
    """The memory of the box in the plan."""
    plan = read_manifest(folder / "parts").plan
    assert plan is not None
    return plan.estimate.planned_bytes["box"]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_parts_run_with_what_was_measured_of_their_model(folder: Path, executor: str) -> None:
    assert planned(folder) == {"box": "onnxruntime", "laptop": "onnxruntime"}
    model, fleet = folder / "small.onnx", read_fleet(folder / "devices.yaml")
    row = Choice("openvino", "float32", installed_version("openvino"), Outcome.TIMED, 1e-6)
    save_choices(Choices(model.name, 1, (row,)), path_of(model, fleet.device("box")))
    before = planned_bytes(folder)
    assert planned(folder) == {"box": "openvino", "laptop": "onnxruntime"}
    assert planned_bytes(folder) - before >= default_runtime_bytes("openvino") - default_runtime_bytes("onnxruntime")
    assert main(["verify", str(folder / "parts"), "--devices", str(folder / "devices.yaml")]) == 0
    item = {"x": np.random.default_rng(0).standard_normal((1, 16)).astype(np.float32)}
    with open_pipeline(folder / "parts", fleet, executor) as pipeline:
        (result,), measurements = pipeline.map([item])
    np.testing.assert_allclose(result.require()["y"], OnnxRuntimeBackend().open(model).run(item)["y"], rtol=1e-4, atol=1e-5)
    ran = {each.device: (each.backend, each.precision) for each in measurements.runtimes}
    assert ran == {"box": ("openvino", "float32"), "laptop": ("onnxruntime", "float32")}


@pytest.mark.slow
def test_the_command_measures_parts_and_later_runs_take_its_choice(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Others would set up the environments of their converters in the test's cache.
    monkeypatch.setattr(BACKENDS, "names", lambda: ("onnxruntime", "openvino"))
    planned(folder)
    capsys.readouterr()
    words = ["--auto", "--devices", str(folder / "devices.yaml"), "--precision", "float32", "--json"]
    assert main(["convert", str(folder / "parts"), *words]) == 0
    (measured,) = json.loads(capsys.readouterr().out)
    assert measured["devices"] == ["box"]
    tried = {row["backend"] for row in measured["rows"]}
    assert {"onnxruntime", "openvino"} <= tried
    fleet = read_fleet(folder / "devices.yaml")
    with open_pipeline(folder / "parts", fleet, "inline") as pipeline:
        _, measurements = pipeline.map([{"x": np.zeros((1, 16), np.float32)}])
    assert measurements.runtimes[0].backend == measured["chosen"]["backend"]
