"""Composed files as sessions: conditions, joins, functions and rows, with what each model alone would answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from multiedge.backends.contract import Batching, ItemsSession
from multiedge.backends.stages import load_backend, open_part
from multiedge.composed import VOID, is_void
from multiedge.errors import ModelError, StageError
from multiedge.workflows import compose
from tests.builders.composed import BATCHED, BOTH, CASCADE_OF_ALL, SURE, UNSURE, cascade_items, composed
from tests.builders.onnx_models import parsed, saved
from tests.builders.parts import split_at
from tests.builders.workflows import (
    CHAIN,
    CLASSES,
    ENSEMBLE,
    FEATURES,
    VIDEO,
    classify_model,
    frame,
    image,
    large_model,
    recode_model,
    small_model,
)


def opened(path: Path) -> ItemsSession:
    session = open_part(load_backend("onnxruntime"), path)
    assert isinstance(session, ItemsSession)
    return session


def alone(model: onnx.ModelProto, folder: Path, **inputs: Any) -> dict[str, Any]:
    """What the model answers in a plain session."""
    return open_part(load_backend("onnxruntime"), saved(model, folder / "alone.onnx")).run(inputs)


def test_a_step_whose_condition_does_not_hold_is_not_computed(tmp_path: Path) -> None:
    outputs = opened(composed(tmp_path, CASCADE_OF_ALL)).run(SURE)
    assert is_void(outputs["large"])
    assert np.array_equal(outputs["probabilities"], alone(small_model(), tmp_path, x=SURE["image"])["probabilities"])


@pytest.mark.parametrize(("backend", "package"), [("openvino", "openvino"), ("mnn", "MNN")])
def test_any_backend_opens_the_models(tmp_path: Path, backend: str, package: str) -> None:
    pytest.importorskip(package, reason=f"the backend {backend} is not installed")
    path = composed(tmp_path, CASCADE_OF_ALL)
    session, reference = open_part(load_backend(backend), path), opened(path)
    for item in (SURE, UNSURE):
        made, wanted = session.run(item), reference.run(item)
        assert is_void(made["large"]) == is_void(wanted["large"])
        assert np.allclose(made["probabilities"], wanted["probabilities"], atol=1e-5)


def test_each_step_answers_as_its_model_does_alone_to_the_bit(tmp_path: Path) -> None:
    outputs = opened(composed(tmp_path, CASCADE_OF_ALL)).run(UNSURE)
    assert np.array_equal(outputs["large"], alone(large_model(), tmp_path, x=UNSURE["image"])["probabilities"])
    assert np.array_equal(outputs["probabilities"], outputs["large"])


def test_each_step_has_the_operators_of_its_own_opset(tmp_path: Path) -> None:
    outputs = opened(composed(tmp_path, CHAIN)).run(image())
    assert np.array_equal(outputs["code"], alone(recode_model(), tmp_path, p=outputs["probabilities"])["code"])


def test_items_are_joined_where_they_are_computed_and_apart_otherwise(tmp_path: Path) -> None:
    session, items = opened(composed(tmp_path, BATCHED)), cascade_items(12)
    made = session.run_items(items)
    assert {is_void(each["large"]) for each in made} == {True, False}
    for item, each in zip(items, made, strict=True):
        assert np.allclose(each["probabilities"], session.run(item)["probabilities"], atol=1e-6)


def test_a_batch_is_as_large_as_the_largest_of_its_steps_and_waits_as_long(tmp_path: Path) -> None:
    assert opened(composed(tmp_path / "4", BATCHED)).batching == Batching(4, 0.005)
    assert opened(composed(tmp_path / "1")).batching == Batching(1, 0.0)


def test_joined_items_whose_outputs_cannot_be_told_apart_fail(tmp_path: Path) -> None:
    mixing = f"m (float[n, {FEATURES}] x) => (float[m, {FEATURES}] y) {{ y = ReduceMean <axes = [0]> (x) }}"
    saved(parsed(mixing), tmp_path / "mixing.onnx")
    text = f"""\
name: mixing
inputs: {{image: {{dtype: float32, shape: [1, {FEATURES}]}}}}
steps: {{mixing: {{model: mixing.onnx, inputs: {{x: image}}, batch: 4}}}}
outputs: {{y: mixing.y}}
"""
    with pytest.raises(ModelError, match="output 'y': expected 2 rows for joined items, got 1; leave the batch out"):
        opened(composed(tmp_path, text)).run_items([image(0), image(1)])


def test_a_void_input_makes_all_that_depends_on_it_void(tmp_path: Path) -> None:
    outputs = opened(composed(tmp_path, CASCADE_OF_ALL)).run({"image": VOID})
    assert all(map(is_void, outputs.values()))


def test_a_join_alone_is_no_computation(tmp_path: Path) -> None:
    path = split_at(composed(tmp_path), [3], tmp_path / "parts").part_files[1]  # the large step and the join behind it
    session, scores = opened(path), np.zeros((1, CLASSES), np.float32)
    assert not session.computes({"large.when/image": VOID, "small/probabilities": scores})
    assert session.computes({"large.when/image": UNSURE["image"], "small/probabilities": scores})
    assert session.run({"large.when/image": VOID, "small/probabilities": scores})["probabilities"] is scores


def test_a_stage_that_begins_with_a_condition_computes_only_what_passes_it(tmp_path: Path) -> None:
    path = composed(tmp_path)
    session = opened(split_at(path, [2], tmp_path / "parts").part_files[1])  # the condition, the large step, and the join
    scores = [alone(small_model(), tmp_path, x=item["image"])["probabilities"] for item in (SURE, UNSURE)]
    given = [{**item, "small/probabilities": made} for item, made in zip((SURE, UNSURE), scores, strict=True)]
    assert [session.computes(each) for each in given] == [False, True]
    assert np.array_equal(session.run(given[0])["probabilities"], scores[0])
    assert session.computes({"image": SURE["image"], "small/probabilities": np.array("no number")})  # so that `run` raises


def test_what_does_not_depend_on_a_void_tensor_is_computed(tmp_path: Path) -> None:
    outputs = opened(composed(tmp_path, BOTH)).run(SURE)
    assert (is_void(outputs["alone"]), is_void(outputs["sum"])) == (False, True)


@pytest.mark.parametrize("boxes", [[(0, 1), (3, 3), (2, 0)], [(1, 1)]], ids=len)
def test_a_step_computes_each_row_that_the_one_before_made(tmp_path: Path, boxes: list[tuple[int, int]]) -> None:
    item = frame(*boxes)
    outputs = opened(composed(tmp_path, VIDEO)).run(item)
    crops = np.stack([item["frame"][0, :, y : y + 4, x : x + 4] for y, x in outputs["boxes"]])
    assert len(crops) == len(boxes)
    assert np.array_equal(outputs["scores"], alone(classify_model(), tmp_path, crops=crops)["scores"])


def test_no_rows_give_no_rows_and_the_model_does_not_run(tmp_path: Path) -> None:
    outputs = opened(composed(tmp_path, VIDEO)).run(frame())
    assert (outputs["scores"].shape, outputs["scores"].dtype) == ((0, CLASSES), np.float32)


def test_rows_of_several_items_are_joined(tmp_path: Path) -> None:
    session = opened(composed(tmp_path, VIDEO))
    items = [frame((0, 1), (2, 2)), frame(), frame((3, 0), seed=1)]
    made = session.run_items(items)
    assert [len(each["scores"]) for each in made] == [2, 0, 1]
    for item, each in zip(items, made, strict=True):
        assert np.allclose(each["scores"], session.run(item)["scores"], atol=1e-6)


def test_a_function_joins_what_several_steps_made(tmp_path: Path) -> None:
    values = np.arange(FEATURES, dtype=np.uint8)[None] * 20
    scaled = ((values.astype(np.float32)) - 127.5) / 127.5
    first, second = (alone(model(), tmp_path, x=scaled)["probabilities"] for model in (small_model, large_model))
    made = opened(composed(tmp_path, ENSEMBLE)).run({"image": values})["probabilities"]
    assert np.allclose(made, 0.25 * first + 0.75 * second, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("return first", "expected a mapping of probabilities, got ndarray"),
        ("return {'scores': first}", "expected 'probabilities' in what it returns, got scores"),
        ("return {'probabilities': first.astype('f8')}", r"'probabilities': expected float32 \[1, 4\], got float64 \[1, 4\]"),
        ("return {'probabilities': first[0]}", r"'probabilities': expected float32 \[1, 4\], got float32 \[4\]"),
    ],
)
def test_what_a_function_does_wrong_is_named_with_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, text: str
) -> None:
    monkeypatch.setattr("tests.builders.workflows.TRANSFORMS", f"def mean(*, first, second, weight):\n    {body}\n")
    session = opened(composed(tmp_path, ENSEMBLE))
    with pytest.raises(StageError, match=rf"transform 'mean' \(mean\): {text}"):
        session.run({"image": np.zeros((1, FEATURES), np.uint8)})


def test_an_input_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="input 'image' was not given; did you mean 'images'"):
        opened(composed(tmp_path)).run({"images": SURE["image"]})


def test_items_are_not_joined_by_a_dimension_that_is_not_theirs(tmp_path: Path) -> None:
    turned = "{ t = Transpose<perm = [1, 0]>(x) r = Relu(t) y = Transpose<perm = [1, 0]>(r) }"
    saved(parsed(f"m (float[n, 4] x) => (float[n, 4] y) {turned}"), tmp_path / "m.onnx")
    (tmp_path / "workflow.yaml").write_text(
        "inputs: {x: {dtype: float32, shape: [1, 4]}}\nsteps: {a: {model: m.onnx, inputs: {x: x}, batch: 4}}\noutputs: {y: a}\n"
    )
    split_at(compose(tmp_path / "workflow.yaml", tmp_path / "cache"), [1], tmp_path / "parts")
    first, second = (opened(tmp_path / "parts" / f"sub_model_{number}.onnx") for number in (1, 2))
    items = [{"x": np.arange(4, dtype=np.float32)[None] + 10 * number} for number in range(4)]
    for item, made in zip(items, second.run_items(first.run_items(items)), strict=True):
        assert np.array_equal(made["y"], item["x"])
