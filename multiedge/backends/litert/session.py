"""A LiteRT interpreter behind the Session contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.backends.contract import Array, Provider, Session, Tensors
from multiedge.backends.items import run_items
from multiedge.backends.litert.convert import names_beside
from multiedge.errors import MissingDependencyError, ModelError, did_you_mean, one_line
from multiedge.fleet import Device
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Field, Kind

KIND = Kind("names of a converted model's tensors", ModelError, "convert again with: multiedge convert --again")


@dataclass(frozen=True)
class Names:
    """The model's inputs and outputs in order, each with the tensor's name in the file; None for an input that is not used.

    `is_single` is whether the file takes one item where the model takes a batch; `axes` are those with which an output is to be
    transposed into the layout that the model has.
    """

    inputs: dict[str, str | None]
    outputs: dict[str, str]
    is_single: bool
    axes: dict[str, tuple[int, ...]]


def read_names(path: Path) -> Names:
    """What the conversion has written beside the file; ModelError if it is missing or damaged."""
    data = read_json(names_beside(path), KIND)
    inputs = data["inputs"].mapping_of(lambda field: field.optional(Field.text))
    axes = data["axes"].mapping_of(lambda field: field.list_of(Field.count))
    return Names(inputs, data["outputs"].mapping_of(Field.text), data["is_single"].boolean(), axes)


def load_interpreter() -> Any:
    """The class of LiteRT's interpreters; MissingDependencyError if the package is not installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise MissingDependencyError("ai-edge-litert", extra="litert") from error
    return Interpreter


class LiteRtSession:
    """An interpreter with its names. Sizes that the file leaves open become those of the inputs, run by run."""

    provider = Provider("CPU")

    def __init__(self, interpreter: Any, names: Names, path: Path) -> None:
        self._interpreter, self.path = interpreter, path
        self.inputs, self.outputs = tuple(names.inputs), tuple(names.outputs)
        given = {each["name"]: each for each in interpreter.get_input_details()}
        made = {each["name"]: each for each in interpreter.get_output_details()}
        self._given = {name: given[known] for name, known in names.inputs.items() if known is not None}
        self._made = {name: made[known]["index"] for name, known in names.outputs.items()}
        self._is_single, self._axes = names.is_single, names.axes
        signatures = [each["shape_signature"] for each in (*given.values(), *made.values())]
        self.batch_is_free = names.is_single or all(len(each) > 0 and each[0] == -1 for each in signatures)
        self._shapes: dict[str, tuple[int, ...]] = {}

    def run(self, tensors: Tensors) -> dict[str, Array]:
        missing = [name for name in self.inputs if name not in tensors]
        if missing:
            raise ModelError(f"{self.path}: input '{missing[0]}' was not given{did_you_mean(missing[0], tensors)}")
        feed = {name: np.asarray(tensors[name], order="C") for name in self._given}
        return run_items(self._run, feed) if self._is_single else self._run(feed)

    def _run(self, feed: dict[str, Array]) -> dict[str, Array]:
        self._require_sizes(feed)
        for name, array in feed.items():
            self._interpreter.set_tensor(self._given[name]["index"], array)
        self._interpreter.invoke()
        return {name: self._laid_out(name, self._interpreter.get_tensor(index)) for name, index in self._made.items()}

    def _laid_out(self, name: str, array: Array) -> Array:
        axes = self._axes.get(name)
        return array if axes is None else np.ascontiguousarray(array.transpose(axes))

    def _require_sizes(self, feed: dict[str, Array]) -> None:
        """Makes the interpreter's inputs of the sizes that are fed; memory is planned anew only where they have changed."""
        shapes = {name: array.shape for name, array in feed.items()}
        if shapes == self._shapes:
            return
        self._shapes = {}
        for name, shape in shapes.items():
            self._interpreter.resize_tensor_input(self._given[name]["index"], shape, strict=True)
        self._interpreter.allocate_tensors()
        self._shapes = shapes

    def close(self) -> None:
        """Frees the model's memory; the session cannot be used afterwards."""
        self._interpreter = None


def open_session(path: Path, device: Device | None) -> LiteRtSession:
    """A session on the `.tflite` file. ModelError if LiteRT cannot load it, or if the names beside it are missing."""
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; write the plan's parts again or correct the path")
    kind, names = load_interpreter(), read_names(path)
    try:
        return LiteRtSession(kind(model_path=str(path), num_threads=device.threads if device else 1), names, path)
    except (ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{path}: LiteRT cannot load this file: {one_line(error)}") from error


def _check(session: LiteRtSession) -> Session:
    """For the type checker: the class satisfies the contract."""
    return session
