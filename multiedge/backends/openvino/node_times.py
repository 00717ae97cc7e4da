"""What every node of a model takes in OpenVINO, from the times and names that its compiled graph states."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multiedge.backends.contract import Coverage, NodeTimes, Tensors
from multiedge.backends.openvino.session import OpenVinoSession, open_session
from multiedge.backends.ownership import (
    NO_OWNER,
    Ownership,
    claim_left_over,
    depends_on_inputs,
    hidden_tensors,
    spread,
    without_probe,
)
from multiedge.backends.stages import Call, openable
from multiedge.backends.timing import Accuracy, Progress, Timing, time_in_turn
from multiedge.errors import ProfileError
from multiedge.files import temporary_folder
from multiedge.fleet import Device
from multiedge.graph import Graph
from multiedge.profile import Floats

if TYPE_CHECKING:
    from multiedge.backends.openvino import OpenVinoBackend

MICRO = 1e-6


@dataclass(frozen=True)
class CompiledNode:
    """A node of the graph that OpenVINO runs.

    Attributes:
        name: Its own name.
        origins: The nodes of the model that it does the work of, by name or by the name of their output.
        seconds: Mean time of a run; 0 if it does not run.
        is_blocked: Whether its output is laid out in another order than the tensor's dimensions.
        readers: Numbers of the nodes that read from it.
    """

    name: str
    origins: tuple[str, ...]
    seconds: float
    is_blocked: bool = False
    readers: tuple[int, ...] = ()


@dataclass(frozen=True)
class OpenVinoNodeTimer:
    """Times of nodes from OpenVINO's own counters."""

    backend: OpenVinoBackend

    def measure(
        self, graph: Graph, path: Path, feed: Tensors, device: Device, accuracy: Accuracy, overhead_s: float, progress: Progress
    ) -> NodeTimes:
        with temporary_folder("profile-") as folder:
            made = openable(self.backend, path, folder)
            plain, profiled = open_session(self.backend, made, device), open_session(self.backend, made, device, counts=True)
            timings = time_in_turn([Call(plain, feed, path), Call(profiled, feed, path)], accuracy, progress)
            compiled = read_compiled(profiled)
            plain.close()
            profiled.close()
        return assemble(graph, compiled, timings, min(overhead_s, timings[0].median_s / 2))

    def read(self, graph: Graph, path: Path) -> Floats:
        """OpenVINO writes no profiles to files."""
        raise ProfileError(f"{path}: OpenVINO writes no profile that can be read; profile the model on the device itself")


def read_compiled(session: OpenVinoSession) -> list[CompiledNode]:
    """The nodes of the graph that the session has run, constants included; its counters were on."""
    operations = session.compiled.get_runtime_model().get_ordered_ops()
    numbers = {operation.friendly_name: number for number, operation in enumerate(operations)}
    return [_compiled_node(operation, numbers) for operation in operations]


def _compiled_node(operation: Any, numbers: Mapping[str, int]) -> CompiledNode:
    known = operation.get_rt_info()
    origins, micros, layout = (known[key].astype(str) for key in ("originalLayersNames", "execTimeMcs", "outputLayouts"))
    readers = {target.get_node().friendly_name for port in operation.outputs() for target in port.get_target_inputs()}
    return CompiledNode(
        operation.friendly_name,
        tuple(filter(None, origins.split(","))),
        float(micros) * MICRO if micros.isdecimal() else 0.0,
        _is_blocked(layout),
        tuple(sorted(numbers[name] for name in readers)),
    )


def _is_blocked(layouts: str) -> bool:
    """Layouts are written as the order of dimensions: 'abcd' is the tensor's own, 'acdb' has the channels last."""
    first = re.match("[a-z]+", layouts.lower().replace("undef", ""))
    return first is not None and list(first[0]) != sorted(first[0])


def owners(graph: Graph, compiled: Sequence[CompiledNode]) -> Ownership:
    """Who does whose work: the compiled node that has a node's name, or that of its output, among its origins.

    A node whose name is lost was fused with the one that reads its output. Compiled nodes that do no node's work, such as
    changes of layout, serve those that read from them.
    """
    number_of = {origin: number for number, node in enumerate(compiled) for origin in (node.name, *node.origins)}
    is_free = depends_on_inputs(graph)
    owner = np.full(len(graph.nodes), NO_OWNER, dtype=np.int64)
    for index, node in enumerate(graph.nodes):
        if is_free[index]:
            owner[index] = next((number_of[name] for name in (node.name, *node.writes) if name in number_of), NO_OWNER)
    for index in reversed(range(len(graph.nodes))):
        if is_free[index] and owner[index] == NO_OWNER:
            reading = {int(owner[reader]) for name in graph.nodes[index].writes for reader in graph.consumers.get(name, ())}
            owner[index] = reading.pop() if len(reading) == 1 else NO_OWNER
    claim_left_over(graph, owner)
    return Ownership(owner, _groups(compiled, set(owner.tolist())))


def _groups(compiled: Sequence[CompiledNode], owning: set[int]) -> Any:
    group = np.array([number if number in owning else NO_OWNER for number in range(len(compiled))], dtype=np.int64)
    for number in reversed(range(len(compiled))):
        if group[number] == NO_OWNER:
            group[number] = next(
                (int(group[reader]) for reader in compiled[number].readers if group[reader] != NO_OWNER), NO_OWNER
            )
    return group


def assemble(graph: Graph, compiled: Sequence[CompiledNode], timings: Sequence[Timing], overhead_s: float) -> NodeTimes:
    """Times of the model's nodes. Those that were fused share the time by their parameters, or evenly if none has any."""
    plain, profiled = timings
    counted = np.array([node.seconds for node in compiled])
    ran = counted > 0
    corrected = np.zeros_like(counted)
    corrected[ran] = without_probe(counted[ran], plain.median_s - overhead_s)
    ownership = owners(graph, compiled)
    seconds = spread(ownership, corrected, _weights(graph, ownership))
    blocked = np.array([node.is_blocked for node in compiled])
    return NodeTimes(
        graph=graph,
        seconds=seconds,
        spread_s=seconds * plain.relative_error,
        overhead_s=overhead_s,
        plain=plain,
        profiled=profiled,
        kernel_sum_s=float(counted.sum()),
        coverage=_coverage(graph, compiled, ownership, corrected),
        fused=hidden_tensors(graph, ownership),
        blocked_share=float(corrected[blocked].sum() / max(corrected.sum(), 1e-12)),
    )


def _weights(graph: Graph, ownership: Ownership) -> Floats:
    """How the nodes that one compiled node does the work of share its time, (n,)."""
    sizes = [sum(map(graph.size_of, names)) for names in graph.parameters_read]
    weights = np.array(sizes, dtype=np.float64)
    for number in set(ownership.owner.tolist()):
        members = ownership.owner == number
        if not weights[members].any():
            weights[members] = 1.0
    return weights


def _coverage(graph: Graph, compiled: Sequence[CompiledNode], ownership: Ownership, seconds: Floats) -> Coverage:
    names = {node.name for node in compiled}
    counts = {"by_name": 0, "by_tensor": 0, "fused": 0, "folded": 0}
    for node, owner in zip(graph.nodes, ownership.owner.tolist(), strict=True):
        if owner == NO_OWNER:
            counts["folded"] += 1
        elif node.name in names:
            counts["by_name"] += 1
        elif not names.isdisjoint(node.writes):
            counts["by_tensor"] += 1
        else:
            counts["fused"] += 1
    known = ownership.group != NO_OWNER
    return Coverage(**counts, attributed=float(seconds[known].sum() / max(seconds.sum(), 1e-12)))
