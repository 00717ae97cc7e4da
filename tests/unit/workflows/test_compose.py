from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from multiedge.composed import is_void
from multiedge.errors import ConfigError, ModelError, WorkflowError
from multiedge.onnx_io import read_graph
from multiedge.onnx_io.reader import declared_graph
from multiedge.workflows import compose
from tests.builders.onnx_models import noise, parsed, saved
from tests.builders.workflow_oracle import run_composed
from tests.builders.workflows import CLASSES, THRESHOLD, WORKFLOWS, cascade, chain, ensemble, frame, image, video, written


def alone(model: Path, **inputs: Any) -> list[Any]:
    """The outputs of one model of a workflow, run by itself."""
    return list(ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, inputs))


def composed(make: Any, folder: Path) -> Path:
    return compose(make(folder), folder / "cache")


def test_a_cascade_asks_the_large_model_where_the_small_one_is_unsure(tmp_path: Path) -> None:
    path = composed(cascade, tmp_path)
    asked = set()
    for seed in range(12):
        item = image(seed)
        (small,) = alone(tmp_path / "small.onnx", x=item["image"])
        large, _ = alone(tmp_path / "large.onnx", x=item["image"])
        is_unsure = bool(small.max() < THRESHOLD)
        asked.add(is_unsure)
        assert np.array_equal(run_composed(path, item)["probabilities"], large if is_unsure else small)
    assert asked == {True, False}


def test_an_ensemble_reads_one_image_through_adapters_of_its_own(tmp_path: Path) -> None:
    path = composed(ensemble, tmp_path)
    item = {"image": np.random.default_rng(0).integers(0, 256, (1, 8), dtype=np.uint8)}
    x = (item["image"].astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    (small,), (large, _) = alone(tmp_path / "small.onnx", x=x), alone(tmp_path / "large.onnx", x=x)
    expected = (0.25 * small + 0.75 * large).astype(np.float32)
    assert np.array_equal(run_composed(path, item)["probabilities"], expected)


@pytest.mark.parametrize("boxes", [(), ((1, 2),), ((0, 0), (3, 1), (3, 3))])
def test_a_fan_out_classifies_each_box_of_a_frame(boxes: tuple[tuple[int, int], ...], tmp_path: Path) -> None:
    path = composed(video, tmp_path)
    item = frame(*boxes)
    got = run_composed(path, item)
    crops = [item["frame"][0, :, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] for y, x in boxes]
    assert got["boxes"].tolist() == [[4 * y, 4 * x] for y, x in boxes]
    if crops:
        assert np.array_equal(got["scores"], alone(tmp_path / "classify.onnx", crops=np.stack(crops))[0])


def test_models_of_several_opsets_compute_as_they_do_alone(tmp_path: Path) -> None:
    path = composed(chain, tmp_path)
    item = image(3)
    (y,) = alone(tmp_path / "layers.onnx", x=item["image"])
    (probabilities,) = alone(tmp_path / "small.onnx", x=y)
    (code,) = alone(tmp_path / "recode.onnx", p=probabilities)
    got = run_composed(path, item)
    assert np.array_equal(got["code"], code)
    assert np.array_equal(got["probabilities"], probabilities)


def test_a_result_behind_a_condition_that_does_not_hold_is_void(tmp_path: Path) -> None:
    text = (
        "inputs: {image: {dtype: float32, shape: [1, 8]}}\nsteps:\n"
        "  small: {model: small.onnx, inputs: {x: image}}\n"
        "  large: {model: large.onnx, inputs: {x: image}, when: {tensor: small.probabilities, max: {below: 0}}}\n"
        "outputs: {p: large.probabilities, again: small.probabilities, twice: small.probabilities}\n"
    )
    path = compose(written(tmp_path, text), tmp_path / "cache")
    got = run_composed(path, image())
    assert is_void(got["p"])
    assert np.array_equal(got["again"], got["twice"])
    assert read_graph(path).composition.assumed == ("large",)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_size_of_a_composed_model_is_known(name: str, tmp_path: Path) -> None:
    graph = read_graph(composed(WORKFLOWS[name], tmp_path))
    graph.require_sizes()
    assert graph.name == name
    assert graph.free_batch == ()


def test_shapes_are_those_of_the_mean_number_of_boxes_and_stay_open_in_the_file(tmp_path: Path) -> None:
    path = composed(video, tmp_path)
    graph = read_graph(path)
    assert graph.tensors["scores"].shape == (3, CLASSES)
    assert graph.tensors["classify/flat"].shape == (3, 16)
    assert declared_graph(path).tensors["scores"].shape == ("boxes", CLASSES)


def test_rates_are_those_of_the_conditions_that_lie_before(tmp_path: Path) -> None:
    graph = read_graph(composed(cascade, tmp_path))
    assert {name: tensor.rate for name, tensor in graph.tensors.items() if tensor.rate != 1} == dict.fromkeys(
        ("large.when/image", "large/h", "large/r", "large/logits", "large/probabilities"), 0.3
    )


def test_what_no_output_depends_on_is_left_out(tmp_path: Path) -> None:
    """The second output of the large model."""
    names = [node.name for node in read_graph(composed(cascade, tmp_path)).nodes]
    assert not [name for name in names if "ReduceSum" in name]


def test_an_unchanged_workflow_is_found_in_the_cache(tmp_path: Path) -> None:
    path = composed(cascade, tmp_path)
    before = path.stat()
    assert compose(tmp_path / "workflow.yaml", tmp_path / "cache") == path
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [each.name for each in path.parent.parent.iterdir()] == [path.parent.name]


@pytest.mark.parametrize("changed", ["workflow.yaml", "transforms.py", "large.onnx"])
def test_a_workflow_is_composed_again_when_a_file_of_it_has_changed(changed: str, tmp_path: Path) -> None:
    path = composed(ensemble, tmp_path)
    file = tmp_path / changed
    if changed == "large.onnx":
        model = onnx.load(file)
        model.graph.initializer[0].raw_data = bytes(reversed(model.graph.initializer[0].raw_data))
        saved(model, file)
    else:
        file.write_text(file.read_text().replace("0.25", "0.5").replace("weight * first", "weight * 1 * first"))
    assert compose(tmp_path / "workflow.yaml", tmp_path / "cache") != path


def test_large_weights_are_linked_and_not_copied(tmp_path: Path) -> None:
    width = 256
    model = parsed(f"wide (float[1, {width}] x) => (float[1, {width}] y) {{ y = MatMul(x, w) }}", w=noise(width, width))
    saved(model, tmp_path / "wide.onnx")
    text = (
        f"inputs: {{x: {{dtype: float32, shape: [1, {width}]}}}}\n"
        "steps: {a: {model: wide.onnx, inputs: {x: x}}, b: {model: wide.onnx, inputs: {x: a.y}}}\noutputs: {y: b.y}\n"
    )
    path = compose(written(tmp_path, text), tmp_path / "cache")
    assert path.stat().st_size < 10_000
    assert {each.name for each in path.parent.iterdir()} == {"weights_1.linked", path.name}
    assert os.path.samefile(path.parent / "weights_1.linked", tmp_path / "wide.onnx")
    assert read_graph(path).parameter_bytes == 2 * 4 * width**2


def test_bodies_read_tensors_of_their_own_model(tmp_path: Path) -> None:
    """Two models with an If, whose bodies read a weight and an input of the graph around them by the same names."""
    model = parsed(
        "branch (float[1, 4] x) => (float[1, 4] y) { s = ReduceSum<keepdims = 0>(x) c = Greater(s, zero)"
        " y = If<then_branch = positive () => (float[1, 4] a) { a = Add(x, w) },"
        " else_branch = negative () => (float[1, 4] b) { b = Sub(x, w) }>(c) }",
        w=np.full((1, 4), 2, np.float32),
        zero=np.float32(0),
    )
    saved(model, tmp_path / "branch.onnx")
    text = (
        "inputs: {image: {dtype: float32, shape: [1, 4]}}\n"
        "steps: {a: {model: branch.onnx, inputs: {x: image}}, b: {model: branch.onnx, inputs: {x: a.y}}}\n"
        "outputs: {y: b.y}\n"
    )
    path = compose(written(tmp_path, text), tmp_path / "cache")
    for start in (-1.0, 1.0, -3.0):
        item = {"image": np.full((1, 4), start, np.float32)}
        expected = item["image"]
        for _ in range(2):
            (expected,) = alone(tmp_path / "branch.onnx", x=expected)
        assert np.array_equal(run_composed(path, item)["y"], expected)


def test_models_may_have_functions_of_one_name(tmp_path: Path) -> None:
    for name, factor in (("double", 2), ("triple", 3)):
        model = parsed(
            f"{name} (float[1, 4] x) => (float[1, 4] y) {{ y = local.scale(x) }}",
            opsets='"" : 17, "local" : 1',
            functions='<opset_import: ["" : 17], domain: "local"> scale (x) => (y)'
            f" {{ f = Constant<value = float {{{factor}}}>() y = Mul(x, f) }}",
        )
        saved(model, tmp_path / f"{name}.onnx")
    text = (
        "inputs: {image: {dtype: float32, shape: [1, 4]}}\n"
        "steps: {a: {model: double.onnx, inputs: {x: image}}, b: {model: triple.onnx, inputs: {x: a.y}}}\noutputs: {y: b.y}\n"
    )
    path = compose(written(tmp_path, text), tmp_path / "cache")
    item = {"image": np.ones((1, 4), np.float32)}
    assert run_composed(path, item)["y"].tolist() == [[6, 6, 6, 6]]


def test_an_output_of_a_model_may_be_its_input_or_its_weight(tmp_path: Path) -> None:
    model = parsed(
        "passing (float[1, 4] x) => (float[1, 4] y, float[1, 4] x, float[1, 4] w) { y = Add(x, w) }",
        w=np.full((1, 4), 2, np.float32),
    )
    saved(model, tmp_path / "passing.onnx")
    text = (
        "inputs: {image: {dtype: float32, shape: [1, 4]}}\n"
        "steps: {a: {model: passing.onnx, inputs: {x: image}}}\noutputs: {y: a.y, x: a.x, w: a.w}\n"
    )
    path = compose(written(tmp_path, text), tmp_path / "cache")
    item = {"image": np.ones((1, 4), np.float32)}
    got = run_composed(path, item)
    assert [got[name][0, 0] for name in ("y", "x", "w")] == [3, 1, 2]


def test_a_workflow_that_is_read_as_a_model_says_how(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is YAML; expected an ONNX model; of a workflow, read what multiedge\.compose"):
        read_graph(cascade(tmp_path))


def test_a_batch_needs_rows_in_the_outputs(tmp_path: Path) -> None:
    saved(parsed("m (float[n, 4] x) => (float[4, n] y) { y = Transpose<perm = [1, 0]>(x) }"), tmp_path / "m.onnx")
    (tmp_path / "workflow.yaml").write_text(
        "inputs: {x: {dtype: float32, shape: [1, 4]}}\nsteps: {a: {model: m.onnx, inputs: {x: x}, batch: 4}}\noutputs: {y: a}\n"
    )
    with pytest.raises(WorkflowError, match="takes one item at a time"):
        compose(tmp_path / "workflow.yaml", tmp_path / "cache")


def test_a_size_that_is_not_known_fits_any(tmp_path: Path) -> None:
    saved(parsed("two (float[n, 4] a, float[n, 4] b) => (float[n, 4] y) { y = Add(a, b) }"), tmp_path / "two.onnx")
    (tmp_path / "workflow.yaml").write_text(
        "inputs: {x: {dtype: float32, shape: [m, 8]}, z: {dtype: float32, shape: [2, 4]}}\n"
        "steps: {two: {model: two.onnx, inputs: {a: {from: x, reshape: [-1, 4]}, b: z}}}\noutputs: {y: two}\n"
    )
    x, z = noise(1, 8), noise(2, 4, seed=1)
    made = run_composed(compose(tmp_path / "workflow.yaml", tmp_path / "cache"), {"x": x, "z": z})
    assert np.array_equal(made["y"], x.reshape(2, 4) + z)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    path = cascade(tmp_path)
    with pytest.raises(ConfigError, match=r"composed workflows cannot be kept here: .*; set XDG_CACHE_HOME to another folder"):
        compose(path, path / "cache")
