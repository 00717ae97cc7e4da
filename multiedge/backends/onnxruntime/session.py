"""An onnxruntime session behind the Session contract, and its settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from multiedge.backends.contract import Array, DirectSession, Provider, Tensors
from multiedge.backends.heap import return_freed
from multiedge.backends.onnxruntime.prepacked import prepacked_model
from multiedge.backends.onnxruntime.providers import ASSIGNMENT, CUDA, Chosen, ProviderList, chosen, provider_of, providers_for
from multiedge.errors import ModelError, MultiedgeError, did_you_mean, one_line
from multiedge.fleet import Device
from multiedge.transports.message import ArraySpec

if TYPE_CHECKING:
    from multiedge.backends.onnxruntime import OnnxRuntimeBackend

OPTIMISATION = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
SHRINK = "memory.enable_memory_arena_shrinkage"
"""Entry of a run's options: the arenas of these devices free, after the run, what nothing uses."""
QUIET = 4
"""Log severity: fatal errors only. Others arrive as exceptions, which name the stage."""

NUMBERS: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    **{f"tensor({name})": np.dtype(name) for name in ("float16", "bool", "int8", "int16", "int32", "int64")},
    **{f"tensor({name})": np.dtype(name) for name in ("uint8", "uint16", "uint32", "uint64")},
}
"""numpy's type for onnxruntime's name of a type; other types are not written to memory that is given."""
_IN_SOURCE = r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:Load model from .*? failed:\s*)?(?:/\S+:\d+ .*?\) (?=[A-Z]))?"
"""A status code, the path that the error names anyway, a line of source and its function."""
MOST_BINDINGS = 64
"""How many sets of places are remembered."""


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

    def __init__(self, raw: ort.InferenceSession, path: Path, provider: Provider | None = None) -> None:
        self.raw = raw
        self.path = path
        self.provider = provider or provider_of(raw.get_providers()[0])  # it falls back to the CPU without an error
        self.inputs = tuple(value.name for value in raw.get_inputs())
        self.outputs = tuple(value.name for value in raw.get_outputs())
        self.fixed = fixed_outputs(raw)
        self._bindings: dict[tuple[int, ...], ort.IOBinding] = {}
        self._is_checked = False
        self._is_first = True

    @property
    def batch_is_free(self) -> bool:
        """Whether the first axis of every input and output has no fixed size, so that items can be joined along it."""
        values = (*self.raw.get_inputs(), *self.raw.get_outputs())
        return all(value.shape and not isinstance(value.shape[0], int) for value in values)

    @property
    def shapes(self) -> dict[str, tuple[int | str | None, ...]]:
        """The shape of each input and output as the file declares it."""
        return {value.name: tuple(value.shape) for value in (*self.raw.get_inputs(), *self.raw.get_outputs())}

    def run(self, tensors: Tensors) -> dict[str, Array]:
        outputs = self._first_run(tensors) if self._is_first else self.raw.run(None, self._feed(tensors))
        return dict(zip(self.outputs, outputs, strict=True))

    def run_into(self, tensors: Tensors, places: Mapping[str, Array]) -> dict[str, Array]:
        """As `run`, but onnxruntime writes outputs to `places`. The first run does not: some files declare shapes that their
        outputs do not have, and onnxruntime then refuses to write them."""
        if not self._is_checked:
            outputs = self.run(tensors)
            self._is_checked = True
            self.fixed = {name: spec for name, spec in self.fixed.items() if _has(outputs[name], spec)}
            return outputs
        bound = {name: place for name, place in places.items() if name in self.fixed}
        if not bound:
            return self.run(tensors)
        feed = self._feed(tensors)
        try:
            binding = self._run_bound(feed, bound)
        except Exception:  # a class per status code; an output of another size is one, and any other comes again
            outputs = self.run(tensors)
            self.fixed = {}
            return outputs
        others = [] if len(bound) == len(self.outputs) else binding.get_outputs()
        return {**{name: value.numpy() for name, value in zip(self.outputs, others, strict=False)}, **bound}

    @property
    def holds_arrays(self) -> bool:
        return self.provider.processor == "cpu"

    def held(self, array: Array) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_numpy(contiguous(array), *self._place)

    def array(self, held: ort.OrtValue) -> Array:
        return np.asarray(held.numpy())

    def run_held(
        self, tensors: Tensors, held: Mapping[str, ort.OrtValue], kept: Mapping[str, ort.OrtValue | None]
    ) -> tuple[dict[str, Array], dict[str, ort.OrtValue]]:
        """As `run`; tensors of the runtime are bound as they are."""
        feed = self._feed(tensors, [name for name in self.inputs if name not in held])
        binding = self.raw.io_binding()
        for name, array in feed.items():
            binding.bind_cpu_input(name, array)
        for name, value in held.items():
            binding.bind_ortvalue_input(name, value)
        for name in self.outputs:
            place = kept.get(name)
            if place is not None:
                binding.bind_ortvalue_output(name, place)
            else:
                binding.bind_output(name, *(self._place if name in kept else ()))
        self.raw.run_with_iobinding(binding)
        made = dict(zip(self.outputs, binding.get_outputs(), strict=True))
        outputs = {name: value.numpy() for name, value in made.items() if name not in kept}
        # What was bound to a place is that place: it owns the memory, which what the binding gives back does not.
        return outputs, {name: made[name] if place is None else place for name, place in kept.items()}

    @property
    def _place(self) -> tuple[str, int]:
        """Where states are: in the memory of a card that CUDA computes on, otherwise in that of the processor."""
        cuda = self.raw.get_provider_options().get(CUDA)
        return ("cpu", 0) if cuda is None else ("cuda", int(cuda.get("device_id", 0)))

    def _first_run(self, tensors: Tensors) -> list[Any]:
        """Outputs of the first run, whose memory goes back to the system.

        It takes pieces of memory, from which onnxruntime computes the one block that it takes for later runs. Both would stay.
        So would a piece in which an output lies: outputs are written to other memory, if the file states their sizes.
        """
        options, feed = ort.RunOptions(), self._feed(tensors)
        if self.raw.get_session_options().enable_cpu_mem_arena and self.provider.processor == "cpu":
            options.add_run_config_entry(SHRINK, "cpu:0")
        places = {name: np.empty(spec.shape, spec.dtype) for name, spec in self.fixed.items()}
        try:
            if len(places) < len(self.outputs):
                outputs: list[Any] = self.raw.run(None, feed, options)
            else:
                self._run_bound(feed, places, options)
                outputs = [places[name] for name in self.outputs]
        except Exception:  # an output of another size than the file states, or what comes again
            outputs = self.raw.run(None, feed, options)
        self._bindings.clear()
        self._is_first = False
        return_freed()
        return outputs

    def _run_bound(
        self, feed: Mapping[str, Any], places: Mapping[str, Array], options: ort.RunOptions | None = None
    ) -> ort.IOBinding:
        """Runs with these outputs in their places, and the others in new memory, which the binding has."""
        binding = self._binding(places)
        try:
            for name, array in feed.items():
                binding.bind_cpu_input(name, array)
            self.raw.run_with_iobinding(binding, options)
        finally:
            binding.clear_binding_inputs()
        return binding

    def _feed(self, tensors: Tensors, names: Sequence[str] | None = None) -> dict[str, Array | list[Array]]:
        """The tensors of these names, by default of all inputs."""
        names = self.inputs if names is None else names
        missing = [name for name in names if name not in tensors]
        if missing:
            raise ModelError(f"{self.path}: input '{missing[0]}' was not given{did_you_mean(missing[0], tensors)}")
        return {name: contiguous(tensors[name]) for name in names}

    def _binding(self, places: Mapping[str, Array]) -> ort.IOBinding:
        """What binds the outputs to these places, and the others to new memory. Messages use few places again and again."""
        key = tuple(place.__array_interface__["data"][0] for place in places.values())
        binding = self._bindings.get(key)
        if binding is None:
            if len(self._bindings) >= MOST_BINDINGS:
                self._bindings.clear()
            binding = self._bindings[key] = self.raw.io_binding()
            for name in self.outputs:
                if name in places:
                    place = places[name]
                    binding.bind_output(name, "cpu", 0, place.dtype, place.shape, place.__array_interface__["data"][0])
                else:
                    binding.bind_output(name)
        return binding

    def end_profiling(self) -> Path:
        """The JSON file of onnxruntime's own profiler; only for sessions that were opened with a Recording."""
        return Path(self.raw.end_profiling())

    def close(self) -> None:
        """Frees the model's memory; the session cannot be used afterwards."""
        self._bindings.clear()
        self.raw = None


def open_session(
    backend: OnnxRuntimeBackend, path: Path, device: Device | None = None, recording: Recording | None = None
) -> OnnxRuntimeSession:
    """A session on the model at `path`, with the backend's options. ModelError if onnxruntime cannot load the file."""
    path = Path(path)
    options = session_options(backend, device)
    if backend.execution_provider is not None:
        return _open_with(chosen(backend.execution_provider, backend.provider_settings, device), path, options, recording)
    providers = providers_for(device)
    if backend.prepacked is not None and recording is None and path.is_file() and len(providers) == 1:
        kept = prepacked_model(path, Path(backend.prepacked), options, lambda saving: _load(path, saving, providers))
        options = session_options(replace(backend, optimisation="disabled"), device)
        return OnnxRuntimeSession(_load(kept, options, providers), path)
    if recording is not None:
        recording.apply(options)
    return OnnxRuntimeSession(_load(path, options, providers), path)


def _open_with(asked: Chosen, path: Path, options: ort.SessionOptions, recording: Recording | None) -> OnnxRuntimeSession:
    """A session with a provider that was asked for by name. ModelError if it computes nothing of the model."""
    options.add_session_config_entry(ASSIGNMENT, "1")
    if recording is not None:
        recording.apply(options)
    with _loading(path):
        raw = asked.load(path, options)
    return OnnxRuntimeSession(raw, path, asked.computing(raw, path))


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


def contiguous(array: Array | list[Array]) -> Array | list[Array]:
    """The array itself if its bytes lie in one piece in native order, otherwise a copy that does; lists stay as they are."""
    if not isinstance(array, np.ndarray) or array.dtype.hasobject:
        return array
    # Not ascontiguousarray, which makes a vector of a scalar.
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def fixed_outputs(raw: ort.InferenceSession) -> dict[str, ArraySpec]:
    """The outputs of numbers whose shape the file states in full; none where the CPU does not compute them.

    An input that is an output too is none of them: onnxruntime passes it on, and writes nothing to a place that is bound.
    """
    if provider_of(raw.get_providers()[0]).processor != "cpu":
        return {}
    specs, inputs = {}, {value.name for value in raw.get_inputs()}
    for value in raw.get_outputs():
        dtype = NUMBERS.get(value.type)
        if dtype is not None and value.name not in inputs and all(isinstance(size, int) and size > 0 for size in value.shape):
            specs[value.name] = ArraySpec(dtype, tuple(value.shape))
    return specs


def _has(array: object, spec: ArraySpec) -> bool:
    return isinstance(array, np.ndarray) and ArraySpec(array.dtype, array.shape) == spec


def _load(path: Path, options: ort.SessionOptions, providers: ProviderList) -> ort.InferenceSession:
    with _loading(path):
        # Without another provider to fall back to, onnxruntime would only print its error and try the same again.
        return ort.InferenceSession(str(path), options, providers=providers, enable_fallback=int(len(providers) > 1))


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    """ModelError for a file that is missing or that onnxruntime refuses."""
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; write the plan's parts again or correct the path")
    try:
        yield
    except MultiedgeError:
        raise
    except Exception as error:  # onnxruntime raises a class per status code, all direct children of Exception
        raise ModelError(f"{path}: onnxruntime cannot load this file: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """onnxruntime's text on one line, without the places in its source that it begins with."""
    return re.sub(_IN_SOURCE, "", one_line(error))


def _check(session: OnnxRuntimeSession) -> DirectSession:
    """For the type checker: the class satisfies the contract."""
    return session
