"""Whether a placement can run: its structure first, then its memory. Hand-written and computed plans pass the same checks.

A plan is checked once, where it enters: `multiedge.run.plan_model` checks what a strategy returns, `plan_by_hand` what a
person wrote. A strategy checks nothing but candidates that may not fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from multiedge.errors import ProfileError, did_you_mean
from multiedge.fleet import Encoding, Fleet
from multiedge.graph import Graph
from multiedge.plan import CALLER, Path, Stage, Transfer
from multiedge.planning.cost import encodings_of, held_nodes
from multiedge.planning.memory import memory_by_device
from multiedge.profile import Profile
from multiedge.quantity import human_bytes

NO_STAGE = -1


def violations(
    profile: Profile, fleet: Fleet, stages: Sequence[Stage], transfers: Sequence[Transfer], paths: Sequence[Path] = ()
) -> list[str]:
    """All reasons why a placement cannot run.

    Args:
        profile: Costs of the model.
        fleet: The devices.
        stages: The placement.
        transfers: Tensors between stages, and from and to the caller.
        paths: The ways of items through the stages; empty if every item passes every stage.

    Returns:
        One text for each error: of structure; if there are none, of encodings and memory. Empty if the placement can run.
    """
    wrong = structural_violations(profile.graph, fleet, stages, paths) or list(_span_violations(profile, stages))
    return wrong or [
        *encoding_violations(profile.graph, fleet, stages, transfers),
        *memory_violations(profile, fleet, stages, transfers, paths),
    ]


def encoding_violations(graph: Graph, fleet: Fleet, stages: Sequence[Stage], transfers: Sequence[Transfer]) -> list[str]:
    """All transfers that cannot be sent as their links say, or whose time would not be as planned.

    Args:
        graph: The model.
        fleet: The devices.
        stages: The placement.
        transfers: Tensors between stages, and from and to the caller.

    Returns:
        One text for each transfer over links of different encodings, and for each that has other tensors than float32 where
        float16 is sent. Empty if there is none.
    """
    wrong = []
    for move in transfers:
        encodings = encodings_of(fleet, stages, move)
        place = f"{_end(stages, move.source)} to {_end(stages, move.target)}"
        others = [graph.tensors[name] for name in move.tensors if graph.tensors[name].dtype != "float32"]
        if len(encodings) > 1:
            wrong.append(f"links from {place} have different encodings: declare the same one for all replicas")
        elif Encoding.FLOAT16 in encodings and others:
            wrong.append(
                f"the link from {place} sends float16, and '{others[0].name}' is of type {others[0].dtype or 'unknown'}, not"
                " float32: remove `encoding` from the link, or use zstd"
            )
    return wrong


def _end(stages: Sequence[Stage], stage: int) -> str:
    return "the source" if stage == CALLER else f"stage {stage}"


def _span_violations(profile: Profile, stages: Sequence[Stage]) -> Iterator[str]:
    """Each device with costs of consecutive nodes that holds others, or a span without a time."""
    try:
        held = held_nodes(profile, stages)
    except ProfileError as error:
        yield str(error)
        return
    for device, (start, stop) in held.items():
        if not math.isfinite(profile.span_s(device, start, stop)):
            yield f"device '{device}' cannot hold nodes {start} to {stop - 1}: its profile has no finite time for them"
    for number, stage in enumerate(stages if profile.excludes_nodes else ()):
        for device in stage.devices:
            if device not in profile.spans and not math.isfinite(profile.seconds_on(device)[list(stage.nodes)].sum()):
                yield f"device '{device}' must not hold all nodes of stage {number}"


def structural_violations(graph: Graph, fleet: Fleet, stages: Sequence[Stage], paths: Sequence[Path] = ()) -> list[str]:
    """All errors in the structure of a placement.

    Args:
        graph: The model.
        fleet: The devices.
        stages: The placement.
        paths: The ways of items through the stages; empty if every item passes every stage.

    Returns:
        One text for each error: a node in no stage or in two, a wrong order, an unknown device. Empty if there is none.
    """
    wrong = [
        f"stage {number}: device '{device}' is not in {fleet.name}{did_you_mean(device, fleet.names)}"
        for number, stage in enumerate(stages)
        for device in stage.devices
        if device not in fleet.by_name
    ]
    if not paths:
        return wrong + _wrong_cover(graph, dict(enumerate(stages)))
    wrong += _wrong_paths(stages, paths)
    if not wrong:
        for number, path in enumerate(paths):
            covered = _wrong_cover(graph, {stage: stages[stage] for stage in path.stages})
            wrong += [f"path {number}: {text}" for text in covered]
    return wrong


def _wrong_paths(stages: Sequence[Stage], paths: Sequence[Path]) -> list[str]:
    """What is wrong with the numbers and rates of paths."""
    wrong = []
    for number, path in enumerate(paths):
        if list(path.stages) != sorted(set(path.stages)) or not set(path.stages) <= set(range(len(stages))):
            wrong.append(
                f"path {number}: expected stages from 0 to {len(stages) - 1}, ascending, got {', '.join(map(str, path.stages))}"
            )
        if not 0 < path.items_per_s < math.inf:
            wrong.append(f"path {number}: expected a rate above 0, got {path.items_per_s:g} items/s")
    used = {stage for path in paths for stage in path.stages}
    return wrong + [f"stage {number} is in no path" for number in range(len(stages)) if number not in used]


def _wrong_cover(graph: Graph, stages: Mapping[int, Stage]) -> list[str]:
    """What is wrong with stages that an item passes: a node in none of them or in two, or a wrong order."""
    wrong: list[str] = []
    stage_of = [NO_STAGE] * len(graph.nodes)
    for number, stage in stages.items():
        wrong += _enter(graph, stage, number, stage_of)
    wrong += _parted_states(graph, stages, stage_of)
    missing = (node for node, number in enumerate(stage_of) if number == NO_STAGE)
    wrong += [f"node {node} '{graph.nodes[node].name}' is in no stage" for node in missing]
    return wrong + list(_broken_order(graph, stage_of))


def _parted_states(graph: Graph, stages: Mapping[int, Stage], stage_of: Sequence[int]) -> Iterator[str]:
    """Each state that is not kept by one stage, on one device."""
    for name, nodes in graph.state_nodes.items():
        held = sorted({stage_of[node] for node in nodes} - {NO_STAGE})
        if len(held) > 1:
            yield f"state '{name}' is read and made in stages {' and '.join(map(str, held))}; it can be kept by one stage only"
        for number in held:
            if stages[number].replicas:
                yield f"stage {number} keeps state '{name}', and its replicas would take steps of one sequence in turn"


def _enter(graph: Graph, stage: Stage, number: int, stage_of: list[int]) -> list[str]:
    """Notes the stage's number for each of its nodes. Returns what is wrong with them."""
    wrong = [] if stage.nodes else [f"stage {number} on '{stage.device}' has no nodes"]
    for node in stage.nodes:
        if not 0 <= node < len(stage_of):
            wrong.append(f"stage {number}: node {node} does not exist; the model has nodes 0 to {len(stage_of) - 1}")
        elif stage_of[node] != NO_STAGE:
            wrong.append(f"node {node} '{graph.nodes[node].name}' is in stage {stage_of[node]} and again in stage {number}")
        else:
            stage_of[node] = number
    return wrong


def _broken_order(graph: Graph, stage_of: Sequence[int]) -> Iterator[str]:
    """Each tensor that a stage reads before the stage that makes it has run."""
    stage_making = {name: stage_of[node] for name, node in graph.producer.items()}
    for node, names in enumerate(graph.activations):
        stage = stage_of[node]
        for name in names:
            made = stage_making.get(name, NO_STAGE)
            if made > stage != NO_STAGE:
                yield f"order broken: node {node} in stage {stage} reads '{name}', which stage {made} makes later"


def memory_violations(
    profile: Profile, fleet: Fleet, stages: Sequence[Stage], transfers: Sequence[Transfer], paths: Sequence[Path] = ()
) -> list[str]:
    """All devices whose memory is too small for their stages.

    Args:
        profile: Costs of the model.
        fleet: The devices.
        stages: The placement, without structural violations.
        transfers: Tensors between stages, and from and to the caller.
        paths: The ways of items through the stages; empty if every item passes every stage.

    Returns:
        One text for each device. Empty if all memory is sufficient.
    """
    wrong = []
    for device, nbytes in memory_by_device(profile, fleet, stages, transfers, paths).items():
        limit, wanted = fleet.device(device).memory_bytes, fleet.device(device).memory_for(nbytes)
        if limit is not None and wanted > limit:
            margin = f", with its margin {human_bytes(wanted)}," if wanted > nbytes else ""
            missing = human_bytes(wanted - limit, round_up=True)
            wrong.append(
                f"device '{device}' needs {human_bytes(nbytes)}{margin} and has {human_bytes(limit)}; {missing} more would do"
            )
    return wrong
