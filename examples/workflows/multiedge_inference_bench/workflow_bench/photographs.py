"""Cascade and preprocess: EfficientNet-Lite0 with its weights of ImageNet, on the photographs of foolbox.

There are no photographs to train a smaller classifier with. The small one of the cascade is the same network on fewer pixels:
its weights are shared by all places of a picture, so that they fit any size.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from imagenet_bench.index import read_index
from imagenet_bench.models import efficientnet_lite0
from imagenet_bench.pictures import prepare_pictures
from imagenet_bench.preprocess import CROP_PIXELS, read_picture

from workflow_bench.folder import Answer, Note, WorkflowFolder
from workflow_bench.training import WithProbabilities, export

SMALL_PIXELS = 160


@cache
def _network() -> tuple[Any, str]:
    module, weights = efficientnet_lite0()
    return module.eval(), weights.source


def export_at(pixels: int, path: Path) -> str:
    """Writes EfficientNet-Lite0 for pictures of this side."""
    module, source = _network()
    example = {"image": torch.zeros(1, 3, pixels, pixels)}
    export(WithProbabilities(module), example, ["logits", "probabilities"], path, simplified=True)
    return f"EfficientNet-Lite0 at {pixels} x {pixels} pixels, weights of {source}"


def make_cascade(folder: WorkflowFolder) -> Note:
    folder.model("small", partial(export_at, SMALL_PIXELS))
    folder.model("large", partial(export_at, CROP_PIXELS))
    rows = (({"image": read_picture(path)}, answer) for path, answer in _photographs(folder))
    return folder.items("photographs", rows)


def make_preprocess(folder: WorkflowFolder) -> Note:
    folder.model("classifier", partial(export_at, CROP_PIXELS))
    rows = (({"jpeg": np.frombuffer(path.read_bytes(), np.uint8)}, answer) for path, answer in _photographs(folder))
    return folder.items("JPEG photographs", rows)


def _photographs(folder: WorkflowFolder) -> Iterator[tuple[Path, Answer]]:
    for path, label in read_index(prepare_pictures(folder.path / "photographs")):
        yield path, (label,)
