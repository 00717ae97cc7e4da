"""int8 of OpenVINO, by NNCF: static quantisation, with the ranges of activations from calibration inputs.

The convolution of an image and the one after it stay float32, as with onnxruntime: all that follows sees their errors, and
they take little time. Models with more products than convolutions count as transformers, whose outliers NNCF moves from
activations to weights (G. Xiao et al.: SmoothQuant, 2023).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from multiedge.backends.contract import Tensors
from multiedge.backends.openvino.session import load_core, load_openvino, without_telemetry
from multiedge.errors import MissingDependencyError, ModelError, one_line

CONVOLUTIONS = ("Convolution", "GroupConvolution")
IMAGE_CHANNELS = 4
"""The most channels of an image: colours, and how opaque it is."""
BETWEEN = ("Add", "Clamp", "Divide", "Maximum", "Minimum", "Multiply", "Relu", "Subtract")
"""What a normalisation and an activation between two convolutions consist of."""


def load_nncf() -> Any:
    """The package, imported without its telemetry; MissingDependencyError if it is not installed."""
    with without_telemetry():
        try:
            import nncf
        except ModuleNotFoundError as error:
            raise MissingDependencyError("nncf", extra="openvino-int8") from error
    return nncf


def convert_int8(source: Path, target: Path, inputs: Sequence[Tensors]) -> None:
    """Writes the ONNX model as `.xml` and `.bin`, with operators of int8 where NNCF has them.

    ModelError without inputs, if the model cannot be quantised, or if nothing of it is.
    """
    if not inputs:
        raise ModelError(f"{source.name}: static quantisation needs calibration inputs; give --inputs")
    nncf, openvino = load_nncf(), load_openvino()
    try:
        model = load_core().read_model(str(source))
        items = [dict(item) for item in inputs]
        with _quiet(nncf):
            made = nncf.quantize(
                model,
                nncf.Dataset(items),
                subset_size=len(items),
                model_type=nncf.ModelType.TRANSFORMER if _is_transformer(model) else None,
                ignored_scope=nncf.IgnoredScope(names=first_convolutions(model)),
            )
    except (RuntimeError, ValueError, nncf.ValidationError) as error:
        raise ModelError(f"{source}: NNCF cannot quantise this file: {one_line(error)}") from error
    if not any(node.get_type_name() == "FakeQuantize" for node in made.get_ops()):
        raise ModelError(f"{source.name}: has no operator that can be int8")
    openvino.save_model(made, str(target), compress_to_fp16=False)


def first_convolutions(model: Any) -> list[str]:
    """Names of the convolutions of images, and of those that follow them."""
    convolutions = [node for node in model.get_ordered_ops() if node.get_type_name() in CONVOLUTIONS]
    of_images = {
        node.get_friendly_name()
        for node in convolutions
        if node.get_type_name() == CONVOLUTIONS[0] and _channels(node) <= IMAGE_CHANNELS
    }
    return [name for node in convolutions if (name := node.get_friendly_name()) in of_images or _source(node) in of_images]


def _channels(convolution: Any) -> int:
    """Channels that a convolution reads; its weights are (out, in, ...)."""
    return int(convolution.input_value(1).get_partial_shape()[1].get_length())


def _source(convolution: Any) -> str:
    """The convolution that makes what this one reads, with nothing but activations between them; '' if there is none."""
    node = convolution.input_value(0).get_node()
    while node.get_type_name() in BETWEEN:
        before = [value.get_node() for value in node.input_values()]
        computed = [each for each in before if each.get_type_name() in (*BETWEEN, *CONVOLUTIONS)]
        if len(computed) != 1:  # a sum of two branches
            return ""
        (node,) = computed
    return str(node.get_friendly_name()) if node.get_type_name() in CONVOLUTIONS else ""


def _is_transformer(model: Any) -> bool:
    kinds = [node.get_type_name() for node in model.get_ops()]
    return kinds.count("MatMul") > sum(map(kinds.count, CONVOLUTIONS))


@contextmanager
def _quiet(nncf: Any) -> Iterator[None]:
    """Without what NNCF prints on the way: its progress goes to stdout."""
    before, stdout = logging.root.manager.disable, sys.stdout
    logging.disable(logging.WARNING)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = stdout
        logging.disable(before)
