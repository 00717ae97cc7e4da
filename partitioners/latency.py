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
from partitioners.engine.cheapest import Cheapest, Prices, cheapest
from partitioners.engine.contract import most_bottleneck_s, relay_plan, unused
from partitioners.engine.kinds import NOTE, chains
from partitioners.engine.search import States
from partitioners.engine.suffixes import Question, best_within
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
        fastest = _fastest(pessimistic, most_s, start + self.time_limit_s)
        if not fastest.path:
            raise too_strict(pessimistic, most_s)
        bound_s = fastest.price
        if optimistic is not pessimistic:
            bound_s = _fastest(optimistic, most_s, start + 2 * self.time_limit_s).price
        stages = pessimistic.stages(fastest.path)
        plan = relay_plan("latency", "latency", profile, fleet, stages)
        return replace(
            plan,
            lower_bound=plan.value if math.isclose(plan.value, bound_s, rel_tol=1e-9) else min(plan.value, bound_s),
            scope=replace(CONTIGUOUS, least_fps=1 / most_s if np.isfinite(most_s) else None),
            solve_s=perf_counter() - start,
            left_out=unused(fleet, stages, f"no plan that uses it is faster than {bound_s * 1e3:.4g} ms"),
            notes=() if optimistic is pessimistic else (NOTE.format(kinds=len(optimistic.groups), count=len(fleet.devices)),),
        )


def _fastest(chain: Chain, most_s: float, deadline_s: float) -> Cheapest:
    """The path of least latency and a bound on the latency of all.

    Prices leave out results that stages before the last one return; where there are some, the search that counts them follows.
    """
    states, prices = States(chain), latency_prices(chain)
    least = cheapest(chain, states, prices, most_s)
    if not least.path or not chain.early_results:
        return least
    exact = best_within(chain, states, Question(prices, most_s=most_s), deadline_s)
    return Cheapest(exact.bound, list(exact.path) or least.path)


def too_strict(chain: Chain, most_s: float) -> InfeasibleError:
    """The error for a bottleneck that no plan keeps, with the smallest that one does, or for memory that holds none."""
    least = smallest_bottleneck(chain)
    return InfeasibleError(
        f"no contiguous plan of {chain.profile.graph.name} on {chain.fleet.name} gives"
        f" {1 / most_s:.6g} items/s; ask for {at_most(1 / least.seconds)} items/s, the most possible"
    )


def latency_prices(chain: Chain) -> Prices:
    """Seconds on the way of one item: its stages, its hand-overs, and its results back to where items arise."""
    group = [way.group for way in chain.ways]
    nodes = chain.seconds[group]
    finite = np.where(np.isfinite(chain.per_byte_s), chain.per_byte_s, 0.0)
    # A hand-over goes over one link whatever the number of replicas, so their shares are undone.
    members = np.array([way.replicas for way in chain.ways])
    sending = (finite * members[:, None] * members)[:, :, None] * chain.cut
    return Prices(
        nodes=nodes,
        last_nodes=nodes + (chain.leave_per_byte_s * members)[:, None] * chain.results,
        stage=chain.overhead_s[group],
        enter=chain.enter_latency_s + chain.enter_per_byte_s * members * chain.cut[0],
        hand_over=chain.latency_s[:, :, None] + sending,
        last_stage=chain.leave_latency_s,
    )
