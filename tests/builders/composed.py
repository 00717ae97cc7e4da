"""Composed files of the small workflows, and items for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from multiedge.workflows import compose
from tests.builders.onnx_models import noise, parsed, saved
from tests.builders.workflows import CASCADE, CLASSES, FEATURES, written

BOTH = f"""\
name: both
inputs: {{image: {{dtype: float32, shape: [1, {FEATURES}]}}}}
steps:
  small: {{model: small.onnx, inputs: {{x: image}}}}
  large: {{model: large.onnx, inputs: {{x: image}}, when: {{tensor: small.probabilities, max: {{below: 0.7}}}}, rate: 0.3}}
  both: {{model: both.onnx, inputs: {{p: small.probabilities, q: large.probabilities}}}}
outputs: {{alone: both.alone, sum: both.y}}
"""
"""A step that reads a tensor which each item has, and one which not each has; only its last node needs both."""


def composed(folder: Path, text: str = CASCADE) -> Path:
    """The composed file of a workflow.yaml with this text, whose models are small."""
    saved(both_model(), folder / "both.onnx")
    return compose(written(folder, text), folder / "cache")


def both_model() -> onnx.ModelProto:
    """p, q (n, CLASSES) -> alone, of p only, and y, of both."""
    ends = f"(float[n, {CLASSES}] p, float[n, {CLASSES}] q) => (float[n, {CLASSES}] alone, float[n, {CLASSES}] y)"
    return parsed(f"both {ends} {{ alone = Neg(p)  e = Exp(alone)  y = Add(e, q) }}")


CASCADE_OF_ALL = CASCADE.replace("{probabilities: pick}", "{probabilities: pick, large: large.probabilities}")
"""The cascade, which also gives what the large step made; that is absent for items that it was not computed for."""
BATCHED = CASCADE_OF_ALL.replace("rate: 0.3", "rate: 0.3\n    batch: 4\n    timeout_ms: 5")


SURE = {"image": np.ascontiguousarray(3 * noise(FEATURES, CLASSES, seed=1)[:, :1].T)}
UNSURE = {"image": np.zeros((1, FEATURES), np.float32)}
"""Items of the cascade for which the small classifier is enough, and for which it is not."""


def cascade_items(count: int, share: float = 0.5, seed: int = 0) -> list[dict[str, Any]]:
    """Items of the cascade, of which this share needs its large step."""
    generator = np.random.default_rng(seed)
    chosen = [UNSURE if generator.random() < share else SURE for _ in range(count)]
    return [{"image": each["image"] + generator.normal(0, 0.02, (1, FEATURES)).astype(np.float32)} for each in chosen]
