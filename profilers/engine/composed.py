"""A workflow on this machine: each of its models and functions alone, as if every condition held.

Inputs are random, of the sizes that plans count. Conditions and joins only pass tensors on, and take no time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from multiedge.backends.composed.opening import model_files, operation_of
from multiedge.backends.contract import Coverage, NodeTimes
from multiedge.backends.stages import Call, device_backend, open_part
from multiedge.backends.timing import Accuracy, Progress, Timing, silent, time_in_turn
from multiedge.composed import DOMAIN, TRANSFORM
from multiedge.errors import MultiedgeError, ProfileError
from multiedge.files import temporary_folder
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph
from multiedge.onnx_io.groups import Group, file_of, groups_of
from multiedge.onnx_io.inputs import random_feed, random_inputs
from multiedge.onnx_io.reader import declared_graph
from multiedge.profile import Floats
from profilers.engine.calibration import Calibration
from profilers.engine.cutting import cut_cost_s
from profilers.engine.host import Host, HostTimes, measure_host, model_path, shares_of
from profilers.engine.macs import count_work


@dataclass(frozen=True)
class _Timed:
    """A group of nodes: how long it takes, each node's share of it and that share's error, (nodes of the group,), and for a
    model what was measured of it."""

    group: Group
    timing: Timing
    shares: Floats = field(repr=False)
    errors: Floats = field(repr=False)
    model: HostTimes | None = None


def measure_composed(
    graph: Graph, host: Host, machine: Calibration, accuracy: Accuracy, *, seed: int = 0, progress: Progress = silent
) -> HostTimes:
    """Times of a workflow's nodes on this machine.

    Args:
        graph: The workflow as one model, read from its file.
        host: The backend and the threads.
        machine: What this machine sustains with them.
        accuracy: When to stop; the budget is for all models and functions together.
        seed: Of the inputs.
        progress: Is told what is timed.

    Returns:
        The HostTimes. A function that cannot be called with random inputs has an estimated time, and a note says so.

    Raises:
        ProfileError: If a model cannot be run here, or nothing could be timed.
    """
    path = model_path(graph)
    groups = _timed_groups(graph)
    each = replace(accuracy, budget_s=accuracy.budget_s / max(len(groups), 1))
    timed: list[_Timed] = []
    notes: list[str] = []
    estimated = np.zeros(len(graph.nodes))
    with temporary_folder("workflow-") as folder:
        home = model_files(path, graph, folder)
        for group in groups:
            if _is_model(graph, group):
                model = _model_of(graph, group, home)
                times = measure_host(model, host, machine, each, seed=seed, progress=progress)
                cut_s = cut_cost_s(times, seed=seed, progress=progress)
                timed.append(_of_model(graph, group, replace(times, cut_cost_s=cut_s)))
                continue
            try:
                timed.append(_of_function(group, _function_call(graph, group, path, seed), each, progress))
            except MultiedgeError as error:
                notes.append(f"step '{group.segment}' cannot be timed, its time is estimated from the bytes it moves: {error}")
                estimated[list(group.nodes)] = machine.capability.node_seconds(count_work(graph))[list(group.nodes)]
    if not timed:
        raise ProfileError(f"{graph.name}: no step could be timed; use --profiler static")
    return _together(graph, host, machine, timed, estimated, tuple(notes))


@contextmanager
def composed_calls(path: Path, host: Host, seed: int = 0) -> Iterator[list[Callable[[], object]]]:
    """What computes each model and each function of a composed file on this machine, as if every condition held.

    Args:
        path: The file, or a part of it.
        host: The backend and the threads.
        seed: Of the inputs.

    Returns:
        A context with actions that run one of them once each.

    Raises:
        ModelError: If one of them cannot be opened.
    """
    graph = read_graph(path)
    calls: list[Callable[[], object]] = []
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("workflow-"))
        home = model_files(path, graph, folder)
        for group in _timed_groups(graph):
            if _is_model(graph, group):
                model, file = _model_of(graph, group, home), home / file_of(group)
                session = open_part(device_backend(host.device), file, host.device, folder)
                stack.callback(session.close)
                calls.append(Call(session, random_feed(model, seed), file))
            else:
                calls.append(_named(group.segment, _function_call(graph, group, path, seed)))
        yield calls


def _named(step: str, call: Callable[[], object]) -> Callable[[], object]:
    """The call, whose error says what cannot be timed."""

    def named() -> object:
        try:
            return call()
        except MultiedgeError as error:
            raise ProfileError(
                f"step '{step}' refuses random inputs, so its stage cannot be timed: {error}; plan without --time-segments"
            ) from error

    return named


def _timed_groups(graph: Graph) -> list[Group]:
    return [
        group
        for group in groups_of(graph)
        if group.outputs and (_is_model(graph, group) or graph.nodes[group.nodes[0]].op_type == TRANSFORM)
    ]


def _is_model(graph: Graph, group: Group) -> bool:
    return graph.nodes[group.nodes[0]].domain != DOMAIN


def _model_of(graph: Graph, group: Group, home: Path) -> Graph:
    """A model of the workflow, with the sizes that its inputs have in there."""
    known = {name: graph.tensors[name].known_shape for name in group.inputs}
    return read_graph(home / file_of(group), {name: shape for name, shape in known.items() if shape is not None})


def _function_call(graph: Graph, group: Group, path: Path, seed: int) -> Callable[[], object]:
    operation = operation_of(declared_graph(path), group, path)  # its results may have other sizes than plans count
    ends = Graph(group.segment, (), group.inputs, (), {name: graph.tensors[name] for name in group.inputs})
    feed = random_inputs(ends, seed)
    return lambda: operation.compute([feed])


def _of_model(graph: Graph, group: Group, times: HostTimes) -> _Timed:
    place = {graph.nodes[index].writes[0]: number for number, index in enumerate(group.nodes)}
    seconds, errors = np.zeros(len(place)), np.zeros(len(place))
    for number, node in enumerate(times.graph.nodes):
        if node.writes[0] in place:  # constants of other groups are repeated in this one
            seconds[place[node.writes[0]]] = times.seconds[number]
            errors[place[node.writes[0]]] = times.spread_s[number]
    return _Timed(group, times.latency, shares_of(seconds), errors, times)


def _of_function(group: Group, call: Callable[[], object], accuracy: Accuracy, progress: Progress) -> _Timed:
    (timing,) = time_in_turn([call], accuracy, progress)
    return _Timed(group, timing, np.ones(1), np.array([timing.relative_error * timing.median_s]))


def _together(
    graph: Graph, host: Host, machine: Calibration, timed: Sequence[_Timed], estimated: Floats, notes: tuple[str, ...]
) -> HostTimes:
    """Groups that run one after the other as one model. The times of each hold its call; the stage's call is one of them."""
    latency = _sum([each.timing for each in timed], float(estimated.sum()))
    seconds, spread_s = estimated.copy(), np.zeros(len(graph.nodes))
    for each in timed:
        seconds[list(each.group.nodes)] = each.shares * each.timing.median_s
        spread_s[list(each.group.nodes)] = each.errors
    models = [each.model for each in timed if each.model]
    calls_s = [model.overhead_s for model in models] or [machine.stage_overhead_s]
    overhead_s = min(float(np.mean(calls_s)), latency.median_s / 2)
    seconds *= (latency.median_s - overhead_s) / float(seconds.sum())
    whole_s = sum(model.latency.median_s for model in models)
    cut_cost = sum(model.cut_cost_s * model.latency.median_s for model in models) / whole_s if whole_s > 0 else 0.0
    times = HostTimes(
        host,
        _with_seen_sizes(graph, models),
        seconds,
        spread_s,
        overhead_s,
        latency,
        fused=frozenset[str]().union(*(model.fused for model in models)),
        cut_cost_s=cut_cost,
        notes=notes,
    )
    return replace(times, nodes=_node_times(times, timed))


def _sum(timings: Sequence[Timing], more_s: float = 0.0) -> Timing:
    """What follows each other as one thing, with as many samples as the one that has fewest."""
    count = min(len(timing.wall_s) for timing in timings)
    wall_s = np.sum([timing.wall_s[:count] for timing in timings], axis=0) + more_s
    return Timing(wall_s, np.sum([timing.cpu_s[:count] for timing in timings], axis=0) + more_s)


def _with_seen_sizes(graph: Graph, models: Sequence[HostTimes]) -> Graph:
    """The workflow with the shapes that runs of its models have shown."""
    seen = {
        name: replace(graph.tensors[name], shape=model.graph.tensors[name].shape, nbytes=model.graph.tensors[name].nbytes)
        for model in models
        for name in model.graph.measured_sizes
        if name in graph.tensors
    }
    return replace(graph, tensors={**graph.tensors, **seen}, measured_sizes=(*graph.measured_sizes, *seen))


def _node_times(times: HostTimes, timed: Sequence[_Timed]) -> NodeTimes | None:
    """What the runtime measured of single nodes, where it measured those of every model."""
    known = [each.model.nodes if each.model else None for each in timed]
    nodes = [each for each in known if each]
    if len(nodes) < sum(each.model is not None for each in timed) or not nodes:
        return None
    profiled = [each.profiled if each else one.timing for each, one in zip(known, timed, strict=True)]
    kernel_s = [each.kernel_sum_s for each in nodes]
    weights = np.array(kernel_s) / max(sum(kernel_s), 1e-12)
    return NodeTimes(
        graph=times.graph,
        seconds=times.seconds,
        spread_s=times.spread_s,
        overhead_s=times.overhead_s,
        plain=times.latency,
        profiled=_sum(profiled),
        kernel_sum_s=sum(kernel_s),
        coverage=_coverage([each.coverage for each in nodes], weights, functions=len(timed) - len(nodes)),
        fused=times.fused,
        blocked_share=float(weights @ [each.blocked_share for each in nodes]),
    )


def _coverage(parts: Sequence[Coverage], weights: Floats, functions: int) -> Coverage:
    """Of all models, by their times; a function is one node with a name."""
    return Coverage(
        by_name=sum(part.by_name for part in parts) + functions,
        by_tensor=sum(part.by_tensor for part in parts),
        fused=sum(part.fused for part in parts),
        folded=sum(part.folded for part in parts),
        attributed=float(weights @ [part.attributed for part in parts]),
    )
