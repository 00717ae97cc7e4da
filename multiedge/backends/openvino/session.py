"""An OpenVINO model behind the Session contract, its settings, and the conversion from ONNX."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multiedge.backends.contract import Array, Provider, Session, Tensors
from multiedge.errors import MissingDependencyError, ModelError, did_you_mean, one_line
from multiedge.fleet import Device

if TYPE_CHECKING:
    from multiedge.backends.openvino import OpenVinoBackend

TELEMETRY = "openvino_telemetry"
RESULT = "/sink_port_0"
"""What OpenVINO appends to the name of an output to name the node that gives it."""
TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
"""OpenVINO's names of the types of numbers."""


def load_openvino() -> Any:
    """The package, imported without its telemetry, which would send what is converted to a service of its maker.

    MissingDependencyError if it is not installed.
    """
    hidden = object()
    before = sys.modules.get(TELEMETRY, hidden)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # an import of it fails; OpenVINO then uses a stub of its own
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingDependencyError("openvino", extra="openvino") from error
    finally:
        if before is hidden:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = before  # type: ignore[assignment]
    return openvino


class OpenVinoSession:
    """A compiled model as a Session; `compiled` is OpenVINO's own object."""

    def __init__(self, compiled: Any, path: Path) -> None:
        self.compiled = compiled
        self.path = path
        self.inputs = tuple(port.any_name for port in compiled.inputs)
        self.outputs = tuple(map(_output_name, compiled.outputs))
        self.provider = Provider("+".join(compiled.get_property("EXECUTION_DEVICES")))
        self._request = compiled.create_infer_request()

    @property
    def batch_is_free(self) -> bool:
        """Whether the first axis of every input and output has no fixed size."""
        shapes = [port.partial_shape for port in (*self.compiled.inputs, *self.compiled.outputs)]
        return all(shape.rank.is_static and len(shape) > 0 and shape[0].is_dynamic for shape in shapes)

    def run(self, tensors: Tensors) -> dict[str, Array]:
        missing = [name for name in self.inputs if name not in tensors]
        if missing:
            raise ModelError(f"{self.path}: input '{missing[0]}' was not given{did_you_mean(missing[0], tensors)}")
        feed = {name: _contiguous(tensors[name]) for name in self.inputs}
        results = self._request.infer(feed, share_inputs=True, share_outputs=False)
        return {name: results[place] for place, name in enumerate(self.outputs)}

    def close(self) -> None:
        """Frees the model's memory; the session cannot be used afterwards."""
        self._request = self.compiled = None


def open_session(backend: OpenVinoBackend, path: Path, device: Device | None) -> OpenVinoSession:
    """A session on the `.xml` file, with the backend's options. ModelError if OpenVINO cannot load it, or cannot compute with
    the precision."""
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; write the plan's parts again or correct the path")
    openvino = load_openvino()
    settings = {
        "INFERENCE_PRECISION_HINT": TYPES[backend.precision],
        "INFERENCE_NUM_THREADS": device.threads if device else 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "CPU_DENORMALS_OPTIMIZATION": not backend.denormals,
    }
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    except RuntimeError as error:
        raise ModelError(f"{path}: OpenVINO cannot load this file: {_reason(error)}") from error
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if taken != TYPES[backend.precision]:
        raise ModelError(
            f"{path}: precision {backend.precision}: OpenVINO would compute with {taken} on this CPU; use another precision"
        )
    return OpenVinoSession(compiled, path)


def convert(source: Path, target: Path) -> None:
    """Writes the ONNX model as `.xml` and `.bin`, with weights of the type that they have."""
    openvino = load_openvino()
    try:
        openvino.save_model(openvino.Core().read_model(str(source)), str(target), compress_to_fp16=False)
    except RuntimeError as error:
        raise ModelError(f"{source}: OpenVINO cannot convert this file: {_reason(error)}") from error


def _output_name(port: Any) -> str:
    """The name of an output. A tensor that is passed on has several; the node that gives it is named after the right one."""
    name: str = port.get_node().friendly_name.removesuffix(RESULT)
    return name if name in port.names else str(port.any_name)


def _contiguous(array: Array) -> Array:
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _reason(error: RuntimeError) -> str:
    """OpenVINO's text on one line, from its first sentence on: places in its source come first."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return one_line(RuntimeError(" ".join(told))) if told else one_line(error)


def _check(session: OpenVinoSession) -> Session:
    """For the type checker: the class satisfies the contract."""
    return session
