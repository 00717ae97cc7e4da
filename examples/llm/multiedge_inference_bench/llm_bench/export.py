"""A trained decoder as ONNX files in both layouts, compared with torch before they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from llm_bench.decoder_onnx import Decoder, Layout, decoder_model
from multiedge.decoding.opening import open_whole
from multiedge.errors import ModelError

MOST_DIFFERENCE = 1e-3
"""Of any logit from torch's."""


def export(decoder: Decoder, weights: dict[str, Any], layout: Layout, path: Path) -> None:
    """Writes the ONNX file of a decoder with these weights."""
    tensors = {name: numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(decoder_model(decoder, tensors, layout), path)


def require_equal(path: Path, tokens: Any, expected: Any) -> float:
    """The largest difference of a logit from `expected`, (1, n, vocabulary), for tokens (1, n).

    Half of the tokens are given together, the others one by one.
    Raises ModelError if it is more than MOST_DIFFERENCE, or another token is the most likely one anywhere.
    """
    half = tokens.shape[1] // 2
    model = open_whole(path)
    try:
        sequence = model.open(1)
        parts = [sequence.score(tokens[:, :half]), *(sequence.score(tokens[:, [at]]) for at in range(half, tokens.shape[1]))]
    finally:
        model.close()
    logits = np.concatenate(parts, axis=1)
    difference = float(np.abs(logits - expected).max())
    if difference > MOST_DIFFERENCE or (logits.argmax(-1) != expected.argmax(-1)).any():
        raise ModelError(f"{path}: its logits differ from torch's by {difference:.2g}; expected at most {MOST_DIFFERENCE:g}")
    return difference
