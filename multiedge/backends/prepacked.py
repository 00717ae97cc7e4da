"""Weights kept in the layout that the runtime computes with, mapped from a file instead of packed into memory.

onnxruntime packs the weights of products and convolutions anew in every process: anonymous memory that cannot be given
back. Saved once with the optimised model, the packed weights are pages of a file that all processes share and that the
system may drop.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime as ort

from multiedge.errors import ModelError

MODEL_FILE, WEIGHTS_FILE = "model.onnx", "weights.bin"
SAVING = {
    "session.optimized_model_external_initializers_file_name": WEIGHTS_FILE,
    "session.save_external_prepacked_constant_initializers": "1",
}


def prepacked_model(path: Path, folder: Path, options: Callable[[], Any], load: Callable[[Path, Any], Any]) -> Path:
    """The optimised model with packed weights for the one at `path`, in `folder`; made now if it is not there.

    `options` gives fresh session options, `load` opens a session. What is kept fits this model, these weights, this
    runtime and this processor only.
    """
    kept = folder / key_of(path)
    if (kept / MODEL_FILE).is_file():
        return kept / MODEL_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".making-", dir=folder))
    except OSError as error:
        raise ModelError(f"{folder}: packed weights cannot be kept here: {error.strerror}") from error
    try:
        saving = options()
        saving.optimized_model_filepath = os.fspath(made / MODEL_FILE)
        for name, value in SAVING.items():
            saving.add_session_config_entry(name, value)
        load(path, saving)
        made.rename(kept)
    except OSError as error:
        if not kept.is_dir():  # else another process was faster, and its files are as good
            raise ModelError(f"{folder}: packed weights cannot be kept here: {error.strerror}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return kept / MODEL_FILE


def key_of(path: Path) -> str:
    """A name for what is kept: of the model, the files beside it that may hold its weights, the runtime, the processor."""
    beside = [each for each in path.parent.iterdir() if each.is_file() and each.suffix not in (".onnx", ".json")]
    weights = sorted((each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in beside)
    content = hashlib.sha256(path.read_bytes())
    content.update(repr((weights, ort.__version__, platform.machine(), platform.processor(), _flags())).encode())
    return f"{path.stem}-{content.hexdigest()[:16]}"


def _flags() -> str:
    """The processor's abilities, on which the layout depends; as Linux tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
