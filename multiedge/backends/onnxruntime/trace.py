"""onnxruntime's own profile: how long each node's kernel took in each run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multiedge.errors import ProfileError
from multiedge.graph import Graph
from multiedge.profile import Floats

KERNEL = "_kernel_time"
MICRO = 1e-6


@dataclass(frozen=True)
class KernelTimes:
    """One node of the graph that ran: its number there, and the seconds of each run in order."""

    index: int
    name: str
    op_type: str
    seconds: Floats
    outputs: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Type (onnxruntime's word) and shape of each output in the last run, as far as the trace tells."""

    def without(self, warmup: int) -> Floats:
        return self.seconds[warmup:]


def read_trace(path: str | os.PathLike[str]) -> list[KernelTimes]:
    """Times of every top-level node, in the order of execution. Nodes inside If and Loop bodies count for the node
    that holds them. ProfileError if the file is no profile of onnxruntime's."""
    try:
        events = json.loads(Path(path).read_text(encoding="utf-8"))
        kernels = [e for e in events if e.get("cat") == "Node" and e["name"].endswith(KERNEL)]
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise ProfileError(f"{path}: expected a profile written by onnxruntime: {error}") from error
    if not kernels:
        raise ProfileError(f"{path}: no node times; was the session opened with profiling and run?")
    found: dict[tuple[str, str, str], list[float]] = {}
    shapes: dict[tuple[str, str, str], tuple[tuple[str, tuple[int, ...]], ...]] = {}
    end = -1
    for event in sorted(kernels, key=lambda event: (event["ts"], -event["dur"])):
        stop = event["ts"] + event["dur"]
        if event["ts"] < end and stop <= end:
            continue
        end = stop
        key = (str(event["args"]["node_index"]), event["name"].removesuffix(KERNEL), event["args"]["op_name"])
        found.setdefault(key, []).append(event["dur"] * MICRO)
        typed = event["args"].get("output_type_shape", [])
        shapes[key] = tuple((kind, tuple(dims)) for output in typed for kind, dims in output.items())
    return [KernelTimes(int(key[0]), key[1], key[2], np.array(times), shapes[key]) for key, times in found.items()]


def at_one_pace(kernels: Sequence[KernelTimes], warmup: int) -> list[Floats]:
    """The seconds of each node, runs after the first `warmup` ones, as if every run had been as fast as the median run.

    Machines change their pace, and medians of nodes over fast and slow runs would mix the two at random."""
    samples = [kernel.without(warmup) for kernel in kernels]
    if len({len(values) for values in samples}) != 1:
        return samples
    totals = np.sum(samples, axis=0)
    pace = np.median(totals) / np.maximum(totals, 1e-12)
    return [values * pace for values in samples]


def times_by_name(graph: Graph, trace: list[KernelTimes], warmup: int = 1) -> Floats:
    """Median seconds of each node of `graph`, (n,), from a profile taken with optimisation disabled.

    ProfileError that names the first node without a time, if the trace is of another model or was optimised.
    """
    by_name = {kernel.name: kernel for kernel in trace}
    missing = [node.name for node in graph.nodes if node.name not in by_name]
    if missing:
        raise ProfileError(
            f"the trace has no time for {len(missing)} of {len(graph.nodes)} nodes, first '{missing[0]}';"
            " take it from this model with graph optimisation disabled"
        )
    return np.array([float(np.median(values)) for values in at_one_pace([by_name[node.name] for node in graph.nodes], warmup)])
