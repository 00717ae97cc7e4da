"""What to say, and what to advise, when no plan fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Fleet
from multiedge.planning.devices import exchangeable
from multiedge.profile import Profile
from multiedge.quantity import at_least, mib_at_least
from partitioners.engine.balance import NO_TIMES, memory_remedy, smallest_fit
from partitioners.engine.chain import Chain
from partitioners.engine.memory import memory_rows
from partitioners.engine.search import States, reachable
from partitioners.engine.windows import memory_windows

STEP_BYTES = 1 << 10
"""Advice on memory is rounded up to this."""


def infeasible(profile: Profile, fleet: Fleet) -> InfeasibleError:
    """The error for a fleet whose memories hold no contiguous plan, with the least memory, on one device, that would do.

    More memory never hurts, so a bisection finds the least; of exchangeable devices only the first is tried.
    """
    node, nbytes = largest_node(profile)
    room = {device.name: device.available_bytes for device in fleet.devices}
    roomiest = max(room, key=lambda name: room[name])
    what = f"no contiguous plan of {profile.graph.name} fits the memory of {fleet.name}"
    if nbytes > room[roomiest]:
        device = fleet.device(roomiest)
        runtime = f" and the runtime {device.runtime_bytes / 2**20:.1f} MiB" if device.runtime_bytes else ""
        runtime += f" with a margin of {100 * device.memory_margin:.3g}%" if device.memory_margin else ""
        what += (
            f": node {node} '{profile.graph.nodes[node].name}' alone needs {nbytes / 2**20:.1f} MiB{runtime},"
            f" the largest device, '{roomiest}', has {(device.memory_bytes or 0) / 2**20:.1f} MiB"
        )
    return InfeasibleError(f"{what}; {_advice(profile, fleet)}")


def _advice(profile: Profile, fleet: Fleet) -> str:
    """The least change of one device's memory that helps."""
    best, extra = "", np.iinfo(np.int64).max
    for group in exchangeable(profile, fleet):
        try:
            missing = least_extra_bytes(profile, fleet, group[0], below=extra)
        except ConfigError:
            return "how much more memory would do is not known: the devices are of too many kinds to search"
        if missing is not None:
            best, extra = group[0], missing
    return f"{mib_at_least(extra, 3)} MiB more on '{best}' would do" if best else NO_TIMES


def none_found(
    profile: Profile, fleet: Fleet, limits: str = "", *, proven: bool, latency_s: float | None = None
) -> InfeasibleError:
    """The error for a large fleet on which no plan was found that keeps the `limits`; `proven` if memory forbids all plans,
    `latency_s` that of the fastest plan that was found, None if none was."""
    what = f"no contiguous plan of {profile.graph.name}"
    remedy = memory_remedy(smallest_fit(profile, fleet.devices), "each device")
    if proven:
        return InfeasibleError(f"{what} fits the memory of {fleet.name}; {remedy}")
    asked = " ".join(filter(None, (fleet.name, limits)))
    unproven = f"was found, which is no proof that there is none: {len(fleet.devices)} devices have too many orders to try"
    if latency_s is not None:
        remedy = f"allow {at_least(latency_s * 1e3)} ms"
    return InfeasibleError(f"{what} on {asked} {unproven}; {remedy}")


def largest_node(profile: Profile) -> tuple[int, int]:
    """The node that needs most memory as a stage of its own, and how much."""
    alone = [int(row[0]) for row in memory_rows(profile)]
    node = int(np.argmax(alone))
    return node, alone[node]


def least_extra_bytes(profile: Profile, fleet: Fleet, name: str, below: int | None = None) -> int | None:
    """Bytes, in whole KiB, that device `name` lacks so that a plan fits, all else unchanged; 0 if one fits.

    None if it is not less than `below`, or no memory is enough, since the device has no times for the nodes.
    """
    device = fleet.device(name)
    limit = device.memory_bytes
    roomy = tuple(replace(other, memory_bytes=None) if other is device else other for other in fleet.devices)
    chain = Chain.of(profile, replace(fleet, devices=roomy))
    group = next(index for index, members in enumerate(chain.groups) if name in members)
    states = States(chain)
    if limit is None:
        return 0 if reachable(chain, states, np.inf) is not None else None

    def fits(extra: int) -> bool:
        windows = list(chain.windows)
        larger = replace(device, memory_bytes=limit + extra)
        windows[group] = memory_windows(profile, [larger.available_bytes], [chain.times[group]])[0]
        return reachable(replace(chain, windows=tuple(windows)), states, np.inf) is not None

    whole = device.memory_for(int(next(memory_rows(profile))[-1]) + device.runtime_bytes)
    low, high = -1, max(0, -(-(whole - limit) // STEP_BYTES))
    if below is not None and high >= below // STEP_BYTES:
        high = below // STEP_BYTES - 1
    if high < 0 or not fits(high * STEP_BYTES):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle * STEP_BYTES) else (middle, high)
    return high * STEP_BYTES


def least_memory_bytes(profile: Profile, fleet: Fleet) -> int:
    """Bytes, in whole KiB, to which every device's memory could be capped with a plan still fitting.

    InfeasibleError if none fits without a cap.
    """

    def fits(fleet: Fleet) -> bool:
        chain = Chain.of(profile, fleet)
        return reachable(chain, States(chain), np.inf) is not None

    if not fits(fleet):
        raise infeasible(profile, fleet)
    stages = int(next(memory_rows(profile))[-1])
    whole = max(device.memory_for(stages + device.runtime_bytes) for device in fleet.devices)
    low, high = 0, -(-whole // STEP_BYTES)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(fleet.with_memory_cap(middle * STEP_BYTES)) else (middle, high)
    return high * STEP_BYTES
