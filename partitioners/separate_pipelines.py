"""Separate pipelines: each kind of device serves the whole model by itself, and items are shared among the pipelines.

A baseline of Helix (Mei et al., "Helix: Serving Large Language Models over Heterogeneous GPUs and Network via Max-Flow", ASPLOS
2025, arXiv:2406.01566), and what is done where a serving system expects equal devices. The paper divides layers evenly, which
are all alike; here parts of a pipeline are as equal in time as cuts and memory allow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from time import perf_counter

from multiedge.errors import InfeasibleError
from multiedge.fleet import Device, Fleet
from multiedge.plan import Plan, Stage
from multiedge.planning.devices import times_key
from multiedge.profile import Profile
from partitioners.engine.balance import find_even_split, memory_remedy, seconds_load, smallest_fit
from partitioners.engine.contract import relay_plan, unused
from partitioners.engine.walks import Walk, plan_of_walks


class SeparatePipelines:
    """As many pipelines of equal devices as memory allows, the devices of a kind in the order declared.

    Devices are of one kind if they have the same times and memory; their links may differ. `mixed` makes one more pipeline, of
    all devices whose kind cannot hold the model by itself, as the paper's variant with mixed pipelines does.
    """

    def __init__(self, mixed: bool = False) -> None:
        self.mixed = mixed

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The plan, items in proportion to the pipelines' rates; InfeasibleError if no pipeline holds the model."""
        start = perf_counter()
        kinds = _kinds(profile, fleet)
        pipelines = [stages for kind in kinds for stages in _pipelines(profile, kind)]
        if self.mixed:
            held = {stage.device for stages in pipelines for stage in stages}
            rest = [device for kind in kinds if not held & {device.name for device in kind} for device in kind]
            pipelines += [stages for stages in [_even(profile, rest)] if stages]
        if not pipelines:
            raise self._infeasible(profile, fleet, kinds)
        walks = [_walk(profile, fleet, stages) for stages in pipelines]
        free = [walk for walk in walks if math.isinf(walk.items_per_s)]
        spans = {device: (first, stop) for walk in walks for device, first, stop in walk.parts}
        plan = plan_of_walks("separate_pipelines", profile, fleet, free[:1] or walks, spans)
        reasons = unused(fleet, plan.stages, "devices of its kind do not hold the model, or do so without it")
        return replace(plan, solve_s=perf_counter() - start, left_out=reasons)

    def _infeasible(self, profile: Profile, fleet: Fleet, kinds: Sequence[Sequence[Device]]) -> InfeasibleError:
        factor = min(smallest_fit(profile, devices) for devices in ([fleet.devices] if self.mixed else kinds))
        what = "a pipeline of all devices, in this order," if self.mixed else "a pipeline of equal devices"
        return InfeasibleError(
            f"no plan fits: the memory of {what} is too small for {profile.graph.name} on {fleet.name}; {memory_remedy(factor)}"
        )


def _kinds(profile: Profile, fleet: Fleet) -> list[list[Device]]:
    kinds: dict[object, list[Device]] = {}
    for device in fleet.devices:
        memory = (device.memory_bytes, device.memory_margin, device.runtime_bytes)
        kinds.setdefault((times_key(profile, device.name), memory), []).append(device)
    return list(kinds.values())


def _pipelines(profile: Profile, kind: Sequence[Device]) -> list[tuple[Stage, ...]]:
    """The stages of the largest number of pipelines; [] if the devices together cannot hold the model."""
    for count in range(len(kind), 0, -1):
        bounds = [round(number * len(kind) / count) for number in range(count + 1)]
        pipelines = [_even(profile, kind[first:stop]) for first, stop in pairwise(bounds)]
        held = [stages for stages in pipelines if stages]
        if len(held) == count:
            return held
    return []


def _even(profile: Profile, devices: Sequence[Device]) -> tuple[Stage, ...] | None:
    return find_even_split(profile, devices, seconds_load(profile, devices)) if devices else None


def _walk(profile: Profile, fleet: Fleet, stages: Sequence[Stage]) -> Walk:
    alone = relay_plan("separate_pipelines", "throughput", profile, fleet, stages)
    return Walk(tuple((stage.device, stage.nodes[0], stage.nodes[-1] + 1) for stage in stages), alone.estimate.fps_bound)
