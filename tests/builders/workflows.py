"""Small workflows: a folder with a workflow.yaml and what it names. The models take microseconds, and their results follow from
the input by arithmetic that a test can repeat.

The opsets of the models differ, as those of models from several exporters do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.builders.onnx_models import noise, parsed, saved

CLASSES = 4
FEATURES = 8
THRESHOLD = 0.7
CROP = 4
SIDE = 16

CASCADE = f"""\
name: cascade
inputs:
  image: {{dtype: float32, shape: [1, {FEATURES}]}}
steps:
  small: {{model: small.onnx, inputs: {{x: image}}}}
  large:
    model: large.onnx
    inputs: {{x: image}}
    when: {{tensor: small.probabilities, max: {{below: {THRESHOLD}}}}}
    rate: 0.3
  pick: {{first_of: [large.probabilities, small.probabilities]}}
outputs: {{probabilities: pick}}
"""

ENSEMBLE = f"""\
name: ensemble
inputs:
  image: {{dtype: uint8, shape: [1, {FEATURES}]}}
steps:
  small:
    model: small.onnx
    inputs: {{x: {{from: image, cast: float32, normalise: {{mean: 127.5, std: 127.5}}}}}}
  large:
    model: large.onnx
    inputs: {{x: {{from: image, cast: float32, normalise: {{mean: 127.5, std: 127.5}}}}}}
  mean:
    transform: transforms.py:mean
    inputs: {{first: small.probabilities, second: large.probabilities}}
    options: {{weight: 0.25}}
    outputs: {{probabilities: {{dtype: float32, shape: [1, {CLASSES}]}}}}
outputs: {{probabilities: mean}}
"""

VIDEO = f"""\
name: video
inputs:
  frame: {{dtype: float32, shape: [1, 1, {SIDE}, {SIDE}]}}
steps:
  detect: {{model: detect.onnx, inputs: {{image: frame}}}}
  crop:
    transform: transforms.py:crop
    inputs: {{frame: frame, heat: detect.heat}}
    options: {{threshold: 0.5}}
    outputs:
      crops: {{dtype: float32, shape: [boxes, 1, {CROP}, {CROP}]}}
      boxes: {{dtype: int64, shape: [boxes, 2]}}
  classify: {{model: classify.onnx, inputs: {{crops: crop.crops}}, batch: 4, timeout_ms: 5}}
sizes: {{boxes: 2.5}}
outputs: {{boxes: crop.boxes, scores: classify.scores}}
"""

CHAIN = f"""\
name: chain
inputs:
  image: {{dtype: float32, shape: [1, {FEATURES}]}}
steps:
  first: {{model: layers.onnx, inputs: {{x: image}}}}
  second: {{model: small.onnx, inputs: {{x: first.y}}}}
  third: {{model: recode.onnx, inputs: {{p: second.probabilities}}}}
outputs: {{code: third.code, probabilities: second.probabilities}}
"""

TRANSFORMS = f'''\
"""Functions of the workflows of the tests."""

import numpy as np


def mean(*, first, second, weight=0.5):
    return {{"probabilities": (weight * first + (1 - weight) * second).astype(np.float32)}}


def crop(*, frame, heat, threshold):
    """The tiles of the frame whose heat is above the threshold."""
    boxes = np.argwhere(heat[0, 0] > threshold) * {CROP}
    crops = [frame[0, :, y : y + {CROP}, x : x + {CROP}] for y, x in boxes]
    return {{
        "crops": np.stack(crops) if crops else np.empty((0, 1, {CROP}, {CROP}), np.float32),
        "boxes": boxes.astype(np.int64),
    }}
'''


def cascade(folder: Path) -> Path:
    """A small classifier, and a large one behind a condition: it computes where no class of the small one has THRESHOLD."""
    return _written(folder, CASCADE, small=small_model(), large=large_model())


def ensemble(folder: Path) -> Path:
    """Two classifiers of one image of bytes, cast and normalised, whose probabilities a function of a file weighs."""
    return _written(folder, ENSEMBLE, small=small_model(), large=large_model())


def video(folder: Path) -> Path:
    """A detector, a function that cuts out each box, and a classifier of all boxes of a frame, of which there may be none."""
    return _written(folder, VIDEO, detect=detect_model(), classify=classify_model())


def chain(folder: Path) -> Path:
    """Three models one after the other, of two outputs; the last one has another opset."""
    return _written(folder, CHAIN, layers=layers_model(), small=small_model(), recode=recode_model())


WORKFLOWS = {"cascade": cascade, "ensemble": ensemble, "video": video, "chain": chain}


def written(folder: Path, text: str) -> Path:
    """A workflow.yaml with this text, in a folder that has all models and functions."""
    return _written(
        folder,
        text,
        small=small_model(),
        large=large_model(),
        detect=detect_model(),
        classify=classify_model(),
        layers=layers_model(),
        recode=recode_model(),
    )


def _written(folder: Path, text: str, **models: onnx.ModelProto) -> Path:
    for name, model in models.items():
        saved(model, folder / f"{name}.onnx")
    (folder / "transforms.py").write_text(TRANSFORMS, encoding="utf-8")
    path = folder / "workflow.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def small_model() -> onnx.ModelProto:
    """x (batch, FEATURES) -> probabilities (batch, CLASSES); opset 13."""
    return parsed(
        f"small (float[batch, {FEATURES}] x) => (float[batch, {CLASSES}] probabilities)"
        " { logits = MatMul(x, w) probabilities = Softmax<axis = 1>(logits) }",
        opsets='"" : 13',
        w=noise(FEATURES, CLASSES, seed=1),
    )


def large_model() -> onnx.ModelProto:
    """x (batch, FEATURES) -> probabilities (batch, CLASSES), with a second output that the workflows leave; opset 17."""
    hidden = 64
    return parsed(
        f"large (float[batch, {FEATURES}] x) => (float[batch, {CLASSES}] probabilities, float[batch] energy)"
        " { h = MatMul(x, w) r = Relu(h) logits = MatMul(r, v) probabilities = Softmax<axis = 1>(logits)"
        " energy = ReduceSumSquare<axes = [1], keepdims = 0>(logits) }",
        w=noise(FEATURES, hidden, seed=2),
        v=noise(hidden, CLASSES, seed=3),
    )


def detect_model() -> onnx.ModelProto:
    """image (1, 1, SIDE, SIDE) -> heat (1, 1, SIDE / CROP, SIDE / CROP), the mean of each tile; opset 12."""
    tiles = SIDE // CROP
    return parsed(
        f"detect (float[1, 1, {SIDE}, {SIDE}] image) => (float[1, 1, {tiles}, {tiles}] heat)"
        f" {{ heat = AveragePool<kernel_shape = [{CROP}, {CROP}], strides = [{CROP}, {CROP}]>(image) }}",
        opsets='"" : 12',
        ir=7,
    )


def classify_model() -> onnx.ModelProto:
    """crops (n, 1, CROP, CROP) -> scores (n, CLASSES); opset 17."""
    return parsed(
        f"classify (float[n, 1, {CROP}, {CROP}] crops) => (float[n, {CLASSES}] scores)"
        " { flat = Flatten<axis = 1>(crops) scores = MatMul(flat, w) }",
        w=noise(CROP * CROP, CLASSES, seed=4),
    )


def layers_model() -> onnx.ModelProto:
    """x (batch, FEATURES) -> y (batch, FEATURES) by three layers; opset 15."""
    return parsed(
        f"layers (float[batch, {FEATURES}] x) => (float[batch, {FEATURES}] y)"
        " { a = MatMul(x, w1) b = Tanh(a) c = MatMul(b, w2) d = Tanh(c) y = MatMul(d, w3) }",
        opsets='"" : 15',
        w1=noise(FEATURES, FEATURES, seed=5),
        w2=noise(FEATURES, FEATURES, seed=6),
        w3=noise(FEATURES, FEATURES, seed=7),
    )


def recode_model() -> onnx.ModelProto:
    """p (batch, CLASSES) -> code (batch, 1) by an operator whose axes were an attribute then; opset 11."""
    return parsed(
        f"recode (float[batch, {CLASSES}] p) => (float[batch, 1] code)"
        " { s = Mul(p, scale) t = ReduceSum<axes = [1], keepdims = 0>(s) code = Unsqueeze<axes = [1]>(t) }",
        opsets='"" : 11',
        ir=6,
        scale=np.arange(CLASSES, dtype=np.float32)[None],
    )


def image(seed: int = 0) -> dict[str, Any]:
    """An item of `cascade` and `chain`."""
    return {"image": noise(1, FEATURES, seed=seed)}


def frame(*boxes: tuple[int, int], seed: int = 0) -> dict[str, Any]:
    """An item of `video`: a dark frame with a bright tile at each (row, column) of tiles."""
    values = 0.1 * np.random.default_rng(seed).random((1, 1, SIDE, SIDE), dtype=np.float32)
    for row, column in boxes:
        values[0, 0, row * CROP : (row + 1) * CROP, column * CROP : (column + 1) * CROP] += 1
    return {"frame": values}
