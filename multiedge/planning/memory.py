"""The part of the cost model that counts memory. A device needs

    runtime_d + sum over its stages of ( weight_copies * parameters, shared ones once
                                         + max(packing + folded,
                                               working_copies * peak over its nodes of live activations
                                                   + buffered_items * (bytes that enter + bytes that leave)) )

where the profile's MemoryUse states the factors, packing is the most copies of a parameter that exist while the runtime packs
it, and folded are the parameters that have a second version until loading is done.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from multiedge.fleet import Fleet
from multiedge.plan import CALLER, DeviceMemory, Path, Stage, Transfer
from multiedge.profile import MemoryUse, Profile

BUFFERED_ITEMS = MemoryUse().buffered_items
"""The least number of items at each side of a stage, in addition to the one that is computed."""
RECENT_STAGES = 64
"""Stages whose bytes a profile keeps: more than plans have, fewer than a search tries."""


def stage_parameter_bytes(profile: Profile, stage: Stage) -> int:
    """The size of the parameters that a stage reads.

    Args:
        profile: Costs of the model.
        stage: The stage.

    Returns:
        Bytes; a parameter that several nodes read counts once.
    """
    reads = profile.graph.parameters_read
    names = {name for node in stage.nodes for name in reads[node]}
    return sum(map(profile.graph.size_of, names))


def stage_memory_bytes(profile: Profile, stage: Stage, entering: Sequence[Transfer], leaving: Sequence[Transfer]) -> int:
    """The memory of a stage, by the equation at the top of this module.

    Args:
        profile: Costs of the model.
        stage: The stage.
        entering: Transfers to the stage.
        leaving: Transfers from the stage.

    Returns:
        Bytes, without the device's runtime.
    """
    parameters, live = _resident_bytes(profile, stage, entering, leaving)
    nodes = list(stage.nodes)
    return int(
        profile.memory_use.stage_bytes(
            parameters=parameters,
            live=live,
            buffers=sum(_held_bytes(profile, move) for move in (*entering, *leaving)),
            packing=profile.packing_bytes[nodes].max(initial=0),
            folded=profile.folded_bytes[nodes].sum(),
        )
    )


def _held_bytes(profile: Profile, move: Transfer) -> int:
    """The bytes of a message of an item that has all of its tensors."""
    return sum(map(profile.graph.size_of, move.tensors)) if profile.graph.has_rates else move.known_bytes


def _resident_bytes(
    profile: Profile, stage: Stage, entering: Sequence[Transfer], leaving: Sequence[Transfer]
) -> tuple[int, int]:
    """Bytes of the stage's parameters, and of its activations at their peak.

    They do not depend on the device. The profile keeps the last ones: a plan is estimated, checked, and compared with the whole
    model on each device.
    """
    held = frozenset(name for move in entering for name in move.tensors)
    kept = frozenset(name for move in leaving if move.target != CALLER for name in move.tensors)
    key, recent = (stage.nodes, held, kept), profile.recent_stages
    if key not in recent:
        if len(recent) >= RECENT_STAGES:
            del recent[next(iter(recent))]
        recent[key] = stage_parameter_bytes(profile, stage), _peak_live_bytes(profile, stage, set(held), kept)
    return recent[key]


def _peak_live_bytes(profile: Profile, stage: Stage, held: set[str], kept: Collection[str]) -> int:
    """The most activations that exist while a node of the stage runs, what it makes and what only passes through included.

    `held` enter the stage; `kept` stay until they are sent.
    """
    graph, sizes, reads = profile.graph, profile.graph.tensor_bytes, profile.graph.activations
    last_read = {name: node for node in stage.nodes for name in reads[node]}
    live, peak = sum([sizes.get(name, 0) for name in held]), 0
    for node, made in zip(stage.nodes, profile.output_bytes[list(stage.nodes)].tolist(), strict=True):
        peak = max(peak, live + made)
        for name in graph.nodes[node].writes:
            if name in kept or last_read.get(name, -1) > node:
                held.add(name)
                live += sizes.get(name, 0)
        for name in reads[node]:
            if last_read[name] == node and name in held and name not in kept:
                held.remove(name)
                live -= sizes.get(name, 0)
    return peak


def moves_of_one_item(
    stage: int, transfers: Sequence[Transfer], *, several_paths: bool
) -> tuple[list[Transfer], list[Transfer]]:
    """The transfers with which one item enters and leaves a stage.

    Args:
        stage: Number of the stage.
        transfers: All transfers of the plan.
        several_paths: Whether the plan has paths. Then an item takes one of those transfers that carry the same tensors.

    Returns:
        The transfers to the stage, and those from it.
    """
    entering = [move for move in transfers if move.target == stage]
    leaving = [move for move in transfers if move.source == stage]
    if not several_paths:
        return entering, leaving
    return list({move.tensors: move for move in entering}.values()), list({move.tensors: move for move in leaving}.values())


def memory_by_device(
    profile: Profile, fleet: Fleet, stages: Sequence[Stage], transfers: Sequence[Transfer], paths: Sequence[Path] = ()
) -> dict[str, int]:
    """The memory that each device needs.

    Args:
        profile: Costs of the model.
        fleet: The devices.
        stages: The placement.
        transfers: Tensors between stages, and from and to the caller.
        paths: The ways of items through the stages; empty if every item passes every stage.

    Returns:
        Bytes by device name: the runtime once, and each of its stages.
    """
    needed: dict[str, int] = {}
    for index, stage in enumerate(stages):
        entering, leaving = moves_of_one_item(index, transfers, several_paths=bool(paths))
        nbytes = stage_memory_bytes(profile, stage, entering, leaving)
        for device in stage.devices:
            needed[device] = needed.get(device, fleet.device(device).runtime_bytes) + nbytes
    return needed


def device_memory(fleet: Fleet, planned_bytes: Mapping[str, int]) -> tuple[DeviceMemory, ...]:
    """Planned bytes beside the limits and margins of their devices.

    Args:
        fleet: The devices.
        planned_bytes: What each device in use takes, by name.

    Returns:
        One entry for each device in use.
    """
    used = {name: fleet.device(name) for name in planned_bytes}
    return tuple(
        DeviceMemory(name, planned_bytes[name], device.memory_bytes, device.memory_margin) for name, device in used.items()
    )
