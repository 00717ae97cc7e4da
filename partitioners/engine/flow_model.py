"""A model on a fleet as a `Network`, and the flow through it as stages and paths of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from multiedge.fleet import Fleet
from multiedge.plan import Path, Stage
from multiedge.profile import Floats, Profile
from partitioners.engine.flow_network import OUTSIDE, Flow, Held, Network, largest_flow
from partitioners.engine.load_bound import load_bound
from partitioners.engine.memory import memory_rows, result_bytes
from partitioners.engine.times import node_seconds


def network_of(profile: Profile, fleet: Fleet, boundaries: Sequence[int]) -> Network:
    """The costs of a model whose plans cut at some boundaries only.

    Args:
        profile: Costs of the model.
        fleet: The devices.
        boundaries: Numbers of nodes, ascending, from 0 to the number of all nodes.

    Returns:
        The Network, with a block between each two boundaries and a device for each of the fleet, in order.
    """
    ends = np.array(boundaries)
    devices = fleet.devices
    memory = _part_bytes(profile, boundaries)
    spans = tuple(
        np.where(memory <= device.available_bytes, _span_s(profile, device.name, boundaries), np.inf) for device in devices
    )
    source = None if fleet.source is None else fleet.names.index(fleet.source)
    between = [[0.0 if a is b else fleet.link(a.name, b.name).occupancy_s(1.0) for b in devices] for a in devices]
    none = np.zeros(len(devices))
    return Network(
        blocks=len(boundaries) - 1,
        span_s=spans,
        work=tuple(_prefix(profile.seconds_on(device.name))[ends] for device in devices),
        overhead_s=np.array([profile.overhead_s.get(device.name, 0.0) for device in devices]),
        cut_bytes=profile.cut_bytes[ends].astype(np.float64),
        result_bytes=result_bytes(profile)[ends].astype(np.float64),
        per_byte_s=np.array(between),
        enter_per_byte_s=none if source is None else np.array(between)[source],
        leave_per_byte_s=none if source is None else np.array(between)[:, source],
        source=source,
        part_bytes=memory,
        room_bytes=np.array([device.available_bytes for device in devices]),
    )


def _prefix(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def _span_s(profile: Profile, device: str, boundaries: Sequence[int]) -> Floats:
    count = len(boundaries)
    seconds = np.full((count, count), np.inf)
    for i, start in enumerate(boundaries):
        for j in range(i + 1, count):
            seconds[i, j] = profile.span_s(device, start, boundaries[j])
    return seconds


def _part_bytes(profile: Profile, boundaries: Sequence[int]) -> Floats:
    count = len(boundaries)
    nbytes = np.full((count, count), np.inf)
    place = {boundary: index for index, boundary in enumerate(boundaries)}
    for start, row in enumerate(memory_rows(profile)):
        if start in place:
            index = place[start]
            ends = np.array(boundaries[index + 1 :], dtype=np.int64)
            nbytes[index, index + 1 :] = row[ends - start - 1]
    return nbytes


def least_seconds(profile: Profile, fleet: Fleet) -> float:
    """Seconds per item that no plan is below, whatever its paths are: devices that share all work at will.

    Where times do not add up over nodes, a node counts with the least share that it has in any span.
    """
    return load_bound(node_seconds(profile, fleet)) * (1 - 1e-9)


def used_part(network: Network, flow: Flow) -> Flow:
    """The flow with what is not needed left out: devices and entries that no item uses.

    Fewer entries make fewer parts, which take less time, so that the flow may grow.
    """
    entered = _entered(flow)
    placement: list[Held | None] = []
    for device, held in enumerate(flow.placement):
        entries = sorted(entered.get(device, ()))
        placement.append(Held(entries[0], held.stop, tuple(entries[1:])) if held and entries else None)
    if tuple(placement) == tuple(flow.placement) or not all(
        held is None or network.fits(device, held) for device, held in enumerate(placement)
    ):
        return flow
    smaller = largest_flow(network, placement)
    return smaller if smaller.rate >= flow.rate * (1 - 1e-9) else flow


def _entered(flow: Flow) -> dict[int, set[int]]:
    """The boundaries at which items enter each device."""
    entered: dict[int, set[int]] = {}
    for source, target in flow.hops:
        if target != OUTSIDE:
            held = None if source == OUTSIDE else flow.placement[source]
            entered.setdefault(target, set()).add(held.stop if held else 0)
    return entered


def without_idle_starts(network: Network, flow: Flow) -> Network:
    """The network in which no device may hold a span that it holds in a flow and no item enters at its start."""
    spans = list(network.span_s)
    entered = _entered(flow)
    for device, held in enumerate(flow.placement):
        if held and held.start not in entered.get(device, ()):
            spans[device] = spans[device].copy()
            spans[device][held.start, held.stop] = np.inf
    return replace(network, span_s=tuple(spans))


def stages_and_paths(fleet: Fleet, boundaries: Sequence[int], flow: Flow) -> tuple[list[Stage], list[Path]]:
    """The parts of all devices as stages in topological order, and the paths of items through them.

    Args:
        fleet: The devices of the network.
        boundaries: The boundaries of the network's blocks.
        flow: A flow through the network.

    Returns:
        Stages, each on one device, and paths with their items per second.
    """
    paths = flow.paths()
    used: dict[tuple[int, int, int], int] = {}
    walks = []
    for devices, rate in paths:
        walk, at = [], 0
        for device in devices:
            held = flow.placement[device]
            assert held is not None
            walk += [(start, stop, device) for start, stop in held.parts if start >= at]
            at = held.stop
        walks.append((walk, rate))
    for number, part in enumerate(sorted({part for walk, _ in walks for part in walk})):
        used[part] = number
    stages = [Stage.span(fleet.names[device], boundaries[start], boundaries[stop]) for start, stop, device in used]
    return stages, [Path(tuple(used[part] for part in walk), rate) for walk, rate in walks]
