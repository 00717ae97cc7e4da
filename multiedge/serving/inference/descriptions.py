"""How the protocol describes models, the same for gRPC and HTTP."""

from __future__ import annotations

from multiedge.graph import Tensor
from multiedge.serving.inference.statistics import Duration, Statistics
from multiedge.transports.open_inference import datatype_of

DATA_TYPES = (
    *("INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "STRING"),
)
"""The types of a model's configuration, at the places that are their numbers in gRPC; over HTTP they begin with TYPE_."""
KIND_MODEL = 3
"""In a configuration, the number of KIND_MODEL: the model decides where it runs."""


def sizes_of(tensor: Tensor) -> list[int]:
    """The shape as the protocol writes it: -1 for a size that is not fixed; nothing where the shape is not known."""
    return [size if isinstance(size, int) else -1 for size in tensor.shape or ()]


def data_type_of(tensor: Tensor) -> int:
    """The place of the tensor's type in DATA_TYPES; 0 for one that is not known."""
    datatype = datatype_of(tensor.dtype)
    return DATA_TYPES.index("STRING" if datatype == "BYTES" else datatype or "INVALID")


def backend_of(platform: str) -> str:
    """
    >>> backend_of("onnxruntime_onnx")
    'onnxruntime'
    """
    return platform.partition("_")[0]


def durations_of(statistics: Statistics) -> dict[str, Duration]:
    """The sums by their names in the protocol."""
    return {
        "success": statistics.success,
        "fail": statistics.fail,
        "queue": statistics.queue,
        "compute_input": statistics.compute_input,
        "compute_infer": statistics.compute_infer,
        "compute_output": statistics.compute_output,
    }
