"""A runtime in a process of another interpreter: `python serve.py ADAPTER open MODEL THREADS` or `... convert SOURCE TARGET`.

It runs with Python 3.7 or later and imports numpy, the adapter and what that imports; nothing of this library. An adapter is a
file with `convert(source, target)` and `open_model(path, threads)`; a model has `inputs` and `outputs`, lists of names, and
`run(arrays)`, which takes and returns lists of arrays in these orders.

A message is a line of JSON, with name, type and shape of each array, and the bytes of the arrays. The first one states names,
or an error; then each with inputs is answered by one with outputs or with an error, until the caller closes the pipe or ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from importlib.util import module_from_spec, spec_from_file_location
from typing import IO, Any

import numpy as np

WATCH_S = 1.0
"""How often a process looks whether its caller still runs."""


def write_message(stream: IO[bytes], header: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Writes one message: the header with name, type and shape of each array, then the arrays. ValueError for texts."""
    values = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    texts = [name for name, array in values.items() if array.dtype.hasobject]
    if texts:
        raise ValueError(f"'{texts[0]}': expected numbers, got {values[texts[0]].dtype}")
    described = [[name, array.dtype.str, array.shape] for name, array in values.items()]
    stream.write(json.dumps({**header, "arrays": described}).encode() + b"\n")
    for array in values.values():
        stream.write(array.tobytes())
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The next message; None at the end of the stream. ValueError if it breaks off in a message."""
    line = stream.readline()
    if not line:
        return None
    header = json.loads(line)
    return header, {name: read_array(stream, np.dtype(kind), shape) for name, kind, shape in header.pop("arrays")}


def read_array(stream: IO[bytes], dtype: Any, shape: list[int]) -> Any:
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    data = bytearray(stream.read(size))  # which is writable, as arrays of other runtimes are
    if len(data) < size:
        raise ValueError("the stream ends in an array")
    return np.frombuffer(data, dtype).reshape(shape)


def main(path: str, task: str, *words: str) -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a runtime prints from C would come between the messages
    threading.Thread(target=end_with_caller, args=(os.getppid(),), daemon=True).start()
    try:
        adapter = loaded(path)
        model = adapter.convert(*words) if task == "convert" else adapter.open_model(words[0], int(words[1]))
    except Exception as error:
        write_message(answers, {"error": described(error)}, {})
        return
    write_message(answers, {} if model is None else {"inputs": model.inputs, "outputs": model.outputs}, {})
    if model is not None:
        serve(model, sys.stdin.buffer, answers)


def serve(model: Any, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers requests until there are no more."""
    for _, arrays in iter(lambda: read_message(requests), None):
        try:
            made = model.run([arrays[name] for name in model.inputs])
            write_message(answers, {}, dict(zip(model.outputs, made)))  # noqa: B905  # strict came after Python 3.7
        except Exception as error:
            write_message(answers, {"error": described(error)}, {})


def loaded(path: str) -> Any:
    """The adapter's module."""
    spec = spec_from_file_location("adapter", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def described(error: BaseException) -> str:
    return type(error).__name__ + ": " + " ".join(str(error).split())


def end_with_caller(caller: int) -> None:
    """Ends this process when the one that started it has ended, also while the runtime computes."""
    while os.getppid() == caller:
        time.sleep(WATCH_S)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
