"""Sessions: what goes in and out, what is refused, and which settings reach the runtime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from multiedge.backends import BACKENDS
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.onnxruntime.session import Recording, open_session
from multiedge.backends.synthetic import SyntheticBackend
from multiedge.errors import ConfigError, ModelError
from multiedge.fleet import Device


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = 2 x, the first axis free."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 3)) for name in ("x", "y")]
    two = helper.make_tensor("two", TensorProto.FLOAT, (1,), [2.0])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["y"])], "double", value[:1], value[1:], [two])
    path = tmp_path / "double.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def synthetic(path: Path, **description: object) -> Path:
    path.write_text(json.dumps(description))
    return path


def test_backends_are_found_by_name() -> None:
    assert BACKENDS.load("onnxruntime") is OnnxRuntimeBackend
    with pytest.raises(ConfigError, match=r"onnxruntme.*did you mean.*onnxruntime"):
        BACKENDS.load("onnxruntme")


def test_a_session_maps_named_tensors(model: Path) -> None:
    session = OnnxRuntimeBackend().open(model)
    strided = np.arange(12, dtype=np.float32).reshape(3, 4).T
    np.testing.assert_array_equal(session.run({"x": strided, "more": strided})["y"], 2 * strided)
    assert (session.inputs, session.outputs, session.batch_is_free) == (("x",), ("y",), True)


def test_a_missing_input_is_named(model: Path) -> None:
    with pytest.raises(ModelError, match=r"double.onnx: input 'x' was not given"):
        OnnxRuntimeBackend().open(model).run({"X": np.zeros((1, 3), dtype=np.float32)})


def test_threads_come_from_the_device_and_do_not_spin(model: Path) -> None:
    options = OnnxRuntimeBackend().open(model, Device("d", threads=2)).raw.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert OnnxRuntimeBackend().open(model).raw.get_session_options().intra_op_num_threads == 1


def test_memory_settings_reach_the_runtime(model: Path) -> None:
    options = OnnxRuntimeBackend(arena=False, memory_pattern=False, prepack=False).open(model).raw.get_session_options()
    assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (False, False)
    assert options.get_session_config_entry("session.disable_prepacking") == "1"


def test_packed_weights_are_kept_and_used_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = helper.make_tensor("w", TensorProto.FLOAT, (64, 64), rng.normal(size=64 * 64).astype(np.float32))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 64)) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "product", values[:1], values[1:], [weight])
    path, folder = tmp_path / "product.onnx", tmp_path / "kept"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    feed = {"x": rng.normal(size=(1, 64)).astype(np.float32)}
    expected = OnnxRuntimeBackend().open(path).run(feed)["y"]
    for _ in range(2):
        session = OnnxRuntimeBackend(prepacked=str(folder)).open(path)
        np.testing.assert_allclose(session.run(feed)["y"], expected, rtol=1e-6)
    (kept,) = folder.iterdir()
    assert sorted(file.name for file in kept.iterdir()) == ["model.onnx", "weights.bin"]
    weight.float_data[0] += 1
    graph.initializer[0].CopyFrom(weight)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert not np.allclose(OnnxRuntimeBackend(prepacked=str(folder)).open(path).run(feed)["y"], expected)
    assert len(list(folder.iterdir())) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, model: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"file/kept: packed weights cannot be kept here"):
        OnnxRuntimeBackend(prepacked=str(tmp_path / "file" / "kept")).open(model)


def test_bad_files_and_settings_are_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ModelError, match=r"no such model file"):
        OnnxRuntimeBackend().open(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"bad.onnx: onnxruntime cannot load this file"):
        OnnxRuntimeBackend().open(tmp_path / "bad.onnx")
    with pytest.raises(ConfigError, match=r"optimisation: unknown level 'al'.*all"):
        OnnxRuntimeBackend(optimisation="al")


@pytest.mark.parametrize("recording", [False, True])
def test_a_model_that_the_runtime_refuses_is_one_line(
    tmp_path: Path, model: Path, capfd: pytest.CaptureFixture[str], recording: bool
) -> None:
    proto = onnx.load(model)
    proto.ir_version = 99
    onnx.save(proto, tmp_path / "new.onnx")
    with pytest.raises(ModelError) as caught:
        open_session(
            OnnxRuntimeBackend(), tmp_path / "new.onnx", recording=Recording(tmp_path / "profile") if recording else None
        )
    text = str(caught.value).removeprefix(f"{tmp_path / 'new.onnx'}: onnxruntime cannot load this file: ")
    assert text.startswith("Unsupported model IR version: 99")
    assert capfd.readouterr().err == ""


def test_a_synthetic_stage_does_as_described(tmp_path: Path) -> None:
    session = SyntheticBackend().open(synthetic(tmp_path / "s.json", inputs=["a"], outputs={"b": "a"}, add=2))
    assert session.run({"a": np.ones(2)})["b"].tolist() == [3.0, 3.0]
    with pytest.raises(ModelError, match=r"input 'a' was not given"):
        session.run({})


def test_a_synthetic_stage_that_is_misspelt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"unknown key 'secnds'.*seconds"):
        SyntheticBackend().open(synthetic(tmp_path / "s.json", secnds=1))
    with pytest.raises(ModelError, match=r"no such description of a synthetic stage"):
        SyntheticBackend().open(tmp_path / "none.json")
