"""A backend that converts with a defect: the model is changed, or what its session answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import onnx

from multiedge.backends.contract import Backend, Provider, Session, Tensors
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.fleet import Device

Change = Callable[[onnx.ModelProto], None]
Answer = Callable[[dict[str, Any]], dict[str, Any]]


class ChangedAnswers:
    """A session whose outputs are changed."""

    provider = Provider("defective")

    def __init__(self, session: Session, answer: Answer) -> None:
        self._session, self._answer = session, answer
        self.inputs, self.outputs, self.batch_is_free = session.inputs, session.outputs, session.batch_is_free

    def run(self, tensors: Tensors) -> dict[str, Any]:
        return self._answer(self._session.run(tensors))

    def close(self) -> None:
        self._session.close()


@dataclass(frozen=True)
class Defective(Backend):
    """Opens '.defect' files, which are ONNX files that `change` has changed; `answer` changes what a session answers."""

    formats = (".defect",)
    tolerances: ClassVar = {"float32": 1e-4}
    change: Change = lambda model: None
    answer: Answer = lambda outputs: outputs

    @property
    def version(self) -> str:
        return "1"

    def convert(self, source: Path, target: Path) -> None:
        model = onnx.load(source)
        self.change(model)
        target.write_bytes(model.SerializeToString())

    def open(self, path: Path, device: Device | None = None) -> Session:
        return ChangedAnswers(OnnxRuntimeBackend().open(path, device), self.answer)
