"""What to say, and what to advise, when no plan fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.profile import Profile
from partitioners.chain import Chain
from partitioners.memory import memory_rows
from partitioners.search import States, reachable


def infeasible(profile: Profile, fleet: Fleet) -> InfeasibleError:
    """The error for a fleet whose memories hold no contiguous plan, with the least memory, on one device, that would do.

    Exact to the byte: more memory never hurts, so a bisection finds the least.
    """
    largest_node = min_memory_of_worst_node(profile)
    room = {device.name: device.memory_bytes - device.runtime_bytes for device in fleet.devices}
    needed = {name: least_extra_bytes(profile, fleet, name) for name in fleet.names}
    best = min(needed, key=lambda name: needed[name])
    roomiest = max(room, key=lambda name: room[name])
    what = f"no contiguous plan of {profile.graph.name} fits the memory of {fleet.name}"
    node, nbytes = largest_node
    if nbytes > room[roomiest]:
        what += (
            f": node {node} '{profile.graph.nodes[node].name}' alone needs {nbytes / 2**20:.1f} MiB,"
            f" the largest device, '{roomiest}', has {room[roomiest] / 2**20:.1f} MiB"
        )
    return InfeasibleError(f"{what}; {np.ceil(needed[best] / 2**10) / 2**10:.2f} MiB more on '{best}' would do")


def min_memory_of_worst_node(profile: Profile) -> tuple[int, int]:
    """The node that needs most memory as a stage of its own, and how much."""
    alone = [int(row[0]) for row in memory_rows(profile)]
    node = int(np.argmax(alone))
    return node, alone[node]


def least_extra_bytes(profile: Profile, fleet: Fleet, name: str) -> int:
    """Bytes that device `name` lacks so that a plan fits, all else unchanged; 0 if one fits."""
    device = fleet.device(name)
    whole = int(next(memory_rows(profile))[-1]) + device.runtime_bytes
    low, high = -1, max(0, whole - device.memory_bytes)
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(profile, fleet, name, device.memory_bytes + middle):
            high = middle
        else:
            low = middle
    return high


def _fits(profile: Profile, fleet: Fleet, name: str, memory_bytes: int) -> bool:
    devices = tuple(replace(device, memory_bytes=memory_bytes) if device.name == name else device for device in fleet.devices)
    chain = Chain.of(profile, replace(fleet, devices=devices))
    return reachable(chain, States(chain), np.inf) is not None
