"""onnxruntime's own profile: how long each node's kernel took in each run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multiedge.errors import ProfileError
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Field, Kind
from multiedge.graph import Graph
from multiedge.profile import Floats

KERNEL = "_kernel_time"
MICRO = 1e-6
KIND = Kind("profile written by onnxruntime", ProfileError)

OutputShapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class KernelTimes:
    """One node of the graph that ran: its number there, and the seconds of each run in order."""

    index: int
    name: str
    op_type: str
    seconds: Floats
    outputs: OutputShapes = ()
    """Type (onnxruntime's word) and shape of each output in the last run, as far as the trace states them."""

    def without(self, warmup: int) -> Floats:
        return self.seconds[warmup:]

    @property
    def nameless(self) -> bool:
        """Whether the node may have no name in the model: onnxruntime calls such a node by its operator and number."""
        return self.name in ("", f"{self.op_type}_{self.index}")


def read_trace(path: str | os.PathLike[str]) -> list[KernelTimes]:
    """Times of every top-level node, in the order of execution. Nodes inside If and Loop bodies count for the node
    that holds them. ProfileError if the file is no profile of onnxruntime's."""
    kernels = [_kernel(event) for event in read_json(path, KIND).items() if _is_kernel(event)]
    if not kernels:
        raise ProfileError(f"{path}: no node times; was the session opened with profiling and run?")
    seconds: dict[tuple[int, str, str], list[float]] = {}
    shapes: dict[tuple[int, str, str], OutputShapes] = {}
    end_us = -1.0
    for kernel in sorted(kernels, key=lambda kernel: (kernel.start_us, -kernel.duration_us)):
        stop_us = kernel.start_us + kernel.duration_us
        if kernel.start_us < end_us and stop_us <= end_us:
            continue
        end_us = stop_us
        key = (kernel.index, kernel.name, kernel.op_type)
        seconds.setdefault(key, []).append(kernel.duration_us * MICRO)
        shapes[key] = kernel.outputs
    return [KernelTimes(*key, np.array(times), shapes[key]) for key, times in seconds.items()]


@dataclass(frozen=True)
class _Kernel:
    """One run of one node."""

    index: int
    name: str
    op_type: str
    start_us: float
    duration_us: float
    outputs: OutputShapes


def _is_kernel(event: Field) -> bool:
    return event["cat"].value == "Node" and event["name"].text().endswith(KERNEL)


def _kernel(event: Field) -> _Kernel:
    arguments = event["args"]
    return _Kernel(
        _index(arguments["node_index"]),
        event["name"].text().removesuffix(KERNEL),
        arguments["op_name"].text(),
        event["ts"].number(),
        event["dur"].number(least=0),
        arguments["output_type_shape"].optional(_output_shapes, ()),
    )


def _index(field: Field) -> int:
    """The runtime writes the number as a text."""
    if isinstance(field.value, str) and field.value.isdecimal():
        return Field(int(field.value[:20]), field.place, field.kind).count()
    return field.count()


def _output_shapes(field: Field) -> OutputShapes:
    shapes = [output.mapping_of(lambda dims: dims.list_of(Field.integer)) for output in field.items()]
    return tuple(entry for shape in shapes for entry in shape.items())


def at_one_pace(kernels: Sequence[KernelTimes], warmup: int) -> list[Floats]:
    """The seconds of each node, runs after the first `warmup` ones, as if every run had been as fast as the median run.

    Machines change their pace, and medians of nodes over fast and slow runs would mix the two at random."""
    samples = [kernel.without(warmup) for kernel in kernels]
    if len({len(values) for values in samples}) != 1:
        return samples
    totals = np.sum(samples, axis=0)
    pace = np.median(totals) / np.maximum(totals, 1e-12)
    return [values * pace for values in samples]


def match_own_nodes(graph: Graph, kernels: Sequence[KernelTimes]) -> list[KernelTimes | None]:
    """What ran for each node of `graph` when nothing was optimised; None for nodes that did not run (Constants).

    Nodes are found by name where names are unique, otherwise as the first, second, ... of their operator: onnxruntime numbers
    nodes in the order of the file, but leaves out Constants, so a number alone can be that of another node."""
    names = Counter(kernel.name for kernel in kernels)
    by_name = {kernel.name: kernel for kernel in kernels if not kernel.nameless and names[kernel.name] == 1}
    by_operator: dict[str, list[KernelTimes]] = {}
    for kernel in sorted(kernels, key=lambda kernel: kernel.index):
        if kernel.name not in by_name:
            by_operator.setdefault(kernel.op_type, []).append(kernel)
    in_order = {op_type: iter(found) for op_type, found in by_operator.items()}
    return [by_name.get(node.name) or next(in_order.get(node.op_type, iter(())), None) for node in graph.nodes]


def own_times(kernels: Sequence[KernelTimes | None], warmup: int) -> Floats:
    """Median seconds of each node, (n,); 0 for those that did not run."""
    ran = [index for index, kernel in enumerate(kernels) if kernel]
    found = np.zeros(len(kernels))
    found[ran] = [float(np.median(values)) for values in at_one_pace([kernel for kernel in kernels if kernel], warmup)]
    return found


def times_of_trace(graph: Graph, trace: Sequence[KernelTimes], warmup: int = 1) -> Floats:
    """Median seconds of each node of `graph`, (n,), from a profile taken with optimisation disabled; 0 for Constants.

    ProfileError that names the first node without a time, if the trace is of another model or was optimised.
    """
    kernels = match_own_nodes(graph, trace)
    pairs = zip(graph.nodes, kernels, strict=True)
    missing = [node.name for node, kernel in pairs if kernel is None and node.op_type != "Constant"]
    if missing:
        raise ProfileError(
            f"the trace has no time for {len(missing)} of {len(graph.nodes)} nodes, first '{missing[0]}';"
            " take it from this model with graph optimisation disabled"
        )
    return own_times(kernels, warmup)
