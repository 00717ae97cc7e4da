"""Reading an ONNX model without its weights, cutting it, and writing the parts.

Names are resolved on first use, so that importing the package does not load onnx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiedge.onnx_io.inputs import random_inputs
    from multiedge.onnx_io.manifest import read_manifest
    from multiedge.onnx_io.reader import read_graph
    from multiedge.onnx_io.verify import read_runnable
    from multiedge.onnx_io.writer import with_own_weights, write_parts

_HOME = {
    "random_inputs": "multiedge.onnx_io.inputs",
    "read_graph": "multiedge.onnx_io.reader",
    "read_manifest": "multiedge.onnx_io.manifest",
    "read_runnable": "multiedge.onnx_io.verify",
    "with_own_weights": "multiedge.onnx_io.writer",
    "write_parts": "multiedge.onnx_io.writer",
}

__all__ = ["random_inputs", "read_graph", "read_manifest", "read_runnable", "with_own_weights", "write_parts"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'multiedge.onnx_io' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
