"""ONNX files of another precision, made by onnxruntime's own tools: int8, weights of int4, float16.

int8 is static or dynamic. Static quantisation needs the ranges of all activations, found by running the model on calibration
inputs; convolutions are quantised well only so. Dynamic quantisation finds the range of each input while it runs, which suits
products, whose activations have outliers (Z. Yao et al.: ZeroQuant, 2022).

The convolution of an image and the one after it stay as they are: all that follows sees their errors, and they take little time
(R. Krishnamoorthi: Quantizing deep convolutional networks for efficient inference, 2018).

Weights of int8 are those of each output channel on a scale of its own. On x86-64 without units for products of 8 bits (VNNI),
sums of two products of 8 bits overflow, so weights there have 7 bits.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnxruntime as ort
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

from multiedge.backends.contract import Tensors
from multiedge.backends.kept import processor
from multiedge.errors import MissingDependencyError, ModelError
from multiedge.files import temporary_folder

if TYPE_CHECKING:
    from multiedge.backends.onnxruntime import OnnxRuntimeBackend

CONVOLUTIONS = ("Conv", "ConvTranspose")
PRODUCTS = ("MatMul", "Gemm")
ACTIVATIONS = ("Clip", "Relu")
DYNAMIC = ("MatMul", "Gemm", "Attention", "LSTM", "EmbedLayerNormalization")
"""Operators that dynamic quantisation makes faster: products with constant weights. Its convolutions are slow."""
BLOCK_SIZE = 32
"""Weights of int4 that share a scale."""
IMAGE_CHANNELS = 4
"""The most channels of an image: colours, and how opaque it is."""
COMPUTE_INT8 = 4
"""MatMulNBits' level of accuracy at which activations are int8, for which processors have units."""


def convert(backend: OnnxRuntimeBackend, source: Path, target: Path, inputs: Sequence[Tensors]) -> None:
    """Writes the model in `source` to `target` with the backend's precision.

    ModelError if there is nothing in the model that has this precision, or static quantisation gets no inputs.
    """
    with _quiet():
        _WRITERS[backend.precision](backend, source, target, inputs)
    if backend.is_approximate and _operators(source) == _operators(target):
        raise ModelError(f"{source.name}: has no operator whose weights can be {backend.precision}")


def is_static(backend: OnnxRuntimeBackend, source: Path) -> bool:
    """Whether int8 is to be static quantisation for this model."""
    if backend.quantisation != "auto":
        return backend.quantisation == "static"
    operators = _operators(source)
    return sum(map(operators.count, CONVOLUTIONS)) > sum(map(operators.count, PRODUCTS))


def first_convolutions(path: Path) -> list[str]:
    """Names of the convolutions of images, and of those that follow them; nodes without a name are left out."""
    graph = onnx.load(path, load_external_data=False).graph
    sizes = {tensor.name: tensor.dims for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}

    def source(node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The convolution that makes what a node reads, with nothing but activations between them."""
        before = makers.get(node.input[0])
        while before is not None and before.op_type in ACTIVATIONS:
            before = makers.get(before.input[0])
        return before if before is not None and before.op_type in CONVOLUTIONS else None

    convolutions = [node for node in graph.node if node.op_type in CONVOLUTIONS]
    of_images = [node for node in convolutions if len(node.input) > 1 and _is_of_image(sizes.get(node.input[1]), node)]
    names = [node.name for node in convolutions if node in of_images or source(node) in of_images]
    return [name for name in names if name]


def _is_of_image(weight: Sequence[int] | None, node: onnx.NodeProto) -> bool:
    """Whether a convolution with this shape of its weight reads all channels of an image."""
    groups = next((each.i for each in node.attribute if each.name == "group"), 1)
    return weight is not None and groups == 1 and len(weight) == 4 and weight[1] <= IMAGE_CHANNELS


def _write_int8(backend: OnnxRuntimeBackend, source: Path, target: Path, inputs: Sequence[Tensors]) -> None:
    narrow = _has_narrow_sums()
    if not is_static(backend, source):
        types = list(DYNAMIC)
        quantize_dynamic(
            source, target, op_types_to_quantize=types, per_channel=True, reduce_range=narrow, weight_type=QuantType.QInt8
        )
        return
    if not inputs:
        raise ModelError(f"{source.name}: static quantisation needs calibration inputs; give --inputs")
    with temporary_folder("quantise-") as folder:
        prepared = folder / source.name
        _simplify(source, prepared)
        quantize_static(
            prepared,
            target,
            _Reader(inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=narrow,
            nodes_to_exclude=first_convolutions(prepared),
            activation_type=QuantType.QInt8 if _is_arm() else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def _simplify(source: Path, target: Path) -> None:
    """The model with its normalisations folded into convolutions, so that their weights are quantised as they are used."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    # From memory: a file would be saved with references to the weights that are beside it.
    ort.InferenceSession(onnx.load(source).SerializeToString(), options, providers=["CPUExecutionProvider"])


def _write_int4(backend: OnnxRuntimeBackend, source: Path, target: Path, inputs: Sequence[Tensors]) -> None:
    try:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    except ImportError as error:
        raise MissingDependencyError(str(error.name), extra="int4") from error
    quantizer = MatMulNBitsQuantizer(
        onnx.load(source), bits=4, block_size=BLOCK_SIZE, is_symmetric=True, accuracy_level=COMPUTE_INT8
    )
    quantizer.process()
    onnx.save(quantizer.model.model, target)


def _write_float16(backend: OnnxRuntimeBackend, source: Path, target: Path, inputs: Sequence[Tensors]) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


_WRITERS: Mapping[str, Callable[[OnnxRuntimeBackend, Path, Path, Sequence[Tensors]], None]] = {
    "int8": _write_int8,
    "int4": _write_int4,
    "float16": _write_float16,
}


class _Reader:
    """Calibration inputs as onnxruntime's CalibrationDataReader gives them: one after another, then None."""

    def __init__(self, inputs: Sequence[Tensors]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, Any] | None:
        each = next(self._inputs, None)
        return None if each is None else dict(each)


def _operators(path: Path) -> list[str]:
    """Types of the model's operators, in order."""
    return [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]


def _has_narrow_sums() -> bool:
    """Whether sums of products of 8 bits overflow on this processor."""
    return not _is_arm() and "vnni" not in processor()[-1]


def _is_arm() -> bool:
    return platform.machine().lower() in ("aarch64", "arm64")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks that the tools log on the way."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
