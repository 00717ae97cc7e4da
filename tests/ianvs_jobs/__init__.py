"""Jobs as Ianvs's users write them, and what they need to run: a small model and a small dataset."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx

from tests.builders.onnx_models import layers, saved

JOBS = Path(__file__).parent
WIDTH = 4


def prepare(folder: Path) -> Path:
    """Puts all jobs, `model.onnx` and `dataset/` into `folder`, the folder to run `ianvs` from."""
    shutil.copytree(JOBS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.pyc", "__pycache__", "__init__.py"))
    saved(model(), folder / "model.onnx")
    write_dataset(folder / "dataset")
    return folder


def model() -> onnx.ModelProto:
    """x -> h1 -> h2 -> h3 -> y: four layers that hand on their input, so that the largest input is the class."""
    return layers(4, WIDTH, weights=[np.eye(WIDTH, dtype=np.float32)] * 4, name="ladder", ir=9)


def write_dataset(folder: Path) -> None:
    """Four items of the classes 0 to 3; the test index calls the last of them a 0, so accuracy is 75."""
    folder.mkdir(exist_ok=True)
    for number in range(WIDTH):
        np.save(folder / f"{number}.npy", np.eye(WIDTH, dtype=np.float32)[[number]])
    (folder / "train_index.txt").write_text("0.npy 0\n1.npy 1\n", encoding="utf-8")
    (folder / "test_index.txt").write_text("0.npy 0\n1.npy 1\n2.npy 2\n3.npy 0\n", encoding="utf-8")
