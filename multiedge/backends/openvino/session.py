"""An OpenVINO model behind the Session contract, its settings, and the conversion from ONNX."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multiedge.backends.contract import Array, DirectSession, Provider, Tensors
from multiedge.backends.mapped import read_pages_returned
from multiedge.errors import MissingDependencyError, ModelError, did_you_mean, one_line
from multiedge.fleet import Device
from multiedge.transports.message import ArraySpec

if TYPE_CHECKING:
    from multiedge.backends.openvino import OpenVinoBackend

TELEMETRY = "openvino_telemetry"
RESULT = "/sink_port_0"
"""What OpenVINO appends to the name of an output to name the node that gives it."""
WEIGHTS = ".bin"
TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}
"""OpenVINO's names of the types of numbers; of int8, that of what is not quantised."""


def load_openvino() -> Any:
    """The package, imported without its telemetry, which would send what is converted to a service of its maker.

    MissingDependencyError if it is not installed.
    """
    with without_telemetry():
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise MissingDependencyError("openvino", extra="openvino") from error
    return openvino


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Lets an import of the maker's telemetry fail: its packages then use a stub of their own."""
    hidden = object()
    before = sys.modules.get(TELEMETRY, hidden)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is hidden:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = before  # type: ignore[assignment]


@lru_cache(maxsize=1)
def load_core() -> Any:
    """OpenVINO's Core, one for the process.

    Where a CPU has AMX, each Core gives the thread a stack for signals with its first model, and the one before it back with
    its last: that may be freed by then, and the next signal that is handled ends the process.
    """
    return load_openvino().Core()


class OpenVinoSession:
    """A compiled model as a Session; `compiled` is OpenVINO's own object."""

    def __init__(self, compiled: Any, path: Path) -> None:
        self.compiled = compiled
        self.path = path
        self.inputs = tuple(port.any_name for port in compiled.inputs)
        self.outputs = tuple(map(_output_name, compiled.outputs))
        self.provider = Provider("+".join(compiled.get_property("EXECUTION_DEVICES")))
        self.fixed = _fixed_outputs(compiled, self.outputs)
        self._request = compiled.create_infer_request()
        self._own = {name: self._request.get_output_tensor(self.outputs.index(name)) for name in self.fixed}
        self._bound = dict.fromkeys(self.fixed, 0)
        self._is_first = True

    @property
    def batch_is_free(self) -> bool:
        """Whether the first axis of every input and output has no fixed size."""
        shapes = [port.partial_shape for port in (*self.compiled.inputs, *self.compiled.outputs)]
        return all(shape.rank.is_static and len(shape) > 0 and shape[0].is_dynamic for shape in shapes)

    def run(self, tensors: Tensors) -> dict[str, Array]:
        return self.run_into(tensors, {})

    def run_into(self, tensors: Tensors, places: Mapping[str, Array]) -> dict[str, Array]:
        """As `run`, but OpenVINO writes outputs to `places`."""
        bound = {name: place for name, place in places.items() if name in self.fixed}
        missing = [name for name in self.inputs if name not in tensors]
        if missing:
            raise ModelError(f"{self.path}: input '{missing[0]}' was not given{did_you_mean(missing[0], tensors)}")
        feed = {name: _contiguous(tensors[name]) for name in self.inputs}
        self._bind(bound)
        results = self._first_run(feed) if self._is_first else self._request.infer(feed, share_inputs=True, share_outputs=True)
        return {name: bound[name] if name in bound else np.array(results[place]) for place, name in enumerate(self.outputs)}

    def _first_run(self, feed: Mapping[str, Array]) -> Any:
        """The results of the first run, which packs weights that the compilation has not packed."""
        with read_pages_returned(self.path.with_suffix(WEIGHTS)):
            results = self._request.infer(feed, share_inputs=True, share_outputs=True)
        self._is_first = False
        return results

    def _bind(self, places: Mapping[str, Array]) -> None:
        """Lets these outputs be written to their places, and the others to the memory that OpenVINO has for them."""
        for name, before in self._bound.items():
            address = places[name].__array_interface__["data"][0] if name in places else 0
            if address != before:
                tensor = load_openvino().Tensor(places[name], shared_memory=True) if name in places else self._own[name]
                self._request.set_output_tensor(self.outputs.index(name), tensor)
                self._bound[name] = address

    def close(self) -> None:
        """Frees the model's memory; the session cannot be used afterwards."""
        self._own.clear()
        self._request = self.compiled = None


def open_session(backend: OpenVinoBackend, path: Path, device: Device | None, *, counts: bool = False) -> OpenVinoSession:
    """A session on the `.xml` file, with the backend's options, which counts the time of its nodes if `counts`.

    ModelError if OpenVINO cannot load the file, or cannot compute with the precision.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; write the plan's parts again or correct the path")
    settings = {
        "INFERENCE_PRECISION_HINT": TYPES[backend.precision],
        "INFERENCE_NUM_THREADS": device.threads if device else 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "CPU_DENORMALS_OPTIMIZATION": not backend.denormals,
        "PERF_COUNT": counts,
    }
    try:
        with read_pages_returned(path.with_suffix(WEIGHTS)):
            compiled = load_core().compile_model(str(path), "CPU", settings)
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
        openvino.save_model(load_core().read_model(str(source)), str(target), compress_to_fp16=False)
    except RuntimeError as error:
        raise ModelError(f"{source}: OpenVINO cannot convert this file: {_reason(error)}") from error


def _output_name(port: Any) -> str:
    """The name of an output. A tensor that is passed on has several; the node that gives it is named after the right one."""
    name: str = port.get_node().friendly_name.removesuffix(RESULT)
    return name if name in port.names else str(port.any_name)


def _fixed_outputs(compiled: Any, names: tuple[str, ...]) -> dict[str, ArraySpec]:
    """The outputs whose shape is known; an input that is an output too is none of them, since nothing computes it."""
    passed = {name for port in compiled.inputs for name in port.names}
    return {
        name: ArraySpec(np.dtype(port.element_type.to_dtype()), tuple(port.shape))
        for name, port in zip(names, compiled.outputs, strict=True)
        if port.partial_shape.is_static and all(port.shape) and name not in passed
    }


def _contiguous(array: Array) -> Array:
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _reason(error: RuntimeError) -> str:
    """OpenVINO's text on one line, from its first sentence on: places in its source come first."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return one_line(RuntimeError(" ".join(told))) if told else one_line(error)


def _check(session: OpenVinoSession) -> DirectSession:
    """For the type checker: the class satisfies the contract."""
    return session
