"""A pipeline of OpenVINO and onnxruntime: converted, planned, checked and run, with the outputs of the whole model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.conversion.ready import converted
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.openvino import OpenVinoBackend
from multiedge.backends.stages import CONVERTED
from multiedge.cli import main
from multiedge.errors import ModelError, PipelineError
from multiedge.executors import open_pipeline
from multiedge.formats.devices import read_fleet
from tests.builders.pipelines import small_model

pytest.importorskip("openvino", reason="pip install 'multi-edge-bench[openvino]'")

DEVICES = """\
devices:
  - {name: box, speed: 1, backend: openvino, bandwidth: 1Gbps}
  - {name: laptop, speed: 1, bandwidth: 1Gbps}
partition_points:
  - {input_names: [x], output_names: [h2, h1], device_name: box}
  - {input_names: [h2, h1], output_names: ["y"], device_name: laptop}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and the parts of a plan for two runtimes, the first part converted."""
    folder = tmp_path_factory.mktemp("mixed")
    small_model(folder / "small.onnx")
    (folder / "devices.yaml").write_text(DEVICES)
    words = ["--devices", str(folder / "devices.yaml"), "--strategy", "manual", "-o", str(folder / "parts")]
    assert main(["plan", str(folder / "small.onnx"), *words]) == 0
    assert converted(OpenVinoBackend(), folder / "parts" / "sub_model_1.onnx", folder / "parts" / CONVERTED).reason == ""
    return folder


def test_the_plan_records_each_devices_runtime(folder: Path) -> None:
    runtimes = json.loads((folder / "parts" / "plan.json").read_text())["plan"]["runtimes"]
    assert {name: (each["backend"], each["precision"]) for name, each in runtimes.items()} == {
        "box": ("openvino", "float32"),
        "laptop": ("onnxruntime", "float32"),
    }
    assert all(each["version"] for each in runtimes.values())


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_outputs_are_those_of_the_whole_model(folder: Path, executor: str) -> None:
    items = [{"x": np.random.default_rng(seed).standard_normal((1, 16)).astype(np.float32)} for seed in range(3)]
    whole = OnnxRuntimeBackend().open(folder / "small.onnx")
    with open_pipeline(folder / "parts", read_fleet(folder / "devices.yaml"), executor) as pipeline:
        results, _ = pipeline.map(items)
    for item, result in zip(items, results, strict=True):
        np.testing.assert_allclose(result.require()["y"], whole.run(item)["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_parts_equal_the_whole_in_the_other_runtime_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folder / "parts"), "--backend", "openvino", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"]


def test_a_part_that_is_known_to_be_wrong_is_not_run(folder: Path) -> None:
    (record,) = (folder / "parts" / CONVERTED).glob("sub_model_1-*.json")
    before = record.read_text()
    wrong = {**json.loads(before), "state": "failed", "is_final": True, "reason": "first wrong node 'layer_h1' (MatMul)"}
    record.write_text(json.dumps(wrong))
    try:
        with (
            pytest.raises((PipelineError, ModelError), match=r"first wrong node 'layer_h1'"),
            open_pipeline(folder / "parts", read_fleet(folder / "devices.yaml"), "inline"),
        ):
            pass
    finally:
        record.write_text(before)
