"""Whether a plan can run: its nodes, its messages and its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from math import inf

from multiedge.fleet import Encoding, Fleet
from multiedge.plan import CALLER, Plan
from multiedge.verification.figures import Figures, most_bytes
from multiedge.verification.model import Model
from multiedge.verification.ways import Way, ways_of


def structure_errors(plan: Plan, model: Model, fleet: Fleet) -> list[str]:
    """What is wrong with stages and transfers.

    Args:
        plan: The plan.
        model: Its model.
        fleet: Its devices.

    Returns:
        One text for each error; empty if there is none.
    """
    errors = [*_path_errors(plan), *_device_errors(plan, model, fleet)]
    if errors:
        return errors
    ways = ways_of(len(plan.stages), plan.transfers, plan.paths)
    errors = [text for way in ways for text in _node_errors(plan, way, model)]
    errors += [text for way in ways if not errors for text in _message_errors(plan, way, model)]
    errors += [] if errors else [*_time_errors(plan, model), *_encoding_errors(plan, model, fleet), *_pin_errors(plan, model)]
    return list(dict.fromkeys(errors))


def _pin_errors(plan: Plan, model: Model) -> Iterator[str]:
    """Stages with first or last nodes elsewhere than the plan states."""
    if plan.scope is None:
        return
    excluded = model.pinned(plan.scope.first_on, plan.scope.last_on).excluded
    for number, stage in enumerate(plan.stages):
        for device in stage.devices:
            if not excluded.get(device, frozenset()).isdisjoint(stage.nodes):
                yield f"stage {number} has first or last nodes on device '{device}', which are stated to be elsewhere"


def _path_errors(plan: Plan) -> Iterator[str]:
    count = len(plan.stages)
    for number, path in enumerate(plan.paths):
        if (
            not path.stages
            or list(path.stages) != sorted(set(path.stages))
            or not 0 <= path.stages[0] <= path.stages[-1] < count
        ):
            yield f"path {number} does not list stages from 0 to {count - 1}, ascending"
        if not 0 < path.items_per_s < inf:
            yield f"path {number} has a rate of {path.items_per_s} items/s"
    if plan.paths:
        for stage in sorted(set(range(count)) - {stage for path in plan.paths for stage in path.stages}):
            yield f"stage {stage} is in no path"


def _node_errors(plan: Plan, way: Way, model: Model) -> Iterator[str]:
    times = Counter(node for index in way.stages for node in plan.stages[index].nodes)
    for node in sorted(times.keys() | set(range(model.count))):
        if not 0 <= node < model.count:
            yield f"node {node} does not exist: the model has {model.count} nodes"
        elif times[node] != 1:
            yield f"node {node} '{model.graph.nodes[node].name}' is in {times[node]} stages"
    for name, nodes in model.state_nodes.items():
        holders = [index for index in way.stages if not nodes.isdisjoint(plan.stages[index].nodes)]
        if len(holders) != 1 or plan.stages[holders[0]].replicas:
            places = ", ".join(map(str, holders))
            yield f"state '{name}' is not kept by one stage on one device: stages {places} read or make it"
    for index in way.stages:
        stage = plan.stages[index]
        if not stage.nodes or list(stage.nodes) != sorted(stage.nodes):
            yield f"stage {index} has no nodes, or they are not ascending"


def _device_errors(plan: Plan, model: Model, fleet: Fleet) -> Iterator[str]:
    for index, stage in enumerate(plan.stages):
        if len(set(stage.devices)) < len(stage.devices):
            yield f"stage {index} names a device twice"
        for device in stage.devices:
            if device not in fleet.by_name:
                yield f"stage {index}: device '{device}' is not in {fleet.name}"
            elif device not in model.profile.seconds:
                yield f"stage {index}: the profile has no times for device '{device}'"


def _message_errors(plan: Plan, way: Way, model: Model) -> Iterator[str]:
    """Each stage gets what it reads, sends what it has, and every output reaches the caller."""
    home = {node: index for index in way.stages for node in plan.stages[index].nodes}
    has: dict[int, set[str]] = {CALLER: set(model.graph.inputs)}
    for index in way.stages:
        stage = plan.stages[index]
        has[index] = set[str]().union(*(model.writes[node] for node in stage.nodes))
        for move in way.transfers:
            if move.target == index and move.source < index:
                has[index] |= set(move.tensors) & has[move.source]
        read = set[str]().union(*(model.reads[node] for node in stage.nodes))
        for name in sorted(read - has[index]):
            yield f"stage {index} reads '{name}', which no earlier stage sends to it"
    for move in way.transfers:
        if move.source == move.target or CALLER != move.target < move.source:
            yield f"a transfer goes from stage {move.source} to stage {move.target}"
        elif set(move.tensors) - has[move.source]:
            yield f"stage {move.source} sends what it does not have: {', '.join(sorted(set(move.tensors) - has[move.source]))}"
    returned = {name for move in way.transfers if move.target == CALLER for name in move.tensors}
    missing = [name for name in model.graph.outputs if name in model.maker and name not in returned]
    for name in missing:
        yield f"output '{name}' of stage {home[model.maker[name]]} does not return to the caller"


def _encoding_errors(plan: Plan, model: Model, fleet: Fleet) -> Iterator[str]:
    """Transfers that are not encoded as every link on their way says, and what float16 does not make half as large."""
    for move in plan.transfers:
        senders, receivers = (
            (fleet.source,) if end == CALLER else plan.stages[end].devices for end in (move.source, move.target)
        )
        stated = {fleet.link(a, b).encoding for a, b in product(senders, receivers) if a and b and a != b} or {Encoding.NONE}
        place = f"the transfer from stage {move.source} to stage {move.target}"
        if stated != {move.encoding}:
            names = " and ".join(sorted(each.value or "none" for each in stated))
            yield f"{place} has the encoding {move.encoding.value or 'none'}, its links have {names}"
        for name in move.tensors if move.encoding is Encoding.FLOAT16 else ():
            if (dtype := model.graph.tensors[name].dtype) != "float32":
                yield f"{place} sends '{name}' of type {dtype} as float16"


def _time_errors(plan: Plan, model: Model) -> Iterator[str]:
    """Devices with times of spans only that hold something else."""
    for name, cost in model.profile.spans.items():
        held = sorted({node for stage in plan.stages if name in stage.devices for node in stage.nodes})
        if held and (held[-1] + 1 - held[0] != len(held) or cost.seconds(held[0], held[-1] + 1) == inf):
            yield f"device '{name}' has no time for the nodes {', '.join(map(str, held))} together"


def fused_errors(plan: Plan, model: Model) -> list[str]:
    """Fused tensors that the plan cuts: it can run, but its times do not hold.

    Args:
        plan: The plan, without errors of structure.
        model: Its model.

    Returns:
        One text for each tensor.
    """
    cut: set[str] = set()
    for way in ways_of(len(plan.stages), plan.transfers, plan.paths):
        home = {node: index for index in way.stages for node in plan.stages[index].nodes}
        ends = {name: {home[model.maker[name]], *(home[node] for node in model.readers[name])} for name in model.profile.fused}
        cut |= {name for name, stages in ends.items() if len(stages) > 1}
    return [f"fused tensor '{name}' is cut" for name in sorted(cut)]


def memory_errors(figures: Figures, fleet: Fleet) -> list[str]:
    """Devices whose memory is too small.

    Args:
        figures: What the plan costs.
        fleet: Its devices.

    Returns:
        One text for each device.
    """
    limits = {name: most_bytes(fleet.device(name)) for name in figures.memory_bytes}
    return [
        f"device '{name}' needs {nbytes} B and has {limits[name]} B, the margin left out"
        for name, nbytes in figures.memory_bytes.items()
        if (limit := limits[name]) is not None and nbytes > limit
    ]
