"""Swarm: stages of equal work, each on several unlike devices whose speeds together are alike.

The heuristic that Helix compares itself with (Mei et al., ASPLOS 2025, arXiv:2406.01566), after SWARM parallelism (Ryabinin et
al., "SWARM Parallelism: Training Large Models Can Be Surprisingly Communication-Efficient", ICML 2023): as few stages as the
device with the least memory allows; devices, the fastest first, each join the stage that has the least throughput so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np

from multiedge.errors import InfeasibleError
from multiedge.fleet import Device, Fleet
from multiedge.plan import Plan
from multiedge.profile import Profile
from multiedge.quantity import at_least
from partitioners.engine.balance import find_even_split, smallest_fit
from partitioners.engine.contract import unused
from partitioners.engine.times import node_seconds, stage_times
from partitioners.engine.walks import Spans, plan_of_walks, widest_walks

LEAST_S = float(np.finfo(np.float64).tiny)
"""What a stage without work is taken to take."""


class Swarm:
    """Stages of equal mean time, devices shared out by throughput, and items over the stages' devices by the time they have.

    Every device must be able to hold every stage. Where that is impossible, the devices with the least memory are left out, one
    by one; the paper's fleets have none such. Left out of it: half of the memory is kept for key-value caches, and each device
    knows a random few of the next stage only.
    """

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The plan; InfeasibleError if no number of devices can hold as many stages."""
        start = perf_counter()
        largest = sorted(fleet.devices, key=lambda device: -device.available_bytes)
        for count in range(len(largest), 0, -1):
            bounds = _stages(profile, fleet, largest[:count])
            if bounds:
                break
        else:
            raise _infeasible(profile, fleet, largest)
        spans = _shared_out(profile, [device for device in fleet.devices if device in largest[:count]], bounds)
        walks = widest_walks(profile, fleet, spans)
        plan = plan_of_walks("swarm", profile, fleet, walks, spans)
        small = {device.name for device in largest[count:]}
        reasons = {name: "it cannot hold every stage" if name in small else "no items are left for it" for name in fleet.names}
        return replace(plan, solve_s=perf_counter() - start, left_out=unused(fleet, plan.stages, reasons))


def _stages(profile: Profile, fleet: Fleet, devices: Sequence[Device]) -> list[tuple[int, int]]:
    """First node and end of each of the fewest stages of equal work that all the devices can hold; [] if there are too many."""
    work = node_seconds(profile, fleet).mean(axis=1)
    total = np.concatenate([[0.0], np.cumsum(work)])
    weakest = devices[-1]
    held = stage_times(profile, [device.name for device in devices]).values()
    for count in range(1, len(devices) + 1):
        equal = [replace(weakest, name=str(number)) for number in range(count)]
        stages = find_even_split(profile, equal, lambda start, _device, _memory: total[start + 1 :] - total[start])
        bounds = [(stage.nodes[0], stage.nodes[-1] + 1) for stage in stages or ()]
        if bounds and all(math.isfinite(times.between(*span)) for times in held for span in bounds):
            return bounds
    return []


def _shared_out(profile: Profile, devices: Sequence[Device], bounds: Sequence[tuple[int, int]]) -> Spans:
    """The stage of each device: the fastest first, to the stage with the least throughput, of equal ones the first."""

    times = stage_times(profile, [device.name for device in devices])

    def seconds(name: str, span: tuple[int, int]) -> float:
        return max(times[name].between(*span) + profile.overhead_s.get(name, 0.0), LEAST_S)

    fastest = sorted(devices, key=lambda device: sum(seconds(device.name, span) for span in bounds))
    throughput = [0.0] * len(bounds)
    spans = {}
    for device in fastest:
        stage = throughput.index(min(throughput))
        spans[device.name] = bounds[stage]
        throughput[stage] += 1.0 / seconds(device.name, bounds[stage])
    return spans


def _infeasible(profile: Profile, fleet: Fleet, largest: Sequence[Device]) -> InfeasibleError:
    def factor(count: int) -> float:
        """Times the memory with which each of so many devices can hold each of as many stages."""
        kinds = {(each.memory_bytes, each.memory_margin, each.runtime_bytes): each for each in largest[:count]}
        return max(
            smallest_fit(profile, [replace(device, name=str(number)) for number in range(count)]) for device in kinds.values()
        )

    least = min(factor(count) for count in range(1, len(largest) + 1))
    remedy = f"{at_least(least, 4)} times the memory on each would do"
    if not profile.spans.keys().isdisjoint(fleet.names):
        remedy = "plan with 'throughput' or 'flow', which need no device that has a time for every stage"
    return InfeasibleError(
        f"no plan fits: no number of devices of {fleet.name} can each hold every one of as many stages of {profile.graph.name};"
        f" {remedy}"
    )
