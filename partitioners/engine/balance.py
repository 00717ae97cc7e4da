"""Even splits: the baselines that look at one quantity and at the order in which devices were declared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from multiedge.errors import InfeasibleError
from multiedge.fleet import Device, Fleet
from multiedge.plan import Stage
from multiedge.profile import Floats, Ints, Profile
from multiedge.quantity import at_least
from partitioners.engine.memory import memory_rows
from partitioners.engine.times import stage_times

MOST_SPLIT_CELLS = 500_000_000
"""Stages times devices up to which a split takes a few seconds."""
NO_TIMES = (
    "more memory would not do, since the profile has no times for the spans that devices would hold; measure more of them"
)
"""The remedy where spans of nodes have no times."""
Load = Callable[[int, Device, Ints], Floats]
"""load(start, device, memory): how much the stages [start, start+1) ... [start, n), of `memory` bytes, burden `device`."""


def even_split(profile: Profile, devices: Sequence[Device], load: Load, share: str) -> tuple[Stage, ...]:
    """What `find_even_split` finds; InfeasibleError if no cut fits the memories in this order. `share` names what is split."""
    stages = find_even_split(profile, devices, load)
    if not stages:
        raise no_split(profile, devices, share)
    return stages


def no_split(profile: Profile, devices: Sequence[Device], share: str) -> InfeasibleError:
    """The error for devices whose memories hold no contiguous plan in this order. `share` names what is split."""
    order = ", ".join(f"'{device.name}'" for device in devices)
    return InfeasibleError(
        f"no plan fits: memory of {order}, in this order, is too small for {profile.graph.name} split by {share};"
        f" {memory_remedy(smallest_fit(profile, devices))}"
    )


def memory_remedy(factor: float, each: str = "each") -> str:
    """What would help: so many times the memory, or more times where the profile has none for what devices would hold."""
    if math.isfinite(factor):
        return f"{at_least(factor, 4)} times the memory on {each} would do"
    return NO_TIMES


def splits_by_memory(profile: Profile, fleet: Fleet) -> Iterator[tuple[Stage, ...]]:
    """Plans that fill every device to the same share of its memory, in the order declared and with the largest first, as far as
    they exist and take a few seconds to find."""
    if len(profile) ** 2 * len(fleet.devices) > MOST_SPLIT_CELLS:
        return
    by_size = sorted(fleet.devices, key=lambda device: -device.available_bytes)
    for order in (fleet.devices, tuple(by_size)):
        stages = find_even_split(profile, order, _share_of_room)
        if stages:
            yield stages


def _share_of_room(_start: int, device: Device, memory: Ints) -> Floats:
    return np.asarray(memory / max(device.available_bytes, 1.0), dtype=np.float64)


def find_even_split(profile: Profile, devices: Sequence[Device], load: Load) -> tuple[Stage, ...] | None:
    """The contiguous stages, devices in the order given, whose largest load is smallest, none of which ends inside a fused
    node; None if memory forbids all, or devices have no times for them.

    best[d][q] = min over p < q of max(best[d-1][p], load(p, d, q)), or best[d-1][q] where device d stays idle: exact,
    O(devices * n^2).
    """
    count = len(profile)
    tables = [profile.span_matrix_s(device.name) for device in devices]
    best = np.full((len(devices) + 1, count + 1), np.inf)
    begin = np.full((len(devices) + 1, count + 1), -1, dtype=np.int64)
    best[:, 0] = -np.inf
    for start, memory in enumerate(memory_rows(profile)):
        for index, device in enumerate(devices, start=1):
            _leave_idle(best, begin, index, start)
            fits = (memory <= device.available_bytes) & profile.open_boundaries[start + 1 :]
            table = tables[index - 1]
            if table is not None:
                fits &= np.isfinite(table[start, start + 1 :])
            largest = np.maximum(best[index - 1, start], np.where(fits, load(start, device, memory), np.inf))
            better = largest < best[index, start + 1 :]
            best[index, start + 1 :][better] = largest[better]
            begin[index, start + 1 :][better] = start
    for index in range(1, len(devices) + 1):
        _leave_idle(best, begin, index, count)
    return _stages(begin, devices) if np.isfinite(best[-1, count]) else None


def _leave_idle(best: Floats, begin: Ints, index: int, boundary: int) -> None:
    """Device `index` takes no part up to `boundary` if that is at least as good; begin is -1 there."""
    if best[index - 1, boundary] <= best[index, boundary]:
        best[index, boundary] = best[index - 1, boundary]
        begin[index, boundary] = -1


def _stages(begin: Ints, devices: Sequence[Device]) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    stop = begin.shape[1] - 1
    for index in range(len(devices), 0, -1):
        start = int(begin[index, stop])
        if start >= 0 and stop > 0:
            stages.append(Stage.span(devices[index - 1].name, start, stop))
            stop = start
    return tuple(reversed(stages))


def smallest_fit(profile: Profile, devices: Sequence[Device]) -> float:
    """The factor by which every memory must grow, or may shrink, so that the devices in this order just hold the model; inf
    if they have no times for what they would hold."""
    limits = {device.name: math.inf if device.memory_bytes is None else max(1, device.memory_bytes) for device in devices}

    def used(_start: int, device: Device, memory: Ints) -> Floats:
        needed = (1 + device.memory_margin) * (device.runtime_bytes + memory)
        return np.asarray(needed / limits[device.name], dtype=np.float64)

    stages = find_even_split(profile, [replace(device, memory_bytes=None) for device in devices], used) or ()
    if not stages:
        return math.inf
    by_name = {device.name: device for device in devices}
    at = {stage.nodes[0]: (by_name[stage.device], len(stage.nodes) - 1) for stage in stages}
    rows = enumerate(memory_rows(profile))
    return max(float(used(start, at[start][0], memory)[at[start][1]]) for start, memory in rows if start in at)


def seconds_load(profile: Profile, devices: Sequence[Device]) -> Load:
    """The load of a stage that is its time on its device."""
    times = stage_times(profile, [device.name for device in devices])

    def seconds(start: int, device: Device, _memory: Ints) -> Floats:
        return np.asarray(times[device.name].row(start) + profile.overhead_s.get(device.name, 0.0))

    return seconds


def split_by_nodes(profile: Profile, fleet: Fleet, weights: Floats, share: str) -> tuple[Stage, ...]:
    """Stages over the devices as declared whose largest sum of `weights` (n,) is smallest."""
    total = np.concatenate([[0.0], np.cumsum(weights)])
    return even_split(profile, fleet.devices, lambda start, _device, _memory: total[start + 1 :] - total[start], share)
