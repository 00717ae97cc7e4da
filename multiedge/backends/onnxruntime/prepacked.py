"""Weights kept in the layout that the runtime computes with, mapped from a file instead of packed into memory.

onnxruntime packs the weights of products and convolutions anew in every process: anonymous memory that cannot be given
back. Saved once with the optimised model, the packed weights are pages of a file that all processes share and that the
system may drop.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort

from multiedge.backends.kept import key_of, made_once

MODEL_FILE, WEIGHTS_FILE = "model.onnx", "weights.bin"
SAVING = {
    "session.optimized_model_external_initializers_file_name": WEIGHTS_FILE,
    "session.save_external_prepacked_constant_initializers": "1",
}


def prepacked_model(
    path: Path, folder: Path, options: ort.SessionOptions, load: Callable[[ort.SessionOptions], object]
) -> Path:
    """The optimised model with packed weights for the one at `path`, in `folder`; made now if it is not there.

    `load` opens a session on the model with `options`, which save the result. What is kept fits this model, these weights,
    this runtime and this processor only.
    """

    def make(draft: Path) -> None:
        options.optimized_model_filepath = os.fspath(draft / MODEL_FILE)
        for name, value in SAVING.items():
            options.add_session_config_entry(name, value)
        load(options)

    return made_once(folder / key_of(path, ort.__version__), make, "packed weights") / MODEL_FILE
