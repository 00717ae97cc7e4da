"""Backends whose conversions are defective: the model is changed, what its session answers, or when the converter ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
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
Run = Callable[[Tensors], dict[str, Any]]

ROWS = """g (float[n, 4] x) => (float[n, 6] y) {
    [scaled] s = Mul(x, factor)
    [product] p = MatMul(s, w)
    [positive] r = Relu(p)
    [spread] q = Softmax<axis = -1>(r)
    [turned] t = Transpose<perm = [1, 0]>(q)
    [back] b = Transpose<perm = [1, 0]>(t)
    [last] y = Add(b, bias)
}"""
"""A model whose rows are independent of each other: the text of its graph."""


class ChangedSession:
    """A session that runs in another way."""

    provider = Provider("defective")

    def __init__(self, session: Session, change: Callable[[Run], Run]) -> None:
        self._session, self._run = session, change(session.run)
        self.inputs, self.outputs, self.batch_is_free = session.inputs, session.outputs, session.batch_is_free

    def run(self, tensors: Tensors) -> dict[str, Any]:
        return self._run(tensors)

    def close(self) -> None:
        self._session.close()


@dataclass(frozen=True)
class Defective(Backend):
    """Opens '.defect' files, which are ONNX files that `change` has changed; `answer` changes what a session answers, and
    `running` how it runs."""

    formats = (".defect",)
    tolerances: ClassVar = {"float32": 1e-4}
    change: Change = lambda model: None
    answer: Answer = lambda outputs: outputs
    running: Callable[[Run], Run] = lambda run: run

    @property
    def version(self) -> str:
        return "1"

    def convert(self, source: Path, target: Path) -> None:
        model = onnx.load(source)
        self.change(model)
        target.write_bytes(model.SerializeToString())

    def open(self, path: Path, device: Device | None = None) -> Session:
        session = OnnxRuntimeBackend().open(path, device)
        return ChangedSession(session, lambda run: self.running(lambda tensors: self.answer(run(tensors))))


@dataclass(frozen=True)
class ApproximateDefective(Defective):
    """The same with a precision that no tolerance judges."""

    precisions = ("int8",)
    approximate = ("int8",)
    tolerances: ClassVar = {}


@dataclass(frozen=True)
class Slow(Backend):
    """Opens '.slow' files, which are ONNX files. Converting takes `seconds`; each conversion appends its process id to the file
    `log`, or with `helper` that of another process, which it starts."""

    formats = (".slow",)
    tolerances: ClassVar = {"float32": 1e-4}
    seconds: float = 0.0
    log: str = ""
    helper: bool = False

    @property
    def version(self) -> str:
        return "1"

    def convert(self, source: Path, target: Path) -> None:
        words = [sys.executable, "-c", "import time; time.sleep(600)"]
        pid = subprocess.Popen(words).pid if self.helper else os.getpid()
        target.write_bytes(source.read_bytes()[:-1])
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"{pid}\n")
        time.sleep(self.seconds)
        target.write_bytes(source.read_bytes())

    def open(self, path: Path, device: Device | None = None) -> Session:
        return OnnxRuntimeBackend().open(path, device)
