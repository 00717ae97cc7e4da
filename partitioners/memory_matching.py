"""Parts as large as their devices' memories: what Ianvs, exo and OpenVINO do when they split a model by themselves."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np

from multiedge.fleet import Device, Fleet
from multiedge.plan import Plan
from multiedge.profile import Floats, Ints, Profile
from partitioners.engine.balance import even_split
from partitioners.engine.contract import check_objective, relay_plan, unused

UNLIMITED_BYTES = 1 << 62
"""What a device without a limit counts as, so that several of them still get equal shares."""


class MemoryMatching:
    """Fills every device, in the order declared, to the same share of its memory, or as near to it as cuts allow.

    A share is memory needed / memory there less the margin, by the cost model and never above 1; no node is left over.
    Speeds and links play no part, which is what makes this a baseline.
    """

    def __init__(self, objective: str = "throughput") -> None:
        self.objective = check_objective(objective)

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The plan whose fullest device is emptiest; InfeasibleError if the memories do not do, in this order."""
        start = perf_counter()
        stages = even_split(profile, fleet.devices, _share_used, "memory")
        plan = relay_plan("memory_matching", self.objective, profile, fleet, stages)
        return replace(
            plan,
            solve_s=perf_counter() - start,
            left_out=unused(fleet, stages, "a part on it would fill some device more"),
        )


def _share_used(_start: int, device: Device, memory: Ints) -> Floats:
    limit = UNLIMITED_BYTES if device.plannable_bytes is None else max(1, device.plannable_bytes)
    return np.asarray((device.runtime_bytes + memory) / limit, dtype=np.float64)
