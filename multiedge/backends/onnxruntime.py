"""onnxruntime: the default runtime of a stage.

Three settings differ from its defaults, each for a measured reason: threads are explicit (onnxruntime sizes its pool
by the machine's cores and so escapes an emulated device), threads do not spin while idle (two stages that share a
core burn a third more CPU with spinning), and one session serves one stage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from multiedge.backends.contract import Array, Session, Tensors, contiguous
from multiedge.backends.prepacked import prepacked_model
from multiedge.errors import ConfigError, ModelError, did_you_mean
from multiedge.fleet import Device

OPTIMISATION = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
CUDA = "CUDAExecutionProvider"
QUIET = 3
"""Log severity: errors only. They also arrive as exceptions, which name the stage."""


class OnnxRuntimeSession:
    """An InferenceSession behind the Session contract; `raw` is the InferenceSession itself."""

    def __init__(self, raw: Any, path: Path) -> None:
        self.raw = raw
        self.path = path
        self.inputs = tuple(value.name for value in raw.get_inputs())
        self.outputs = tuple(value.name for value in raw.get_outputs())

    @property
    def batch_is_free(self) -> bool:
        """Whether the first axis of every input and output has no fixed size, so that items can be joined along it."""
        values = (*self.raw.get_inputs(), *self.raw.get_outputs())
        return all(value.shape and not isinstance(value.shape[0], int) for value in values)

    def run(self, tensors: Tensors) -> dict[str, Array]:
        missing = [name for name in self.inputs if name not in tensors]
        if missing:
            raise ModelError(f"{self.path}: input '{missing[0]}' was not given{did_you_mean(missing[0], tensors)}")
        found = self.raw.run(None, {name: contiguous(tensors[name]) for name in self.inputs})
        return dict(zip(self.outputs, found, strict=True))

    def end_profiling(self) -> Path:
        """The JSON file of onnxruntime's own profiler; only for sessions opened with `profile_prefix`."""
        return Path(self.raw.end_profiling())

    def close(self) -> None:
        """Gives the model's memory back; the session cannot be used afterwards."""
        self.raw = None


class OnnxRuntimeBackend:
    """Opens `.onnx` and `.ort` files. `device.threads` and `device.type` set threads and execution provider."""

    @staticmethod
    def open(
        path: str | Path,
        device: Device | None = None,
        *,
        threads: int | None = None,
        optimisation: str = "all",
        profile_prefix: str | Path | None = None,
        memory_pattern: bool = True,
        arena: bool = True,
        prepack: bool = True,
        prepacked: str | Path | None = None,
        optimised_path: str | Path | None = None,
        config: dict[str, str] | None = None,
    ) -> OnnxRuntimeSession:
        """A session on the model at `path`.

        `threads` overrides `device.threads`. `profile_prefix` turns onnxruntime's profiler on. `memory_pattern` and
        `arena` are onnxruntime's allocator settings; without `prepack`, weights stay in the file's layout (less
        memory, slower). `prepacked` is a folder that keeps packed weights from one session to the next
        (`multiedge.backends.prepacked`); on a GPU it does nothing. `optimised_path` saves what the optimiser made.
        `config` holds raw session config entries.
        """
        path, providers = Path(path), providers_for(device)
        entries = {
            "session.intra_op.allow_spinning": "0",
            "session.inter_op.allow_spinning": "0",
            "session.disable_prepacking": "0" if prepack else "1",
            **(config or {}),
        }

        def session_options(optimisation: str = optimisation) -> Any:
            options = ort.SessionOptions()
            options.intra_op_num_threads = threads or (device.threads if device else 1)
            options.inter_op_num_threads = 1
            options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
            options.graph_optimization_level = _optimisation(optimisation)
            options.enable_mem_pattern = memory_pattern
            options.enable_cpu_mem_arena = arena
            options.log_severity_level = QUIET
            for key, value in entries.items():
                options.add_session_config_entry(key, value)
            return options

        if prepacked is not None and path.is_file() and len(providers) == 1:
            kept = prepacked_model(path, Path(prepacked), session_options, lambda source, o: _load(source, o, providers))
            return OnnxRuntimeSession(_load(kept, session_options("disabled"), providers), path)
        options = session_options()
        if profile_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile_prefix)
        if optimised_path is not None:
            options.optimized_model_filepath = str(optimised_path)
        return OnnxRuntimeSession(_load(path, options, providers), path)


def _optimisation(name: str) -> Any:
    if name not in OPTIMISATION:
        raise ConfigError(f"optimisation: unknown level '{name}'{did_you_mean(name, OPTIMISATION)}")
    return OPTIMISATION[name]


def providers_for(device: Device | None) -> list[tuple[str, dict[str, Any]]]:
    """Execution providers in order of preference, with their options: CUDA on the device's card if it has one and
    onnxruntime can use it, then the CPU."""
    cpu: list[tuple[str, dict[str, Any]]] = [("CPUExecutionProvider", {})]
    if device is None or device.gpu is None or CUDA not in ort.get_available_providers():
        return cpu
    return [(CUDA, {"device_id": device.gpu}), *cpu]


def _load(path: Path, options: Any, providers: list[tuple[str, dict[str, Any]]]) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; write the plan's parts again or correct the path")
    try:
        return ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime raises a class per status code, all direct children of Exception
        text = " ".join(str(error).split())
        raise ModelError(f"{path}: onnxruntime cannot load this file: {text}") from error


def _check(session: OnnxRuntimeSession) -> Session:
    """For the type checker: the class satisfies the contract."""
    return session
