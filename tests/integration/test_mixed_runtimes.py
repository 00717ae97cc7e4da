"""A pipeline of OpenVINO and onnxruntime: converted, planned, checked and run, with the outputs of the whole model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.conversion.gate import relative_error
from multiedge.backends.conversion.ready import can_be_offline, converted
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.openvino import OpenVinoBackend
from multiedge.backends.stages import CONVERTED, load_backend
from multiedge.cli import main
from multiedge.errors import ModelError, PipelineError
from multiedge.executors import open_pipeline
from multiedge.fleet import Device, Fleet
from multiedge.formats.devices import read_fleet
from multiedge.onnx_io import read_graph, write_parts
from multiedge.onnx_io.items import random_items
from multiedge.run import plan_model, profile_model
from tests.builders import models
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


@pytest.mark.slow
@pytest.mark.parametrize("export", [models.efficientnet_lite0, models.vit_b16], ids=lambda export: export.__name__)
def test_three_runtimes_in_one_pipeline_answer_as_the_whole_model(tmp_path: Path, export: Callable[[], Path]) -> None:
    pytest.importorskip("MNN", reason="pip install 'multi-edge-bench[mnn]'")
    if not can_be_offline():
        pytest.skip("this system permits no process without a network, which MNN's converter needs")
    backends = ("mnn", "openvino", "onnxruntime")
    fleet = Fleet(tuple(Device(name, speed=1.0, backend=name) for name in backends))
    graph = read_graph(export())
    manifest = write_parts(graph, plan_model(profile_model(graph, fleet), fleet, "equal_flops"), tmp_path / "parts")
    for part in manifest.parts[:2]:
        conversion = converted(load_backend(part.device), tmp_path / "parts" / part.file, tmp_path / "parts" / CONVERTED)
        assert conversion.reason == ""
    items = random_items(manifest, 3)
    whole = OnnxRuntimeBackend().open(Path(graph.path))
    with open_pipeline(manifest, fleet, "processes") as pipeline:
        results, _ = pipeline.map(items)
    assert {runtime.backend for runtime in manifest.plan.runtimes.values()} == set(backends)
    for item, result in zip(random_items(manifest, 3), results, strict=True):
        expected, actual = whole.run(item)["logits"], result.require()["logits"]
        assert relative_error(expected, actual) < 1e-3
        assert expected.argmax() == actual.argmax()


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
