"""The conversion alone, without samples and comparisons: what a worker needs whose backend converts exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from multiedge import onnx_io
from multiedge.backends.contract import Backend, Tensors
from multiedge.backends.loading import named_errors
from multiedge.files import temporary_folder


def write_converted(backend: Backend, part: Path, target: Path, inputs: Sequence[Tensors] = ()) -> None:
    """What the backend makes of an ONNX file, written to `target`; ModelError if it refuses. `inputs` calibrate it."""
    # Parts are linked to the whole model's weights, which onnx and converters refuse to follow.
    with temporary_folder("convert-") as folder:
        source = onnx_io.with_own_weights(part, Path(folder)) if part.suffix == ".onnx" else part
        with named_errors(f"{part}: {type(backend).__name__} cannot convert this file"):
            if inputs:
                backend.convert_calibrated(source, target, inputs)
            else:
                backend.convert(source, target)
