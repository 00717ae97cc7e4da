"""An onnxruntime session behind the Session contract, and its settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from multiedge.backends.contract import Array, Provider, Session, Tensors
from multiedge.backends.onnxruntime.prepacked import prepacked_model
from multiedge.errors import ModelError, did_you_mean, one_line
from multiedge.fleet import Device

if TYPE_CHECKING:
    from multiedge.backends.onnxruntime import OnnxRuntimeBackend

OPTIMISATION = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
QUIET = 3
"""Log severity: errors only. They also arrive as exceptions, which name the stage."""

ProviderList = list[tuple[str, dict[str, int]]]


@dataclass(frozen=True)
class Recording:
    """What a session writes down: onnxruntime's profile to files that begin with `profile_prefix`, and the graph that its
    optimiser made to `optimised_path`, with large weights in a file of the name `weights_file` beside it."""

    profile_prefix: Path
    optimised_path: Path | None = None
    weights_file: str = "weights.bin"

    def apply(self, options: ort.SessionOptions) -> None:
        options.enable_profiling = True
        options.profile_file_prefix = str(self.profile_prefix)
        if self.optimised_path is not None:
            options.optimized_model_filepath = str(self.optimised_path)
            options.add_session_config_entry("session.optimized_model_external_initializers_file_name", self.weights_file)


class OnnxRuntimeSession:
    """An InferenceSession as a Session; `raw` is the InferenceSession itself."""

    def __init__(self, raw: ort.InferenceSession, path: Path) -> None:
        self.raw = raw
        self.path = path
        self.inputs = tuple(value.name for value in raw.get_inputs())
        self.outputs = tuple(value.name for value in raw.get_outputs())

    @property
    def batch_is_free(self) -> bool:
        """Whether the first axis of every input and output has no fixed size, so that items can be joined along it."""
        values = (*self.raw.get_inputs(), *self.raw.get_outputs())
        return all(value.shape and not isinstance(value.shape[0], int) for value in values)

    @property
    def provider(self) -> Provider:
        """The provider that onnxruntime took; it falls back to the CPU without an error."""
        return provider_of(self.raw.get_providers()[0])

    def run(self, tensors: Tensors) -> dict[str, Array]:
        missing = [name for name in self.inputs if name not in tensors]
        if missing:
            raise ModelError(f"{self.path}: input '{missing[0]}' was not given{did_you_mean(missing[0], tensors)}")
        outputs = self.raw.run(None, {name: contiguous(tensors[name]) for name in self.inputs})
        return dict(zip(self.outputs, outputs, strict=True))

    def end_profiling(self) -> Path:
        """The JSON file of onnxruntime's own profiler; only for sessions that were opened with a Recording."""
        return Path(self.raw.end_profiling())

    def close(self) -> None:
        """Frees the model's memory; the session cannot be used afterwards."""
        self.raw = None


def open_session(
    backend: OnnxRuntimeBackend, path: Path, device: Device | None = None, recording: Recording | None = None
) -> OnnxRuntimeSession:
    """A session on the model at `path`, with the backend's options. ModelError if onnxruntime cannot load the file."""
    path, providers = Path(path), providers_for(device)
    options = session_options(backend, device)
    if backend.prepacked is not None and recording is None and path.is_file() and len(providers) == 1:
        kept = prepacked_model(path, Path(backend.prepacked), options, lambda saving: _load(path, saving, providers))
        options = session_options(replace(backend, optimisation="disabled"), device)
        return OnnxRuntimeSession(_load(kept, options, providers), path)
    if recording is not None:
        recording.apply(options)
    return OnnxRuntimeSession(_load(path, options, providers), path)


def session_options(backend: OnnxRuntimeBackend, device: Device | None) -> ort.SessionOptions:
    """Fresh options of a session."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = device.threads if device else 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = OPTIMISATION[backend.optimisation]
    options.enable_mem_pattern = backend.memory_pattern
    options.enable_cpu_mem_arena = backend.arena
    options.log_severity_level = QUIET
    entries = {
        "session.intra_op.allow_spinning": "0",
        "session.inter_op.allow_spinning": "0",
        "session.disable_prepacking": "0" if backend.prepack else "1",
        **backend.config,
    }
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return options


def providers_for(device: Device | None) -> ProviderList:
    """Execution providers in order of preference, with their options: CUDA on the device's card if it has one and
    onnxruntime can use it, then the CPU."""
    cpu: ProviderList = [(CPU, {})]
    if device is None or device.gpu is None or CUDA not in ort.get_available_providers():
        return cpu
    return [(CUDA, {"device_id": device.gpu}), *cpu]


def provider_of(name: str) -> Provider:
    return Provider(name, "gpu" if name == CUDA else "cpu")


def contiguous(array: Array | list[Array]) -> Array | list[Array]:
    """The array itself if its bytes lie in one piece in native order, otherwise a copy that does; lists stay as they are."""
    if not isinstance(array, np.ndarray) or array.dtype.hasobject:
        return array
    # Not ascontiguousarray, which makes a vector of a scalar.
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _load(path: Path, options: ort.SessionOptions, providers: ProviderList) -> ort.InferenceSession:
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; write the plan's parts again or correct the path")
    try:
        # Without another provider to fall back to, onnxruntime would only print its error and try the same again.
        return ort.InferenceSession(str(path), options, providers=providers, enable_fallback=int(len(providers) > 1))
    except Exception as error:  # onnxruntime raises a class per status code, all direct children of Exception
        raise ModelError(f"{path}: onnxruntime cannot load this file: {one_line(error)}") from error


def _check(session: OnnxRuntimeSession) -> Session:
    """For the type checker: the class satisfies the contract."""
    return session
