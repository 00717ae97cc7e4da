"""Types and shapes of what a served stage takes and gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.backends.contract import SequenceSession, Session
from multiedge.composed import is_void
from multiedge.errors import ModelError, did_you_mean
from multiedge.graph import GIVEN_SEQUENCE_TENSOR, Tensor
from multiedge.onnx_io import read_graph
from multiedge.onnx_io.reader import declared_ends, declared_graph
from multiedge.onnx_io.stated import is_composed
from multiedge.states import SEQUENCE


@dataclass(frozen=True)
class Signature:
    """The tensors of a stage by name; type and shape are None where they are not known."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    @classmethod
    def of_session(cls, session: Session) -> Signature:
        """The names alone: a session does not state types."""
        return cls({name: Tensor(name) for name in session.inputs}, {name: Tensor(name) for name in session.outputs})

    @classmethod
    def of_part(cls, path: Path, session: Session) -> Signature:
        """As the part's file declares them, with one row where it leaves the batch open; names alone for a part that is no ONNX
        file. Steps of sequences differ in size, and so do items of workflows: their open sizes stay open."""
        if path.suffix != ".onnx":
            return cls.of_session(session)
        if isinstance(session, SequenceSession):
            return cls._of({**declared_ends(path.read_bytes(), str(path)), SEQUENCE: GIVEN_SEQUENCE_TENSOR}, session)
        graph = declared_graph(path) if is_composed(path) else read_graph(path)
        return cls._of(graph.tensors, session)

    @classmethod
    def of_model(cls, path: Path, session: Session) -> Signature:
        """As `of_part`, with the dimensions that a model's file leaves open, the batch too, left open."""
        if path.suffix != ".onnx":
            return cls.of_session(session)
        graph = declared_graph(path)
        return cls._of({**graph.tensors, **graph.file_inputs}, session)

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], session: Session) -> Signature:
        inputs, outputs = (
            {name: tensors.get(name, Tensor(name)) for name in names} for names in (session.inputs, session.outputs)
        )
        return cls(inputs, outputs)

    def require_inputs(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        """ModelError for an input that is missing or unknown, and for one of another type or shape."""
        for name in tensors:
            if name not in self.inputs:
                raise ModelError(f"unknown input '{name}'{did_you_mean(name, self.inputs)}")
        for name, tensor in self.inputs.items():
            if name not in tensors:
                raise ModelError(f"input '{name}' is missing{did_you_mean(name, tensors)}")
            if not is_void(tensors[name]):
                _require_fits(tensor, tensors[name])

    def require_outputs(self, names: Iterable[str]) -> None:
        """ModelError for a requested output that the stage does not have."""
        for name in names:
            if name not in self.outputs:
                raise ModelError(f"unknown output '{name}'{did_you_mean(name, self.outputs)}")


def _require_fits(tensor: Tensor, array: npt.NDArray[np.generic]) -> None:
    shape = tensor.shape
    fits = shape is None or (
        len(shape) == array.ndim
        and all(not isinstance(want, int) or want == size for want, size in zip(shape, array.shape, strict=True))
    )
    if not fits or tensor.dtype not in (None, array.dtype.name):
        sizes = "of any shape" if shape is None else list(shape)
        raise ModelError(
            f"input '{tensor.name}': expected {tensor.dtype or 'any type'} {sizes}, got {array.dtype} {list(array.shape)}"
        )
