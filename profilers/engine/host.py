"""This machine in place of a device: a whole model, timed with the device's backend and number of threads."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from multiedge.backends.contract import Backend, NodeTimes, Tensors
from multiedge.backends.stages import Call, device_backend, load_backend, open_part, resolved
from multiedge.backends.stateful import repeated_step
from multiedge.backends.timing import Accuracy, Progress, Timing, silent, time_in_turn
from multiedge.errors import ProfileError
from multiedge.files import temporary_folder
from multiedge.fleet import REFERENCE_BACKEND, Device
from multiedge.graph import Graph
from multiedge.onnx_io.inputs import random_feed
from multiedge.profile import Floats
from multiedge.quantity import human_bytes
from profilers.engine.calibration import Calibration
from profilers.engine.macs import count_work


@dataclass(frozen=True, order=True)
class Host:
    """What this machine uses in place of a device: a number of threads, a backend, and its precision, '' for its own one."""

    threads: int = 1
    backend: str = REFERENCE_BACKEND
    precision: str = ""

    @classmethod
    def of(cls, device: Device) -> Host:
        """The device's backend and precision, with its threads as far as this machine has them."""
        used = resolved(device)
        precision = "" if used.precision == load_backend(used.backend).numbers else used.precision
        return cls(max(1, min(device.threads, os.cpu_count() or 1)), used.backend, precision)

    @property
    def name(self) -> str:
        """The name of a device under which a profile keeps what was measured here."""
        return f"this machine, {self.label}"

    @property
    def label(self) -> str:
        """'2 threads'; with another backend than the reference one or another precision, '2 threads of BACKEND PRECISION'."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{threads} of {self.runtime}" if self.runtime else threads

    @property
    def runtime(self) -> str:
        """The backend and the precision, where it is not the backend's own; '' for the reference as it is."""
        own = (self.backend, self.precision) if self.precision else (self.backend,)
        return "" if own == (REFERENCE_BACKEND,) else " ".join(own)

    @property
    def device(self) -> Device:
        return Device("host", threads=self.threads, backend=self.backend, precision=self.precision)


@dataclass(frozen=True)
class HostTimes:
    """What was measured here. `seconds` and `spread_s` are (n,), the latter half a 95 % confidence interval; `overhead_s` is
    the call itself: `seconds.sum() + overhead_s` is `latency.median_s`. `cut_cost_s` is what a part takes on top because it
    was cut out. `graph` is the model with the shapes that were seen, `fused` are tensors that exist inside fused nodes only.
    `nodes` is what the runtime measured of single nodes; None where it cannot, and the whole was shared among them. `notes` say
    what could not be timed."""

    host: Host
    graph: Graph
    seconds: Floats = field(repr=False)
    spread_s: Floats = field(repr=False)
    overhead_s: float
    latency: Timing
    fused: frozenset[str] = frozenset()
    cut_cost_s: float = 0.0
    nodes: NodeTimes | None = None
    notes: tuple[str, ...] = ()

    @property
    def stage_overhead_s(self) -> float:
        """What a stage takes on top of its nodes."""
        return self.overhead_s + self.cut_cost_s


def measure_host(
    graph: Graph, host: Host, machine: Calibration, accuracy: Accuracy, *, seed: int = 0, progress: Progress = silent
) -> HostTimes:
    """Times of `graph`, read from its file, on this machine. ProfileError or ModelError if it cannot be run here."""
    path = model_path(graph)
    require_memory(graph)
    feed = random_feed(graph, seed)
    backend = device_backend(host.device)
    timer = backend.node_timer()
    if timer is None:
        return _share_out(graph, _time_whole(graph, path, feed, backend, host, accuracy, progress), host, machine)
    nodes = timer.measure(graph, path, feed, host.device, accuracy, machine.stage_overhead_s, progress)
    return HostTimes(
        host, nodes.graph, nodes.seconds, nodes.spread_s, nodes.overhead_s, nodes.plain, fused=nodes.fused, nodes=nodes
    )


def _time_whole(
    graph: Graph, path: Path, feed: Tensors, backend: Backend, host: Host, accuracy: Accuracy, progress: Progress
) -> Timing:
    with temporary_folder("profile-") as folder:
        session = repeated_step(open_part(backend, path, host.device, Path(folder)), graph.states)
        (timing,) = time_in_turn([Call(session, feed, path)], accuracy, progress)
        session.close()
    return timing


def shares_of(seconds: Floats) -> Floats:
    """What part of all `seconds`, (n,), each is; the same for each if there are none."""
    total = float(seconds.sum())
    return seconds / total if total > 0 else np.full(len(seconds), 1 / max(1, len(seconds)))


def _share_out(graph: Graph, latency: Timing, host: Host, machine: Calibration) -> HostTimes:
    """The model's latency shared among its nodes as their work on this machine would be."""
    overhead_s = min(machine.stage_overhead_s, latency.median_s / 2)
    expected_s = machine.capability.node_seconds(count_work(graph))
    seconds = shares_of(expected_s) * (latency.median_s - overhead_s)
    return HostTimes(host, graph, seconds, seconds * latency.relative_error, overhead_s, latency)


def model_path(graph: Graph) -> Path:
    """The model's file; ProfileError if the graph was not read from one."""
    if graph.path is None or not Path(graph.path).is_file():
        raise ProfileError(f"{graph.name}: timing needs the model file, {graph.path or 'which this graph does not name'}")
    return Path(graph.path)


def require_memory(graph: Graph) -> None:
    """Raises ProfileError if the activations cannot fit into this machine's free memory."""
    largest = max((cut.nbytes for cut in graph.cuts if cut.nbytes is not None), default=0)
    free = psutil.virtual_memory().available
    if largest > free:
        raise ProfileError(
            f"{graph.name}: activations take {human_bytes(largest)} together with these input shapes, this machine has"
            f" {human_bytes(free)} free; profile with smaller shapes"
        )


def runtime_name(host: Host) -> str:
    """The host's runtime, its version, and the precision where it is not the runtime's own."""
    return f"{host.backend} {load_backend(host.backend).version} {host.precision}".rstrip()
