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
from multiedge.plan import Plan
from multiedge.profile import Profile
from multiedge.proof import CONTIGUOUS
from multiedge.quantity import at_most
from partitioners.engine.chain import Chain
from partitioners.engine.contract import most_bottleneck_s, relay_plan, unused
from partitioners.engine.fastest import fastest
from partitioners.engine.kinds import NOTE, chains
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
        most_s = self.most_s
        found = fastest(pessimistic, most_s, deadline_s=start + self.time_limit_s)
        if not found.path:
            raise too_strict(pessimistic, most_s)
        bound_s = found.price
        if optimistic is not pessimistic:
            bound_s = fastest(optimistic, most_s, deadline_s=start + 2 * self.time_limit_s).price
        stages = pessimistic.stages(found.path)
        plan = relay_plan("latency", "latency", profile, fleet, stages)
        return replace(
            plan,
            lower_bound=plan.value if math.isclose(plan.value, bound_s, rel_tol=1e-9) else min(plan.value, bound_s),
            scope=replace(CONTIGUOUS, least_fps=1 / most_s if np.isfinite(most_s) else None),
            solve_s=perf_counter() - start,
            left_out=unused(fleet, stages, f"no plan that uses it is faster than {bound_s * 1e3:.4g} ms"),
            notes=() if optimistic is pessimistic else (NOTE.format(kinds=len(optimistic.groups), count=len(fleet.devices)),),
        )


def too_strict(chain: Chain, most_s: float) -> InfeasibleError:
    """The error for a bottleneck that no plan keeps, with the smallest that one does, or for memory that holds none."""
    least = smallest_bottleneck(chain)
    return InfeasibleError(
        f"no contiguous plan of {chain.profile.graph.name} on {chain.fleet.name} gives"
        f" {1 / most_s:.6g} items/s; ask for {at_most(1 / least.seconds)} items/s, the most possible"
    )
