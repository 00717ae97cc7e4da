"""A pipeline of several runtimes and precisions: planned at a limited loss, audited and run; answers are compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.boundaries import keep_boundaries, run_stages
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.stages import CONVERTED
from multiedge.cli import main
from multiedge.executors import open_pipeline
from multiedge.formats.devices import read_fleet
from multiedge.onnx_io import read_manifest
from tests.builders.onnx_models import noise, parsed, saved

pytestmark = pytest.mark.slow

CLASSIFIER = """g (float[1, 3, 32, 32] x) => (float[1, 10] y) {
    [first] a = Conv<pads = [1, 1, 1, 1]>(x, w1)
    [first_relu] b = Relu(a)
    [second] c = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(b, w2)
    [second_relu] d = Relu(c)
    [third] e = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(d, w3)
    [third_relu] f = Relu(e)
    [pool] p = GlobalAveragePool(f)
    [flat] q = Flatten(p)
    [classes] y = Gemm(q, w4)
}"""
MIXED = """\
devices:
  - {name: box, speed: 1, backend: openvino, bandwidth: 1Gbps}
  - {name: phone, speed: 1, backend: onnxruntime, precision: int8, bandwidth: 1Gbps}
  - {name: laptop, speed: 1, backend: onnxruntime, bandwidth: 1Gbps}
partition_points:
  - {input_names: [x], output_names: [b], device_name: box}
  - {input_names: [b], output_names: [d], device_name: phone}
  - {input_names: [d], output_names: ["y"], device_name: laptop}
"""
EQUAL = """\
devices:
  - {name: phone, speed: 1, backend: onnxruntime, bandwidth: 1Gbps}
  - {name: laptop, speed: 1, backend: onnxruntime, bandwidth: 1Gbps}
"""
ITEMS = [{"x": noise(1, 3, 32, 32, seed=seed)} for seed in range(8)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variants")
    weights = {"w1": noise(32, 3, 3, 3), "w2": noise(64, 32, 3, 3, seed=1), "w3": noise(64, 64, 3, 3, seed=2)}
    scaled = {name: value / np.float32(np.prod(value.shape[1:]) ** 0.5) for name, value in weights.items()}
    saved(parsed(CLASSIFIER, **scaled, w4=noise(64, 10, seed=3)), folder / "model.onnx")
    (folder / "inputs").mkdir()
    for number, item in enumerate(ITEMS):
        np.savez(folder / "inputs" / f"{number}.npz", allow_pickle=False, **item)
    (folder / "mixed.yaml").write_text(MIXED)
    (folder / "equal.yaml").write_text(EQUAL)
    return folder / "model.onnx"


def expected(model: Path) -> list[np.ndarray]:
    whole = OnnxRuntimeBackend().open(model)
    return [whole.run(item)["y"] for item in ITEMS]


def answers(parts: Path, devices: Path) -> list[np.ndarray]:
    with open_pipeline(parts, read_fleet(devices), "processes") as pipeline:
        results, _ = pipeline.map(ITEMS)
    return [result.require()["y"] for result in results]


def test_a_pipeline_of_two_runtimes_and_two_precisions_gives_the_answers_of_the_model(model: Path) -> None:
    pytest.importorskip("openvino", reason="pip install 'multi-edge-bench[openvino]'")
    folder, devices = model.parent, model.parent / "mixed.yaml"
    assert main(["plan", str(model), "--devices", str(devices), "--strategy", "manual", "-o", str(folder / "mixed")]) == 0
    manifest = read_manifest(folder / "mixed")
    keep_boundaries(manifest, run_stages(manifest, ITEMS))
    made = answers(folder / "mixed", devices)
    for whole, parts in zip(expected(model), made, strict=True):
        assert np.abs(whole - parts).max() < 0.1 * np.abs(whole).max()
        assert whole.argmax() == parts.argmax() or np.sort(whole)[0, -1] - np.sort(whole)[0, -2] < 0.1
    assert any((folder / "mixed" / CONVERTED).glob("sub_model_2-*/sub_model_2.onnx"))


def test_a_plan_at_a_limited_loss_is_audited_and_runs_as_it_was_measured(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, devices = model.parent, str(model.parent / "equal.yaml")
    words = ["--max-accuracy-loss", "30%", "--inputs", str(folder / "inputs"), "--pareto", str(folder / "accuracy.svg")]
    assert main(["plan", str(model), "--devices", devices, *words, "-o", str(folder / "parts"), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["accuracy"]["kind"], plan["accuracy"]["items"], plan["accuracy"]["limit"]) == ("agreement", 8, 0.3)
    assert "loss of agreement" in (folder / "accuracy.svg").read_text()
    assert main(["verify", str(folder / "parts"), "--devices", devices]) == 0
    assert "loss of agreement" in capsys.readouterr().out
    made = answers(folder / "parts", folder / "equal.yaml")
    agreement = np.mean([whole.argmax() == parts.argmax() for whole, parts in zip(expected(model), made, strict=True)])
    assert agreement == plan["accuracy"]["value"]


def test_an_int8_model_is_made_with_inputs_and_labels(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = model.parent / "labels.txt"
    labels.write_text("".join(f"{number}.npz {whole.argmax()}\n" for number, whole in enumerate(expected(model))))
    words = ["--precision", "int8", "--inputs", str(model.parent / "inputs"), "--labels", str(labels), "--json"]
    assert main(["convert", str(model), *words]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["state"], record["precision"], record["reference_accuracy"]) == ("success", "int8", 1.0)
    assert record["accuracy"] == record["agreement"] >= 0.5
    assert record["inputs"]
