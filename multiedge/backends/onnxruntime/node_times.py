"""What every node of a model takes in onnxruntime on this machine, as the times add up to the latency that a user sees.

Two graphs are timed. The optimised one is what stages run, so its times count; the one with optimisation disabled has the
model's own nodes, one to one, and gives the proportions in which a fused node's time is shared among the nodes
that it came from.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from multiedge.backends.contract import Coverage, NodeTimes, Tensors
from multiedge.backends.onnxruntime.fusion import OptimisedNode, fused_tensors, is_blocked, owners
from multiedge.backends.onnxruntime.session import Recording, open_session
from multiedge.backends.onnxruntime.trace import (
    KernelTimes,
    at_one_pace,
    match_own_nodes,
    own_times,
    read_trace,
    times_of_trace,
)
from multiedge.backends.ownership import NO_OWNER, Ownership, spread, without_probe
from multiedge.backends.stages import Call, openable
from multiedge.backends.stateful import repeated_step
from multiedge.backends.timing import Accuracy, Progress, Timing, median_error, time_in_turn
from multiedge.errors import ProfileError
from multiedge.files import temporary_folder
from multiedge.fleet import Device
from multiedge.graph import Graph
from multiedge.profile import Floats

if TYPE_CHECKING:
    from multiedge.backends.onnxruntime import OnnxRuntimeBackend

SHARES = Accuracy(relative=0.0, budget_s=3.0, least=3, most=3, warmup=1)
"""For the graph with optimisation disabled: only its proportions are used, within fused nodes."""
_WIDTH = {f"{kind}{bits}": bits // 8 for kind in ("float", "int", "uint") for bits in (8, 16, 32, 64)} | {"bool": 1}
"""Bytes of an element, by the name of its type."""


@dataclass(frozen=True)
class OnnxRuntimeNodeTimer:
    """Times of nodes from onnxruntime's own profiler."""

    backend: OnnxRuntimeBackend

    def measure(
        self, graph: Graph, path: Path, feed: Tensors, device: Device, accuracy: Accuracy, overhead_s: float, progress: Progress
    ) -> NodeTimes:
        with temporary_folder("profile-") as directory:
            progress("timing the model's own nodes", 0.0)
            own = self._run_own_nodes(graph, path, feed, device, directory)
            recording = Recording(directory / "all", directory / "optimised.onnx")
            opened = openable(self.backend, path)
            plain = open_session(self.backend, opened, device)
            profiled = open_session(self.backend, opened, device, recording)
            (directory / recording.weights_file).unlink(missing_ok=True)
            steps = [Call(repeated_step(session, graph.states), feed, path) for session in (plain, profiled)]
            timings = time_in_turn(steps, accuracy, progress)
            kernels = read_trace(profiled.end_profiling())
            plain.close()
            optimised = _read_optimised(directory / "optimised.onnx")
        overhead_s = min(overhead_s, timings[0].median_s / 2)
        return _assemble(with_seen_shapes(graph, own), optimised, kernels, own, timings, overhead_s, accuracy)

    def read(self, graph: Graph, path: Path) -> Floats:
        """From a profile that was taken with optimisation disabled."""
        return times_of_trace(graph, read_trace(path))

    def _run_own_nodes(
        self, graph: Graph, path: Path, feed: Tensors, device: Device, directory: Path
    ) -> list[KernelTimes | None]:
        session = open_session(self.backend.exact(), path, device, Recording(directory / "none"))
        time_in_turn([Call(session, feed, path)], SHARES)
        return match_own_nodes(graph, read_trace(session.end_profiling()))


def with_seen_shapes(graph: Graph, kernels: Sequence[KernelTimes | None]) -> Graph:
    """The graph with the shapes that were seen in a run, for tensors of which shape inference left them open."""
    tensors = dict(graph.tensors)
    seen = []
    for node, kernel in zip(graph.nodes, kernels, strict=True):
        if kernel is None or len(kernel.outputs) != len(node.writes):
            continue
        for name, (_, shape) in zip(node.writes, kernel.outputs, strict=True):
            tensor = tensors.get(name)
            if tensor is not None and tensor.nbytes is None and tensor.dtype in _WIDTH:
                tensors[name] = replace(tensor, shape=shape, nbytes=math.prod(shape) * _WIDTH[tensor.dtype])
                seen.append(name)
    return replace(graph, tensors=tensors, measured_sizes=(*graph.measured_sizes, *seen))


def _read_optimised(path: Path) -> list[OptimisedNode]:
    model = onnx.load(str(path), load_external_data=False)
    return [OptimisedNode(node.name, node.op_type, tuple(node.input), tuple(node.output)) for node in model.graph.node]


def match_optimised(optimised: Sequence[OptimisedNode], kernels: Sequence[KernelTimes]) -> list[KernelTimes | None]:
    """The times of each optimised node. The saved graph lists nodes in the order of execution; otherwise they match by name.

    A node without a name has one in the profile, but none in the saved graph."""
    names = {node.name for node in optimised}
    keys = [("" if kernel.nameless and kernel.name not in names else kernel.name, kernel.op_type) for kernel in kernels]
    if [(node.name, node.op_type) for node in optimised] == keys:
        return list(kernels)
    waiting: dict[tuple[str, str], deque[KernelTimes]] = {}
    for key, kernel in zip(keys, kernels, strict=True):
        waiting.setdefault(key, deque()).append(kernel)
    queues = [waiting.get((node.name, node.op_type)) for node in optimised]
    return [queue.popleft() if queue else None for queue in queues]


def _assemble(
    graph: Graph,
    optimised: Sequence[OptimisedNode],
    kernels: Sequence[KernelTimes],
    own: Sequence[KernelTimes | None],
    timings: Sequence[Timing],
    overhead_s: float,
    accuracy: Accuracy,
) -> NodeTimes:
    plain, profiled = timings
    matched = match_optimised(optimised, kernels)
    unmatched = sum(kernel is None for kernel in matched)
    if unmatched:
        raise ProfileError(f"{graph.name}: onnxruntime's profile lacks {unmatched} of {len(optimised)} nodes that it ran")
    samples = at_one_pace([kernel for kernel in matched if kernel is not None], accuracy.warmup)
    medians = np.array([float(np.median(values)) for values in samples])
    errors = np.array([median_error(values) for values in samples])
    ownership, weights = owners(graph, optimised), own_times(own, SHARES.warmup)
    corrected = without_probe(medians, plain.median_s - overhead_s)
    return NodeTimes(
        graph=graph,
        seconds=spread(ownership, corrected, weights),
        spread_s=spread(ownership, np.where(np.isfinite(errors), errors, medians), weights),
        overhead_s=overhead_s,
        plain=plain,
        profiled=profiled,
        kernel_sum_s=float(medians.sum()),
        coverage=_coverage(graph, optimised, ownership, corrected),
        fused=fused_tensors(graph, optimised, ownership),
        blocked_share=float(corrected[[is_blocked(node) for node in optimised]].sum() / max(corrected.sum(), 1e-12)),
    )


def _coverage(graph: Graph, optimised: Sequence[OptimisedNode], ownership: Ownership, seconds: Floats) -> Coverage:
    names = {node.name for node in optimised}
    tensors = {name for node in optimised for name in node.outputs}
    counts = {"by_name": 0, "by_tensor": 0, "fused": 0, "folded": 0}
    for node, owner in zip(graph.nodes, ownership.owner.tolist(), strict=True):
        if owner == NO_OWNER:
            counts["folded"] += 1
        elif node.name and node.name in names:
            counts["by_name"] += 1
        elif not tensors.isdisjoint(node.writes):
            counts["by_tensor"] += 1
        else:
            counts["fused"] += 1
    known = ownership.group != NO_OWNER
    return Coverage(**counts, attributed=float(seconds[known].sum() / max(seconds.sum(), 1e-12)))
