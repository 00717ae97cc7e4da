"""An ncnn network behind the Session contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multiedge.backends.contract import Array, Provider, Session, Tensors
from multiedge.backends.items import run_items
from multiedge.backends.ncnn.convert import Interface, Value, read_interface
from multiedge.errors import MissingDependencyError, ModelError, did_you_mean
from multiedge.fleet import Device

if TYPE_CHECKING:
    from multiedge.backends.ncnn import NcnnBackend


def load_ncnn() -> Any:
    """The package `ncnn`; MissingDependencyError if it is not installed."""
    try:
        import ncnn
    except ModuleNotFoundError as error:
        raise MissingDependencyError("ncnn", extra="ncnn") from error
    return ncnn


class NcnnSession:
    """A network with the names, shapes and types of the ONNX file. Items of a batch are computed one by one."""

    provider = Provider("CPU")

    def __init__(self, ncnn: Any, net: Any, interface: Interface, path: Path) -> None:
        self._ncnn, self._net, self.path = ncnn, net, path
        self._interface = interface
        self.inputs = tuple(value.name for value in interface.inputs)
        self.outputs = tuple(value.name for value in interface.outputs)
        self.batch_is_free = interface.batch_is_free

    def run(self, tensors: Tensors) -> dict[str, Array]:
        missing = [name for name in self.inputs if name not in tensors]
        if missing:
            raise ModelError(f"{self.path}: input '{missing[0]}' was not given{did_you_mean(missing[0], tensors)}")
        feed = {value.name: self._checked(value, tensors[value.name]) for value in self._interface.inputs}
        return run_items(self._run_item, feed) if self.batch_is_free else self._run_item(feed)

    def _checked(self, value: Value, array: Array) -> Array:
        """The array, if it is of the type and shape that the network was converted for; ncnn itself does not look."""
        wanted = (len(array), *value.shape[1:]) if self.batch_is_free and array.ndim else value.shape
        if array.shape != wanted or array.dtype != value.dtype:
            raise ModelError(
                f"{self.path}: input '{value.name}': expected {value.dtype} {list(value.shape)}, got {array.dtype}"
                f" {list(array.shape)}"
            )
        return np.asarray(array, dtype=value.dtype, order="C")

    def _run_item(self, feed: dict[str, Array]) -> dict[str, Array]:
        extractor, held = self._net.create_extractor(), []
        for value in self._interface.inputs:
            array = feed[value.name]
            held.append(self._ncnn.Mat(array[0] if array.ndim > 1 and array.shape[0] == 1 else array).clone())
            extractor.input(value.blob, held[-1])
        return {value.name: self._extracted(extractor, value) for value in self._interface.outputs}

    def _extracted(self, extractor: Any, value: Value) -> Array:
        status, mat = extractor.extract(value.blob)
        if status != 0:
            raise ModelError(f"{self.path}: ncnn cannot compute output '{value.name}' (status {status})")
        made = np.array(mat, dtype=value.dtype)
        if made.size != int(np.prod(value.shape)):
            raise ModelError(f"{self.path}: output '{value.name}': expected shape {list(value.shape)}, got {list(made.shape)}")
        return made.reshape(value.shape)

    def close(self) -> None:
        """Frees the model's memory; the session cannot be used afterwards."""
        self._net = None


def open_session(backend: NcnnBackend, path: Path, device: Device | None) -> NcnnSession:
    """A session on the `.param` file, in float32. ModelError if ncnn cannot load it, or if the files beside it are missing."""
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; write the plan's parts again or correct the path")
    interface, ncnn = read_interface(path), load_ncnn()
    net = ncnn.Net()
    options = net.opt
    options.num_threads = device.threads if device else 1
    options.use_vulkan_compute = False
    options.use_winograd_convolution = backend.winograd
    # float16 and bfloat16 are its defaults, for weights, for activations and for sums.
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = options.use_bf16_storage = False
    if net.load_param(str(path)) != 0 or net.load_model(str(path.with_suffix(".bin"))) != 0:
        raise ModelError(f"{path}: ncnn cannot load this file: it has an operator that ncnn does not know, or is damaged")
    return NcnnSession(ncnn, net, interface, path)


def _check(session: NcnnSession) -> Session:
    """For the type checker: the class satisfies the contract."""
    return session
