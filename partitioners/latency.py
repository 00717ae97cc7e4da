"""The shortest time for one request: the contiguous plan with the least sum of computing and sending, proven.

The recurrence f[S, u][q] = min over p of f[S without u, w][p] + transfer(w, u, p) + compute(u, [p, q)) runs over all
sets S of devices, as in the shortest-path formulation of model splitting (DADS, IONN), here for any number of devices,
any order of them and hard memory limits.
"""

from __future__ import annotations

import math
from dataclasses import replace
from time import perf_counter

import numpy as np

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, Stage
from multiedge.profile import Profile
from multiedge.proof import CONTIGUOUS
from multiedge.quantity import at_most
from partitioners.engine.chain import Chain
from partitioners.engine.contract import most_bottleneck_s, relay_plan, unused
from partitioners.engine.fastest import fastest
from partitioners.engine.kinds import NOTE, chains, seconds_alone, sub_fleets
from partitioners.throughput import smallest_bottleneck


class Latency:
    """Least latency of one request in an idle pipeline, over any order and subset of the devices; memory limits hard.

    With `min_fps`, the plan also reaches at least that many items per second. Where a model makes outputs before its last node,
    `time_limit_s` ends the search early, with the gap then proven.
    """

    def __init__(self, min_fps: float | None = None, time_limit_s: float = 10.0) -> None:
        self.most_s = most_bottleneck_s(min_fps)
        self.time_limit_s = time_limit_s

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The contiguous plan of least latency and its bound; InfeasibleError if memory or the bottleneck forbid all."""
        start = perf_counter()
        optimistic, pessimistic = chains(profile, fleet)
        found = fastest(pessimistic, self.most_s, deadline_s=start + self.time_limit_s)
        candidates = [pessimistic.stages(found.path)] if found.path else []
        bound_s = found.price
        if optimistic is not pessimistic:
            candidates += self._on_parts(profile, fleet, start + self.time_limit_s)
            bound_s = fastest(optimistic, self.most_s, deadline_s=start + self.time_limit_s).price
        if not candidates:
            raise too_strict(pessimistic, self.most_s)
        plans = [relay_plan("latency", "latency", profile, fleet, stages) for stages in candidates]
        plan = min(plans, key=lambda plan: plan.value)
        return replace(
            plan,
            lower_bound=plan.value if math.isclose(plan.value, bound_s, rel_tol=1e-9) else min(plan.value, bound_s),
            scope=replace(CONTIGUOUS, least_fps=1 / self.most_s if np.isfinite(self.most_s) else None),
            solve_s=perf_counter() - start,
            left_out=unused(fleet, plan.stages, f"no plan that uses it is faster than {bound_s * 1e3:.4g} ms"),
            notes=() if optimistic is pessimistic else (NOTE.format(kinds=len(optimistic.groups), count=len(fleet.devices)),),
        )

    def _on_parts(self, profile: Profile, fleet: Fleet, deadline_s: float) -> list[tuple[Stage, ...]]:
        """The fastest plan on the fastest and on the largest devices alone, as far as there is one."""
        chosen = []
        for part in sub_fleets(profile, fleet, seconds_alone(profile), lambda device: -device.available_bytes):
            chain = Chain.of(profile, part)
            path = fastest(chain, self.most_s, deadline_s=deadline_s).path
            chosen += [chain.stages(path)] if path else []
        return chosen


def too_strict(chain: Chain, most_s: float) -> InfeasibleError:
    """The error for a bottleneck that no plan keeps, with the smallest that one does, or for memory that holds none."""
    least = smallest_bottleneck(chain)
    return InfeasibleError(
        f"no contiguous plan of {chain.profile.graph.name} on {chain.fleet.name} gives"
        f" {1 / most_s:.6g} items/s; ask for {at_most(1 / least.seconds)} items/s, the most possible"
    )
