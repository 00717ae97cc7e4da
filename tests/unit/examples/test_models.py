"""How the ImageNet benchmark comes by its models, without loading torch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

BENCH = Path(__file__).parents[3] / "examples" / "imagenet" / "multiedge_inference_bench"
sys.path.insert(0, str(BENCH))

pytest.importorskip("PIL", reason="needs the extra [bench]")

from imagenet_bench import models  # noqa: E402

from multiedge.errors import ConfigError, MissingDependencyError  # noqa: E402


def model_with_constant() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Constant", [], ["two"], value=onnx.numpy_helper.from_array(np.float32(2.0))),
        helper.make_node("Mul", ["image", "two"], ["logits"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4096]) for name in ("image", "logits")]
    return helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:]))


def test_constants_become_weights() -> None:
    graph = model_with_constant().graph
    models.constants_to_initializers(graph)
    assert [node.op_type for node in graph.node] == ["Mul"]
    assert onnx.numpy_helper.to_array(graph.initializer[0]) == 2.0
    assert graph.initializer[0].name == "two"


def test_weights_lie_beside_the_model(tmp_path: Path) -> None:
    model = model_with_constant()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(4096, np.float32), "w"))
    for _ in range(2):
        models.save_with_weights_beside(onnx.ModelProto.FromString(model.SerializeToString()), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx.data").stat().st_size == 4 * 4096
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    onnx.checker.check_model(str(tmp_path / "model.onnx"))


def test_weights_are_taken_in_order_where_names_differ() -> None:
    own = {"a.weight": np.zeros((2, 3)), "a.bias": np.zeros(2)}
    other = {"x": np.ones((2, 3)), "y": np.full(2, 5.0)}
    taken = models.in_order(own, other, Path("w.pth"))
    assert list(taken) == ["a.weight", "a.bias"]
    assert taken["a.bias"] is other["y"]


@pytest.mark.parametrize("other", [{"x": np.ones((3, 2)), "y": np.ones(2)}, {"x": np.ones((2, 3))}])
def test_weights_that_do_not_fit_are_counted(other: dict[str, np.ndarray]) -> None:
    own = {"a.weight": np.zeros((2, 3)), "a.bias": np.zeros(2)}
    with pytest.raises(ConfigError, match=r"w\.pth: expected 2 tensors that fit, got"):
        models.in_order(own, other, Path("w.pth"))


def test_unknown_model_lists_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown model 'efficientnet'; did you mean 'efficientnet_lite0'"):
        models.prepare_model("efficientnet", tmp_path)


def test_model_without_its_note_is_no_prepared_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.json: no such note of .*; run prepare\.py"):
        models.read_weights(tmp_path / "model.onnx")


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent() -> None:
        raise ModuleNotFoundError("No module named 'timm'", name="timm")

    monkeypatch.setitem(models.MODELS, models.VIT, absent)
    with pytest.raises(
        MissingDependencyError, match=r"package 'timm' is not installed; run: pip install 'multi-edge-bench\[bench\]'"
    ):
        models.prepare_model(models.VIT, tmp_path)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "file:///nowhere"])
def test_hub_that_does_not_answer_is_no_error(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert models.hub_answers() is False
