"""Peak memory of a process that opens one model and runs it once, as a worker does, and of the processes that it starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from multiedge.backends.contract import Backend, Tensors
from multiedge.backends.loading import backend_of, child_environment, description_of
from multiedge.files import temporary_folder
from multiedge.meters.memory import read_memory

MODULE = "multiedge.backends.conversion.footprint"
INPUTS = "inputs.npz"


def peak_bytes(backend: Backend, path: Path, inputs: Tensors) -> int | None:
    """Bytes of a process with Python, the runtime and the model at `path` that ran once, and of those that compute for it; None
    if they cannot be measured."""
    with temporary_folder("footprint-") as folder:
        np.savez(folder / INPUTS, allow_pickle=False, **inputs)
        request = {**description_of(backend), "path": str(path), "inputs": str(folder / INPUTS)}
        command = [sys.executable, "-m", MODULE, json.dumps(request)]
        done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdecimal() else None


def main(text: str) -> None:
    """Prints the peak."""
    request = json.loads(text)
    with np.load(request["inputs"]) as inputs:
        session = backend_of(request).open(Path(request["path"]))
        session.run(dict(inputs))
    peak = peak_with_children()
    session.close()
    if peak is not None:
        print(peak)


def peak_with_children() -> int | None:
    """Bytes of the peaks of this process and those that it has started and that have not ended, together; None if one of them
    is not known. Some backends compute in a process of another Python."""
    import psutil

    children = [child.pid for child in psutil.Process().children(recursive=True)]
    peaks = [read_memory().peak_bytes, *(read_memory(pid).peak_bytes for pid in children)]
    known = [peak for peak in peaks if peak is not None]
    return sum(known) if len(known) == len(peaks) else None


if __name__ == "__main__":
    main(sys.argv[1])
