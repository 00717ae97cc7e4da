"""What this machine sustains: arithmetic, memory traffic, the runtime's time per node and per stage, and a hop.

Each figure is measured with the runtime and the number of threads that stages use, so that it can be compared with the
work that `profilers.engine.macs` counts.
"""

from __future__ import annotations

import json
import multiprocessing
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import psutil
from onnx import TensorProto, helper

from multiedge.backends.stages import load_backend, open_part
from multiedge.backends.timing import Accuracy, Progress, silent, time_in_turn
from multiedge.files import temporary_folder
from multiedge.fleet import REFERENCE_BACKEND, Device
from profilers.engine.roofline import Capability

SIDE = 768
"""Rows and columns of the matrix product: 0.9 GFLOP over 7 MB, far on the arithmetic side of any roofline."""
STREAM_ELEMENTS = 16 << 20
"""Floats that one addition streams: 64 MiB an array, more than caches hold."""
CHAIN = 200
"""Nodes of the model that shows the cost per node."""
HOP_BYTES = 4 << 20
_WORDS_OF_YAML = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
QUICK = Accuracy(relative=0.05, budget_s=0.6, least=5, most=200, warmup=2)


@dataclass(frozen=True)
class Hop:
    """Sending a message to another process of this machine."""

    latency_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Calibration:
    """This machine with `threads` threads of a backend. `stage_overhead_s` is one call of a session that does nothing."""

    threads: int
    capability: Capability
    stage_overhead_s: float
    backend: str = REFERENCE_BACKEND


@lru_cache
def calibrate(threads: int = 1, backend: str = REFERENCE_BACKEND) -> Calibration:
    """Measures this machine in a second or two, once in a process."""
    probe = _Probe(threads, backend)
    flops = 2 * SIDE**3 / probe.seconds(_product_model(), {"x": np.ones((SIDE, SIDE), np.float32)})
    stream = np.ones(STREAM_ELEMENTS, np.float32)
    memory = 3 * stream.nbytes / probe.seconds(_stream_model(), {"x": stream, "y": stream})
    one = {"x": np.ones(16, np.float32)}
    call_s = probe.seconds(chain_model(1), one)
    node_s = max((probe.seconds(chain_model(CHAIN), one) - call_s) / (CHAIN - 1), 1e-8)
    able = Capability(flops, memory, node_s, clock_hz(), f"this machine, {threads} thread{'s' if threads > 1 else ''}")
    return Calibration(threads, able, max(call_s - node_s, 0.0), backend)


def clock_hz() -> float:
    """The processor's highest clock rate as the operating system states it; otherwise the present one, or 1 GHz."""
    clock = psutil.cpu_freq()
    mhz = (clock.max or clock.current) if clock else 0.0
    return mhz * 1e6 if mhz > 0 else 1e9


def measure_hop(accuracy: Accuracy = QUICK) -> Hop:
    """Time and rate of messages between this process and another one, which is started for it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_echo, args=(there,), daemon=True)
    process.start()
    there.close()
    try:
        small = time_in_turn([_round_trip(here, b"x")], accuracy)[0].median_s / 2
        large = time_in_turn([_round_trip(here, bytes(HOP_BYTES))], accuracy)[0].median_s / 2
    finally:
        here.send_bytes(b"")
        process.join(timeout=5)
        here.close()
    return Hop(small, HOP_BYTES / max(large - small, 1e-9))


def devices_yaml(calibration: Calibration, hop: Hop | None, name: str, runtime_bytes: int | None = None) -> str:
    """Lines for devices.yaml that describe this machine; `runtime_bytes` is None if it was not measured."""
    able = calibration.capability
    memory_mib = psutil.virtual_memory().total // 2**20
    lines = [
        "devices:",
        f"  - name: {_as_yaml(name)}",
        f"    threads: {calibration.threads}",
        f"    memory: {memory_mib}MiB",
        *([] if runtime_bytes is None else [f"    runtime_memory: {-(-runtime_bytes // 2**20)}MiB"]),
        f"    flops: {able.flops_per_s / 1e9:.1f}GFLOPS",
        f"    memory_bandwidth: {able.memory_bytes_per_s / 1e9:.1f}GB/s",
        f"    freq: {able.freq_hz / 1e9:.2f}GHz",
        f"    # {calibration.backend} takes {able.node_overhead_s * 1e6:.1f} us per node"
        f" and {calibration.stage_overhead_s * 1e6:.0f} us per stage and item",
    ]
    if hop is not None:
        lines.append(
            f"    # a hop between two processes takes {hop.latency_s * 1e6:.0f} us and {hop.bytes_per_s / 1e9:.2f} GB/s"
        )
    return "\n".join(lines)


def _as_yaml(text: str) -> str:
    """`text` as a YAML value, quoted where it could be read as something else."""
    is_plain = re.fullmatch(r"[A-Za-z][\w.-]*", text) and text.lower() not in _WORDS_OF_YAML
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def measure(threads: int, backend: str = REFERENCE_BACKEND, progress: Progress = silent) -> tuple[Calibration, Hop]:
    """All figures of this machine."""
    progress("arithmetic, memory and overheads", 0.0)
    calibration = calibrate(threads, backend)
    progress("a hop between processes", 0.7)
    hop = measure_hop()
    progress("done", 1.0)
    return calibration, hop


def _echo(connection: Connection) -> None:
    """Sends back what comes, until an empty message comes."""
    while message := connection.recv_bytes():
        connection.send_bytes(message)


def _round_trip(connection: Connection, message: bytes) -> Callable[[], object]:
    def go() -> object:
        connection.send_bytes(message)
        if not connection.poll(10):
            raise TimeoutError("the other process did not answer within 10 s")
        return connection.recv_bytes()

    return go


@dataclass(frozen=True)
class _Probe:
    """Runs small models."""

    threads: int
    backend: str

    def seconds(self, model: onnx.ModelProto, feed: dict[str, npt.NDArray[np.float32]]) -> float:
        """Seconds of the fastest run, since other work of the machine only adds to it; of one thread the processor's time."""
        with temporary_folder("calibrate-") as directory:
            path = Path(directory) / "probe.onnx"
            onnx.save(model, str(path))
            session = open_part(load_backend(self.backend), path, Device("host", threads=self.threads, backend=self.backend))
            timing = time_in_turn([lambda: session.run(feed)], QUICK)[0]
            session.close()
        # A run on a busy machine is interrupted again and again.
        return float(np.min([timing.wall_s, timing.cpu_s]) if self.threads == 1 else timing.wall_s.min())


def _model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]],
    output: str,
    shape: list[int],
    weights: tuple[onnx.TensorProto, ...] = (),
) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()]
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "probe", values, [result], initializer=list(weights))
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def _product_model() -> onnx.ModelProto:
    weight = onnx.numpy_helper.from_array(np.ones((SIDE, SIDE), np.float32), "w")
    shape = [SIDE, SIDE]
    return _model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": shape}, "y", shape, (weight,))


def _stream_model() -> onnx.ModelProto:
    shape = [STREAM_ELEMENTS]
    return _model([helper.make_node("Add", ["x", "y"], ["z"])], {"x": shape, "y": shape}, "z", shape)


def chain_model(length: int) -> onnx.ModelProto:
    """`length` sines in a row, from x to t<length>, of 16 floats each."""
    nodes = [helper.make_node("Sin", [f"t{i}" if i else "x"], [f"t{i + 1}"]) for i in range(length)]
    return _model(nodes, {"x": [16]}, f"t{length}", [16])
