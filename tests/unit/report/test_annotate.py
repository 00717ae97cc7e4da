"""A plan in the model: what viewers find there, and that the model still runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from multiedge.errors import ConfigError, PlanError
from multiedge.onnx_io.model_file import open_model
from multiedge.plan import Estimate, Plan, Stage
from multiedge.report.annotate import CONFIGURATION, annotate
from tests.builders.onnx_models import parsed

WEIGHTS = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)


def write_model(path, ir_version, external=False):
    """x @ w -> relu -> @ w, with 16 KiB of weights in the file or beside it."""
    text = "small (float[1,64] x) => (float[1,64] y) { a = MatMul(x, w)  b = Relu(a)  y = MatMul(b, w) }"
    model = parsed(text, ir=ir_version, w=WEIGHTS)
    onnx.save_model(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)
    return path


def plan_for(path, cut=1):
    stages = (Stage.span("nano", 0, cut), Stage.span("tx2", cut, 3))
    nothing = Estimate((), 0.0, "", 0.0, None, 0)
    return Plan("exact", "throughput", stages, (), nothing, 0.0, model_hash=open_model(path).model_hash, model="small")


def run_model(path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime runs the annotated model")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((1, 64), np.float32)})[0]


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("ir_version", [8, 11])
def test_annotated_model_computes_the_same(tmp_path, external, elsewhere, ir_version):
    source = write_model(tmp_path / "model.onnx", ir_version, external)
    before = source.read_bytes()
    out = annotate(source, plan_for(source), tmp_path / ("other" if elsewhere else ".") / "annotated.onnx")
    np.testing.assert_array_equal(run_model(out), run_model(source))
    assert source.read_bytes() == before
    onnx.checker.check_model(str(out))


def test_every_node_names_stage_and_device(tmp_path):
    source = write_model(tmp_path / "model.onnx", 8)
    model = onnx.load(annotate(source, plan_for(source), tmp_path / "annotated.onnx"), load_external_data=False)
    said = [{entry.key: entry.value for entry in node.metadata_props} for node in model.graph.node]
    assert [(entry["multiedge.stage"], entry["multiedge.device"]) for entry in said] == [
        ("1", "nano"),
        ("2", "tx2"),
        ("2", "tx2"),
    ]
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["multiedge.strategy"] == "exact"
    assert properties["multiedge.stage_2"] == "tx2: nodes [1, 3)"
    assert not model.configuration  # these words came with IR version 11


def test_ir_11_says_it_in_onnx_words(tmp_path):
    source = write_model(tmp_path / "model.onnx", 11)
    model = onnx.load(annotate(source, plan_for(source), tmp_path / "annotated.onnx"), load_external_data=False)
    (configuration,) = model.configuration
    assert (configuration.name, configuration.num_devices, list(configuration.device)) == (CONFIGURATION, 2, ["nano", "tx2"])
    assert [node.device_configurations[0].pipeline_stage for node in model.graph.node] == [0, 1, 1]


def test_new_plan_replaces_the_old_one(tmp_path):
    source = write_model(tmp_path / "model.onnx", 11)
    once = annotate(source, plan_for(source), tmp_path / "once.onnx")
    twice = annotate(once, replace(plan_for(source, cut=2), model_hash=""), tmp_path / "twice.onnx")
    model = onnx.load(twice, load_external_data=False)
    assert len(model.configuration) == 1
    assert [len(node.device_configurations) for node in model.graph.node] == [1, 1, 1]
    assert [len(node.metadata_props) for node in model.graph.node] == [2, 2, 2]


def test_weights_are_not_copied_within_a_folder(tmp_path):
    source = write_model(tmp_path / "model.onnx", 8)
    assert annotate(source, plan_for(source), tmp_path / "annotated.onnx").stat().st_size < WEIGHTS.nbytes / 4


def test_plan_of_another_model_is_refused(tmp_path):
    source = write_model(tmp_path / "model.onnx", 8)
    with pytest.raises(PlanError, match="made for another model"):
        annotate(source, replace(plan_for(source), model_hash="other"), tmp_path / "annotated.onnx")
    with pytest.raises(PlanError, match="places 2 nodes, the model has 3"):
        annotate(source, replace(plan_for(source), stages=(Stage.span("nano", 0, 2),)), tmp_path / "annotated.onnx")
    assert not (tmp_path / "annotated.onnx").exists()


def test_model_is_never_overwritten(tmp_path):
    source = write_model(tmp_path / "model.onnx", 8)
    with pytest.raises(ConfigError, match="write to another file"):
        annotate(source, plan_for(source), source)
