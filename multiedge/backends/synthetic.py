"""Stages of known cost and no meaning, which measure the harness itself and cause faults for tests.

The model file is JSON: `{"inputs": ["x"], "outputs": {"y": {"shape": [4], "dtype": "float32"}}, "seconds": 0.001}`.
`seconds` are spent waiting, `work_seconds` computing, which takes a processor. An output that names an input (`{"y": "x"}`)
passes that input on, with `add` added to it. `leak_bytes` are kept per item; at the value `crash_at` of the first input's
first element the process ends without an error message.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.backends.contract import Array, Backend, Provider, Tensors
from multiedge.errors import ModelError, did_you_mean
from multiedge.fleet import Device

KEYS = ("inputs", "outputs", "seconds", "work_seconds", "add", "leak_bytes", "crash_at", "load_bytes", "load_seconds")


class SyntheticSession:
    """A stage that takes a given time per item and returns constants or its inputs."""

    batch_is_free = False
    provider = Provider("synthetic")

    def __init__(self, description: dict[str, Any]) -> None:
        self.inputs: tuple[str, ...] = tuple(description.get("inputs", ()))
        self.outputs: tuple[str, ...] = tuple(description.get("outputs", {}))
        self._outputs = {name: _output(value) for name, value in description.get("outputs", {}).items()}
        self._seconds = float(description.get("seconds", 0.0))
        self._work_s = float(description.get("work_seconds", 0.0))
        self._add = description.get("add", 0)
        self._leak_bytes = int(description.get("leak_bytes", 0))
        self._crash_at = description.get("crash_at")
        self._kept = [np.ones(int(description.get("load_bytes", 0)), dtype=np.uint8)]
        time.sleep(float(description.get("load_seconds", 0.0)))

    def run(self, tensors: Tensors) -> dict[str, Array]:
        missing = [name for name in self.inputs if name not in tensors]
        if missing:
            raise ModelError(f"input '{missing[0]}' was not given{did_you_mean(missing[0], tensors)}")
        if self._crash_at is not None and float(tensors[self.inputs[0]].flat[0]) == self._crash_at:
            os._exit(3)
        if self._leak_bytes:
            self._kept.append(np.ones(self._leak_bytes, dtype=np.uint8))
        if self._seconds:
            time.sleep(self._seconds)
        until = time.thread_time() + self._work_s
        while time.thread_time() < until:
            pass
        return {name: self._made(value, tensors) for name, value in self._outputs.items()}

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
        try:
            description = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: expected the JSON description of a synthetic stage: {error}") from error
        for key in description:
            if key not in KEYS:
                raise ModelError(f"{path}: unknown key '{key}'{did_you_mean(key, KEYS)}")
        return SyntheticSession(description)


def _output(value: str | Mapping[str, Any]) -> Array | str:
    return value if isinstance(value, str) else np.zeros(value["shape"], dtype=value.get("dtype", "float32"))
