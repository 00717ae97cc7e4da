"""The shortest time for one request: the contiguous plan with the least sum of computing and sending, proven.

The recurrence f[S, u][q] = min over p of f[S without u, w][p] + transfer(w, u, p) + compute(u, [p, q)) runs over all
sets S of devices, as in the shortest-path formulation of model splitting (DADS, IONN), here for any number of devices,
any order of them and hard memory limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, Stage
from multiedge.planning.devices import exchangeable
from multiedge.profile import Profile
from multiedge.proof import CONTIGUOUS, Scope
from multiedge.quantity import at_most
from partitioners.engine.chain import Chain, is_searchable
from partitioners.engine.contract import Pinnable, most_bottleneck_s, relay_plan, unused
from partitioners.engine.fastest import fastest
from partitioners.engine.kinds import NOTE, chains, seconds_alone, sub_fleets
from partitioners.engine.large_fleets import least_latency
from partitioners.engine.priced import is_priceable
from partitioners.engine.remedy import none_found
from partitioners.throughput import Throughput, smallest_bottleneck

NEARLY_PROVEN = 1.001
"""A plan on a large fleet that is so near to its bound is taken as it is."""


class Latency(Pinnable):
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
        if is_searchable(exchangeable(profile, fleet), len(profile)):
            chain = Chain.of(profile, fleet)
            found = fastest(chain, self.most_s, deadline_s=start + self.time_limit_s)
            if not found.path:
                raise too_strict(chain, self.most_s)
            plan, bound_s = self._plan(profile, fleet, [chain.stages(found.path)]), found.price
        else:
            plan, bound_s = self._on_large_fleet(profile, fleet, start + self.time_limit_s)
        return replace(
            plan,
            lower_bound=plan.value if math.isclose(plan.value, bound_s, rel_tol=1e-9) else min(plan.value, bound_s),
            scope=self._scope(),
            solve_s=perf_counter() - start,
            left_out=unused(fleet, plan.stages, f"no plan that uses it is faster than {bound_s * 1e3:.4g} ms"),
        )

    def _plan(self, profile: Profile, fleet: Fleet, candidates: Sequence[Sequence[Stage]]) -> Plan:
        """The fastest of several plans."""
        plans = [relay_plan("latency", "latency", profile, fleet, stages) for stages in candidates]
        return min(plans, key=lambda plan: plan.value)

    def _on_large_fleet(self, profile: Profile, fleet: Fleet, deadline_s: float) -> tuple[Plan, float]:
        """The best of several plans, and a bound. Similar devices are merged only where prices of devices leave a gap."""
        candidates, bound_s = self._by_prices(profile, fleet, deadline_s)
        notes: tuple[str, ...] = ()
        if not candidates or self._plan(profile, fleet, candidates).value > bound_s * NEARLY_PROVEN:
            optimistic, pessimistic = chains(profile, fleet)
            found = fastest(pessimistic, self.most_s, deadline_s=deadline_s)
            candidates += [pessimistic.stages(found.path)] if found.path else []
            candidates += self._on_parts(profile, fleet, deadline_s)
            bound_s = max(bound_s, fastest(optimistic, self.most_s, deadline_s=deadline_s).price)
            notes = (NOTE.format(kinds=len(optimistic.groups), count=len(fleet.devices)),)
        if not candidates:
            raise self._none_found(profile, fleet, bound_s)
        plan = self._plan(profile, fleet, candidates)
        return replace(plan, notes=(*notes, *plan.notes)), bound_s

    def _scope(self) -> Scope:
        return replace(CONTIGUOUS, least_fps=1 / self.most_s if np.isfinite(self.most_s) else None)

    def _by_prices(self, profile: Profile, fleet: Fleet, deadline_s: float) -> tuple[list[tuple[Stage, ...]], float]:
        """The plan that prices of devices lead to, if there is one, and their bound."""
        chain = Chain.of(profile, fleet, searched=False)
        if not is_priceable(chain):
            return [], 0.0
        best = least_latency(chain, self.most_s, deadline_s)
        return [chain.stages(best.path)] if best.path else [], best.bound

    def _none_found(self, profile: Profile, fleet: Fleet, bound_s: float) -> InfeasibleError:
        """The error for a large fleet: memory forbids all plans, or a plan without `min_fps` says what is possible."""
        if np.isfinite(self.most_s):
            possible = at_most(1 / Throughput(time_limit_s=self.time_limit_s).plan(profile, fleet).value)
            return InfeasibleError(
                f"no contiguous plan of {profile.graph.name} on {fleet.name} was found that gives {1 / self.most_s:.6g}"
                f" items/s; ask for {possible} items/s"
            )
        return none_found(profile, fleet, proven=bool(np.isinf(bound_s)))

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
