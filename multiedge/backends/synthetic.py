"""Stages of known cost and no meaning, which measure the harness itself and cause faults for tests.

The model file is JSON: `{"inputs": ["x"], "outputs": {"y": {"shape": [4], "dtype": "float32"}}, "seconds": 0.001}`.
`seconds` are spent waiting, `work_seconds` computing, which takes a processor. An output that names an input (`{"y": "x"}`)
passes that input on, with `add` added to it. `leak_bytes` are kept per item, or only if the first input has the value
`leak_at`; at the value `crash_at` the process ends without an error message, at `hang_at` it holds the interpreter's lock
for ever. `batch_is_free` lets items be joined: any of them can then be the one at such a value.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multiedge.backends.contract import Array, Backend, Provider, Tensors
from multiedge.errors import ModelError, did_you_mean
from multiedge.fleet import Device
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Field, Kind
from multiedge.transports.message import ArraySpec

KEYS = (
    "inputs",
    "outputs",
    "seconds",
    "work_seconds",
    "add",
    "leak_bytes",
    "leak_at",
    "crash_at",
    "hang_at",
    "batch_is_free",
    "load_bytes",
    "load_seconds",
)


HANG_S = 1 << 30
KIND = Kind("description of a synthetic stage", ModelError)


def _seconds(field: Field) -> float:
    return field.number(least=0)


class SyntheticSession:
    """A stage that takes a given time per item and returns constants or its inputs."""

    provider = Provider("synthetic")

    def __init__(self, description: Field) -> None:
        self.inputs = description["inputs"].optional(lambda names: names.list_of(Field.name), ())
        self._outputs = description["outputs"].optional(lambda outputs: outputs.mapping_of(_output), {})
        self.outputs = tuple(self._outputs)
        self._seconds = description["seconds"].optional(_seconds, 0.0)
        self._work_s = description["work_seconds"].optional(_seconds, 0.0)
        self._add = description["add"].optional(Field.number, 0.0)
        self._leak_bytes = description["leak_bytes"].optional(Field.count, 0)
        self._leak_at = description["leak_at"].optional(Field.number)
        self._crash_at = description["crash_at"].optional(Field.number)
        self._hang_at = description["hang_at"].optional(Field.number)
        self.batch_is_free = description["batch_is_free"].optional(Field.boolean, default=False)
        self._kept = [np.ones(description["load_bytes"].optional(Field.count, 0), dtype=np.uint8)]
        time.sleep(description["load_seconds"].optional(_seconds, 0.0))

    @property
    def fixed(self) -> Mapping[str, ArraySpec]:
        """The outputs that are constants."""
        constants = {name: value for name, value in self._outputs.items() if not isinstance(value, str)}
        return {name: ArraySpec(value.dtype, value.shape) for name, value in constants.items()}

    def run_into(self, tensors: Tensors, places: Mapping[str, Array]) -> dict[str, Array]:
        outputs = self.run(tensors)
        for name, place in places.items():
            place[...] = outputs[name]
        return {**outputs, **places}

    def run(self, tensors: Tensors) -> dict[str, Array]:
        missing = [name for name in self.inputs if name not in tensors]
        if missing:
            raise ModelError(f"input '{missing[0]}' was not given{did_you_mean(missing[0], tensors)}")
        if self._is_at(self._crash_at, tensors):
            os._exit(3)
        if self._is_at(self._hang_at, tensors):
            ctypes.PyDLL(None).sleep(HANG_S)
        if self._leak_bytes and (self._leak_at is None or self._is_at(self._leak_at, tensors)):
            self._kept.append(np.ones(self._leak_bytes, dtype=np.uint8))
        if self._seconds:
            time.sleep(self._seconds)
        until = time.thread_time() + self._work_s
        while time.thread_time() < until:
            pass
        return {name: self._made(value, tensors) for name, value in self._outputs.items()}

    def _is_at(self, value: float | None, tensors: Tensors) -> bool:
        return value is not None and value in tensors[self.inputs[0]]

    def _made(self, value: Array | str, tensors: Tensors) -> Array:
        if isinstance(value, str):
            return tensors[value] + self._add if self._add else tensors[value]
        return value

    def close(self) -> None:
        self._kept.clear()


@dataclass(frozen=True)
class SyntheticBackend(Backend):
    """Opens the JSON description of a synthetic stage. It has no options, and devices change nothing."""

    formats = (".json",)
    processors = ("cpu", "gpu")

    @property
    def version(self) -> str:
        return "1"

    def open(self, path: Path, device: Device | None = None) -> SyntheticSession:
        """A session as the file describes it."""
        return SyntheticSession(read_json(path, KIND).record(KEYS))


def _output(field: Field) -> Array | str:
    if isinstance(field.value, str):
        return field.value
    content = field.record(("shape", "dtype"))
    dtype = content["dtype"].optional(Field.name, "float32")
    try:
        return np.zeros(content["shape"].list_of(Field.count), dtype=dtype)
    except (TypeError, ValueError, MemoryError):
        raise field.error("expected a shape and the name of a numpy dtype that fit in memory") from None
