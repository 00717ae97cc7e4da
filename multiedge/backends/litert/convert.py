"""From an ONNX file to a `.tflite` file, in the converter's own environment."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from multiedge.backends.foreign.environment import foreign_environment
from multiedge.errors import ModelError, one_line
from multiedge.files import temporary_folder

CHILD = Path(__file__).with_name("onnx2tf_child.py")
MODEL, NAMES = "model.tflite", "names.json"
"""What the child writes."""


def names_beside(target: Path) -> Path:
    """The file with the names of the tensors of a converted model."""
    return target.with_suffix(".json")


def convert(python: Path, source: Path, target: Path) -> None:
    """Writes `target` and the names beside it. ModelError with the converter's last line if it fails.

    Args:
        python: The interpreter of an environment with onnx2tf.
        source: An ONNX file with its weights.
        target: The `.tflite` file.
    """
    with temporary_folder("litert-") as folder:
        command = [str(python), "-I", str(CHILD), str(source.resolve()), str(folder)]
        environment = {**foreign_environment(), "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode < 0:
            stopped = subprocess.CalledProcessError(done.returncode, command)
            raise ModelError(f"{source}: onnx2tf was stopped by signal {-done.returncode}") from stopped
        if done.returncode != 0 or not (folder / MODEL).is_file():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ModelError(f"{source}: onnx2tf cannot convert this file: {one_line(RuntimeError(last))}")
        shutil.move(folder / MODEL, target)
        shutil.move(folder / NAMES, names_beside(target))
