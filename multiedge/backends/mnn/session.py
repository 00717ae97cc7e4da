"""An MNN module behind the Session contract, and the conversion from ONNX."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.backends.contract import Array, Provider, Session, Tensors
from multiedge.errors import MissingDependencyError, ModelError, did_you_mean
from multiedge.files import temporary_folder
from multiedge.fleet import Device

NARROW = {"float64": "float32", "int64": "int32", "bool": "int32"}
"""What MNN holds values of these types as."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Sends what the runtime prints on stdout to stderr: it prints from C, where results of a command are expected."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C has buffered would be printed later
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """The converter leaves a file in the folder that the process works in."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def load_mnn() -> Any:
    """The package `MNN`; MissingDependencyError if it is not installed."""
    try:
        with _quiet():
            import MNN
            import MNN.expr
            import MNN.nn
    except ModuleNotFoundError as error:
        raise MissingDependencyError("mnn", extra="mnn") from error
    return MNN


class MnnSession:
    """A loaded module as a Session. MNN computes for the sizes of the inputs that it gets, so a batch is never joined."""

    provider = Provider("CPU")
    batch_is_free = False

    def __init__(self, mnn: Any, module: Any, path: Path) -> None:
        self._expr, self._module, self.path = mnn.expr, module, path
        known = module.get_info()
        self.inputs, self.outputs = tuple(known["inputNames"]), tuple(known["outputNames"])
        self._types = {np.dtype(np.float32): mnn.expr.dtype.float, np.dtype(np.int32): mnn.expr.dtype.int}

    def run(self, tensors: Tensors) -> dict[str, Array]:
        missing = [name for name in self.inputs if name not in tensors]
        if missing:
            raise ModelError(f"{self.path}: input '{missing[0]}' was not given{did_you_mean(missing[0], tensors)}")
        made = self._module.forward([self._variable(name, tensors[name]) for name in self.inputs])
        layout = self._expr.data_format.NCHW
        arrays = [np.array(self._expr.convert(each, layout).read(), copy=True) for each in made]
        return dict(zip(self.outputs, arrays, strict=True))

    def _variable(self, name: str, array: Array) -> Any:
        value = np.asarray(array, dtype=NARROW.get(array.dtype.name, array.dtype), order="C")
        if value.dtype not in self._types:
            raise ModelError(f"{self.path}: input '{name}': expected float32 or int32, which MNN holds, got {array.dtype}")
        return self._expr.const(value, list(value.shape), self._expr.data_format.NCHW, self._types[value.dtype])

    def close(self) -> None:
        """Frees the model's memory; the session cannot be used afterwards."""
        self._module = None


def open_session(path: Path, device: Device | None) -> MnnSession:
    """A session on the `.mnn` file, in float32. ModelError if MNN cannot load it."""
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; write the plan's parts again or correct the path")
    mnn = load_mnn()
    settings = {"backend": "CPU", "precision": "high", "numThread": device.threads if device else 1}
    with _quiet():
        # The arguments of the function for precision and threads are ignored: it takes those of the process, four threads.
        runtime = mnn.nn.create_runtime_manager((settings,))
        # Rearranging packs the weights now, and keeps no others.
        module = mnn.nn.load_module_from_file(str(path), [], [], runtime_manager=runtime, rearrange=True)
    if module is None or not module.get_info()["outputNames"]:
        raise ModelError(f"{path}: MNN cannot load this file; convert it again with: multiedge convert --again")
    return MnnSession(mnn, module, path)


def convert(source: Path, target: Path) -> None:
    """Writes the ONNX model as `.mnn`, with its float32 weights in a file beside it: inside, they would be held twice."""
    load_mnn()
    files = ["--modelFile", str(source.resolve()), "--MNNModel", str(target.resolve())]
    words = ["mnnconvert", "-f", "ONNX", *files, "--bizCode", "MNN", "--saveExternalData"]
    with _quiet(), temporary_folder("mnn-") as folder, _working_in(folder):
        from _tools import mnnconvert  # the converter alone: the package's command sends logs

        mnnconvert(words)
    if not target.is_file():
        raise ModelError(f"{source}: MNN cannot convert this file; it knows no conversion of one of its operators")


def _check(session: MnnSession) -> Session:
    """For the type checker: the class satisfies the contract."""
    return session
