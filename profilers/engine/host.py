"""This machine's onnxruntime on a whole model: times of every node, as they add up to the latency that a user sees.

Two graphs are timed. The optimised one is what stages run, so its times count; the one with optimisation disabled has the
model's own nodes, one to one, and says how a fused node's time is shared among the nodes that it came from.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import psutil

from multiedge.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession
from multiedge.errors import MultiedgeError, ProfileError
from multiedge.graph import Graph
from multiedge.onnx_io import random_inputs
from multiedge.profile import Floats
from multiedge.quantity import human_bytes
from profilers.engine.contract import Progress, silent
from profilers.engine.fusion import NO_OWNER, OptimisedNode, Ownership, fused_tensors, is_blocked, owners, spread
from profilers.engine.ort_trace import KernelTimes, at_one_pace, read_trace
from profilers.engine.stopwatch import Accuracy, Timing, median_error, time_in_turn

SHARES = Accuracy(relative=0.0, budget_s=3.0, least=3, most=3, warmup=1)
"""For the graph with optimisation disabled: only its proportions are used, within fused nodes."""
WEIGHTS_FILE = "weights.bin"
_WIDTH = {f"{kind}{bits}": bits // 8 for kind in ("float", "int", "uint") for bits in (8, 16, 32, 64)} | {"bool": 1}
"""Bytes of an element, by the name of its type."""


@dataclass(frozen=True)
class HostTimes:
    """What was measured with `threads` threads. `seconds` and `spread_s` are (n,), the latter half a 95 % confidence
    interval; `overhead_s` is the call itself. `seconds.sum() + overhead_s` is `plain.median_s`, the unprofiled latency.
    `graph` is the model with the shapes that were seen, `fused` are the tensors that fused nodes keep to themselves;
    `blocked_share` is the share of the time in nodes for which tensors are laid out in blocks, `cut_cost_s` what such layouts
    and lost fusions cost a part."""

    threads: int
    graph: Graph
    seconds: Floats
    spread_s: Floats
    overhead_s: float
    plain: Timing
    profiled: Timing
    kernel_sum_s: float
    coverage: Coverage
    fused: frozenset[str]
    blocked_share: float
    cut_cost_s: float = 0.0

    @property
    def stage_overhead_s(self) -> float:
        """What a stage takes on top of its nodes."""
        return self.overhead_s + self.cut_cost_s


@dataclass(frozen=True)
class Coverage:
    """How the nodes' times were come by: counts of nodes timed by name, through an output tensor of an optimised node,
    as part of a fused one, and folded into constants (they take no time). They add up to all nodes."""

    by_name: int
    by_tensor: int
    fused: int
    folded: int
    attributed: float = 1.0
    """Share of the measured time that went to the nodes it came from, and was not just spread over all."""

    @property
    def total(self) -> int:
        return self.by_name + self.by_tensor + self.fused + self.folded


def measure_host(
    graph: Graph, threads: int, accuracy: Accuracy, overhead_s: float, *, seed: int = 0, progress: Progress = silent
) -> HostTimes:
    """Times of `graph`, read from its file, on this machine. ProfileError if it cannot be run here."""
    path = model_path(graph)
    require_memory(graph)
    feed = random_inputs(graph, seed)
    with _scratch() as directory:
        progress("timing the model's own nodes", 0.0)
        own = _run_own_nodes(graph, path, feed, threads, directory)
        plain = OnnxRuntimeBackend.open(path, threads=threads)
        profiled = OnnxRuntimeBackend.open(
            path,
            threads=threads,
            profile_prefix=directory / "all",
            optimised_path=directory / "optimised.onnx",
            config={"session.optimized_model_external_initializers_file_name": WEIGHTS_FILE},
        )
        (directory / WEIGHTS_FILE).unlink(missing_ok=True)
        timings = time_in_turn([runner(plain, feed, path), runner(profiled, feed, path)], accuracy, progress)
        kernels = read_trace(profiled.end_profiling())
        plain.close()
        optimised = _read_optimised(directory / "optimised.onnx")
    overhead_s = min(overhead_s, timings[0].median_s / 2)
    return _assemble(with_seen_shapes(graph, own), optimised, kernels, own, timings, threads, overhead_s, accuracy)


def model_path(graph: Graph) -> Path:
    """The model's file; ProfileError if the graph was not read from one."""
    if graph.path is None or not Path(graph.path).is_file():
        raise ProfileError(f"{graph.name}: timing needs the model file, {graph.path or 'which this graph does not name'}")
    return Path(graph.path)


def require_memory(graph: Graph) -> None:
    """Raises ProfileError if the activations cannot fit into this machine's free memory."""
    largest = max((cut.nbytes or 0 for cut in graph.cuts), default=0)
    free = psutil.virtual_memory().available
    if largest > free:
        raise ProfileError(
            f"{graph.name}: activations take {human_bytes(largest)} at once with these input shapes, this machine has"
            f" {human_bytes(free)} free; profile with smaller shapes"
        )


def runner(session: OnnxRuntimeSession, feed: dict[str, Any], path: Path) -> Callable[[], dict[str, Any]]:
    """A call of the session; what onnxruntime throws becomes a ProfileError that names the file."""

    def run() -> dict[str, Any]:
        try:
            return session.run(feed)
        except MultiedgeError:
            raise
        except Exception as error:  # onnxruntime raises a class per status code, all direct children of Exception
            text = " ".join(str(error).split())
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feed.items())
            raise ProfileError(f"{path}: onnxruntime cannot run this model with {shapes}: {text}") from error

    return run


@contextmanager
def _scratch() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="multiedge-profile-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _run_own_nodes(graph: Graph, path: Path, feed: dict[str, Any], threads: int, directory: Path) -> list[KernelTimes | None]:
    session = OnnxRuntimeBackend.open(path, threads=threads, optimisation="disabled", profile_prefix=directory / "none")
    time_in_turn([runner(session, feed, path)], SHARES)
    return match_own_nodes(graph, read_trace(session.end_profiling()))


def match_own_nodes(graph: Graph, kernels: Sequence[KernelTimes]) -> list[KernelTimes | None]:
    """What ran for each node of `graph` when nothing was optimised; None for nodes that did not run (Constants).

    Nodes are found by name where names are unique, else as the first, second, ... of their operator: onnxruntime numbers
    nodes in the order of the file."""
    names = Counter(kernel.name for kernel in kernels)
    by_name = {kernel.name: kernel for kernel in kernels if kernel.name and names[kernel.name] == 1}
    by_operator: dict[str, list[KernelTimes]] = {}
    for kernel in sorted(kernels, key=lambda kernel: kernel.index):
        if kernel.name not in by_name:
            by_operator.setdefault(kernel.op_type, []).append(kernel)
    nameless = {op_type: iter(found) for op_type, found in by_operator.items()}
    return [by_name.get(node.name) or next(nameless.get(node.op_type, iter(())), None) for node in graph.nodes]


def own_times(kernels: Sequence[KernelTimes | None], warmup: int) -> Floats:
    """Median seconds of each node, (n,); 0 for those that did not run."""
    ran = [index for index, kernel in enumerate(kernels) if kernel]
    found = np.zeros(len(kernels))
    found[ran] = [float(np.median(values)) for values in at_one_pace([kernel for kernel in kernels if kernel], warmup)]
    return found


def with_seen_shapes(graph: Graph, kernels: Sequence[KernelTimes | None]) -> Graph:
    """The graph with the shapes that were seen in a run, for tensors of which shape inference left them open."""
    tensors = dict(graph.tensors)
    for node, kernel in zip(graph.nodes, kernels, strict=True):
        if kernel is None or len(kernel.outputs) != len(node.writes):
            continue
        for name, (_, shape) in zip(node.writes, kernel.outputs, strict=True):
            tensor = tensors.get(name)
            if tensor is not None and tensor.nbytes is None and tensor.dtype in _WIDTH:
                tensors[name] = replace(tensor, shape=shape, nbytes=math.prod(shape) * _WIDTH[tensor.dtype])
    return replace(graph, tensors=tensors)


def _read_optimised(path: Path) -> list[OptimisedNode]:
    model = onnx.load(str(path), load_external_data=False)
    return [OptimisedNode(node.name, node.op_type, tuple(node.input), tuple(node.output)) for node in model.graph.node]


def match_optimised(optimised: Sequence[OptimisedNode], kernels: Sequence[KernelTimes]) -> list[KernelTimes | None]:
    """The times of each optimised node: the saved graph lists nodes in the order of execution; names settle the rest."""
    if [(node.name, node.op_type) for node in optimised] == [(kernel.name, kernel.op_type) for kernel in kernels]:
        return list(kernels)
    waiting: dict[tuple[str, str], list[KernelTimes]] = {}
    for kernel in kernels:
        waiting.setdefault((kernel.name, kernel.op_type), []).append(kernel)
    return [(waiting.get((node.name, node.op_type)) or [None]).pop(0) for node in optimised]  # type: ignore[list-item]


def _assemble(
    graph: Graph,
    optimised: Sequence[OptimisedNode],
    kernels: Sequence[KernelTimes],
    own: Sequence[KernelTimes | None],
    timings: Sequence[Timing],
    threads: int,
    overhead_s: float,
    accuracy: Accuracy,
) -> HostTimes:
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
    return HostTimes(
        threads=threads,
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


def without_probe(kernel_s: Floats, total_s: float) -> Floats:
    """Kernel times, (m,), that add up to `total_s`: the profiler's cost is the same for each node, so what is too much is
    taken off evenly, though never more than half of a node's time; what remains to be scaled is scaled."""
    excess = max(0.0, float(kernel_s.sum()) - total_s) / max(len(kernel_s), 1)
    taken = np.maximum(kernel_s - excess, kernel_s / 2)
    found: Floats = taken * (total_s / max(float(taken.sum()), 1e-12))
    return found


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
    told = ownership.group != NO_OWNER
    return Coverage(**counts, attributed=float(seconds[told].sum() / max(seconds.sum(), 1e-12)))


def runtime_name() -> str:
    return f"onnxruntime {onnxruntime.__version__}"
