"""How much longer the same work computes while other work of its kind runs on this machine: beside it and in turns with it.

A second process computes the same model without a pause. It is stopped and continued, so that times with it and without it
alternate, and a change of the machine's pace affects both. Processor time is compared, so that other load counts little. In
turns, the work waits before each run, as a stage waits for its next item: the other process then has the caches.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from multiedge.backends.contract import Session, Tensors
from multiedge.backends.stages import load_backend, open_part
from multiedge.files import temporary_folder
from multiedge.fleet import REFERENCE_BACKEND, Device

SIDE, LAYERS, ROWS = 512, 8, 4
"""8 MiB of weights that few rows are multiplied by: between what caches hold and what only arithmetic limits."""
ROUNDS, ROUND_S, PAUSE_S = 9, 0.02, 0.001
READY = b"ready\n"


@dataclass(frozen=True)
class Contention:
    """Processor time of the same work, over that which it takes alone; 1 at least.

    Attributes:
        beside: While other work computes on another processor.
        in_turns: While other work takes turns with it on its processor.
    """

    beside: float = 1.0
    in_turns: float = 1.0


def measure_contention() -> Contention | None:
    """The contention of this machine, in about a second; None where a process cannot be kept on one of several processors."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        return None
    first, second, *_ = sorted(before)
    with temporary_folder("contention-") as folder:
        path = Path(folder) / "work.onnx"
        onnx.save(_model(), path)
        try:
            # Threads of the session are started afterwards, and keep to this processor, too.
            os.sched_setaffinity(0, {first})
            with _other_process(path) as other:
                return _compared(_work(path), other, first, second)
        finally:
            os.sched_setaffinity(0, before)


def _compared(work: Callable[[float], float], other: int, own: int, beside: int) -> Contention:
    """Medians over the rounds: in each of them alone, beside the other process, alone, and in turns with it."""
    ratios: dict[int, list[float]] = {beside: [], own: []}
    for _ in range(ROUNDS):
        for processor, found in ratios.items():
            os.kill(other, signal.SIGSTOP)
            alone_s = work(0.0)
            os.sched_setaffinity(other, {processor})
            os.kill(other, signal.SIGCONT)
            found.append(work(PAUSE_S if processor == own else 0.0) / alone_s)
    return Contention(max(1.0, statistics.median(ratios[beside])), max(1.0, statistics.median(ratios[own])))


def _work(path: Path) -> Callable[[float], float]:
    """What gives the median processor time of the model over some runs, with a pause before each of them."""
    session, feed = _opened(path)

    def once(pause_s: float = 0.0) -> float:
        if pause_s:
            time.sleep(pause_s)
        begin = time.process_time()
        session.run(feed)
        return time.process_time() - begin

    once()
    count = max(3, int(ROUND_S / max(once(), 1e-6)))
    return lambda pause_s: statistics.median(once(pause_s) for _ in range(count))


@contextmanager
def _other_process(path: Path) -> Iterator[int]:
    """The id of a process that computes the model without a pause until the end."""
    command = [sys.executable, "-m", "profilers.engine.contention", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != READY:
            raise OSError("the process that computes beside this one did not start")
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def _opened(path: Path) -> tuple[Session, Tensors]:
    session = open_part(load_backend(REFERENCE_BACKEND), path, Device("host"))
    return session, {"t0": np.ones((ROWS, SIDE), np.float32)}


def _model() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array((0.04 * rng.standard_normal((SIDE, SIDE))).astype(np.float32), f"w{number}")
        for number in range(LAYERS)
    ]
    nodes = [helper.make_node("MatMul", [f"t{number}", f"w{number}"], [f"t{number + 1}"]) for number in range(LAYERS)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [ROWS, SIDE]) for name in ("t0", f"t{LAYERS}")]
    graph = helper.make_graph(nodes, "work", ends[:1], ends[1:], initializer=weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def compute_for_ever(path: Path) -> None:
    """What the other process does."""
    session, feed = _opened(path)
    session.run(feed)
    sys.stdout.buffer.write(READY)
    sys.stdout.flush()
    parent = os.getppid()
    while os.getppid() == parent:
        session.run(feed)


if __name__ == "__main__":
    compute_for_ever(Path(sys.argv[1]))
