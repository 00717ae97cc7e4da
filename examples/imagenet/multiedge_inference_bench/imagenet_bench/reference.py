"""The whole model's answers, with which those of a cut model are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from imagenet_bench.preprocess import read_picture
from multiedge.files import replacing


def reference_outputs(model: Path, pictures: Sequence[str | Path], folder: Path) -> NDArray[np.float32]:
    """The logits of the uncut model for every picture, (pictures, classes); computed once and kept in `folder`."""
    kept = folder / f"{_key(model, pictures)}.npy"
    if kept.is_file():
        return np.load(kept)
    logits = whole_model(model, pictures)
    with replacing(kept) as file:
        np.save(file, logits)
    return logits


def whole_model(model: Path, pictures: Sequence[str | Path]) -> NDArray[np.float32]:
    """The logits of the uncut model, run by onnxruntime in this process."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    steps = track(pictures, description=f"whole {model.parent.name}", console=Console(stderr=True))
    return np.concatenate([session.run(None, {"image": read_picture(path)})[0] for path in steps])


def _key(model: Path, pictures: Sequence[str | Path]) -> str:
    digest = hashlib.sha256()
    for path in [model, model.with_name(model.name + ".data"), *map(Path, pictures)]:
        status = path.stat() if path.is_file() else None
        digest.update(f"{path.name} {status and (status.st_size, status.st_mtime_ns)}\n".encode())
    return f"{model.parent.name}-{digest.hexdigest()[:16]}"
