"""The most items per second over several paths: unlike replicas, and boundaries that differ between paths.

Each device holds consecutive nodes. Items enter it at its first node, or where another device has ended inside its span, and
then it computes what is missing; they leave it at its end. The rates of all paths together are a flow, limited by the time of
devices and links (Helix, ASPLOS 2025). A mixed integer program (`flow_milp`) chooses the spans, with all boundaries for small
models and with those that matter for large ones. Where all nodes are alike, as the layers of a language model are,
`flow_uniform` counts devices instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np

from multiedge.errors import ConfigError, InfeasibleError, ProfileError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, path_transfers
from multiedge.planning import cost
from multiedge.profile import Profile
from multiedge.proof import Plans, Scope
from partitioners.engine.contract import unused
from partitioners.engine.flow_milp import is_complete, solve
from partitioners.engine.flow_model import least_seconds, network_of, stages_and_paths, used_part, without_idle_starts
from partitioners.engine.flow_network import Flow as FoundFlow
from partitioners.engine.flow_uniform import solve_uniform
from partitioners.throughput import Throughput

MOST_BLOCKS = 6
"""Blocks of models whose every boundary, and every subset of them as entries, is tried."""
CHOSEN_BLOCKS = 12
"""Blocks between the boundaries that are chosen in larger models."""
MOST_UNIFORM = 200
"""Nodes of models that are searched by counting devices."""
MOST_ROUNDS = 5
"""Solutions after which a span that is better held than used is no longer replaced."""
PROVEN = 1e-3
"""A gap above this one means that the time limit has ended the search."""
SAME = 1e-6


class Flow:
    """Largest throughput over placements in which each device holds one span of nodes and items take several paths.

    For models of at most 6 nodes all placements are covered, and the bound holds for them. Larger ones are cut at boundaries
    that are chosen near those of the best plan so far; their bound is that of the load, which holds for all plans.
    `time_limit_s` ends the search; `seed` decides which of many equal devices takes which place where all nodes are alike.
    """

    def __init__(self, time_limit_s: float = 20.0, seed: int = 0) -> None:
        if not time_limit_s > 0:
            raise ConfigError(f"time_limit_s: expected seconds above 0, got {time_limit_s!r}")
        self.time_limit_s = time_limit_s
        self.seed = seed

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The plan and its bound; InfeasibleError if no placement was found."""
        begin = perf_counter()
        deadline_s = begin + self.time_limit_s
        boundaries = _boundaries(profile, MOST_BLOCKS)
        complete = len(boundaries) == int(profile.open_boundaries.sum())
        best = _plan_at(profile, fleet, boundaries, deadline_s, complete=complete)
        if not complete:
            best = self._refined(profile, fleet, best, deadline_s)
        elif best is None or (best.gap or 0.0) > PROVEN:
            best = _better(best, _best_chain(profile, fleet, self.time_limit_s))
        if best is None:
            raise InfeasibleError(
                f"no placement of {profile.graph.name} on {fleet.name} was found; raise memory, or add devices"
            )
        reasons = unused(fleet, best.stages, "the best plan that was found does without it")
        return replace(best, solve_s=perf_counter() - begin, left_out=reasons)

    def _refined(self, profile: Profile, fleet: Fleet, best: Plan | None, deadline_s: float) -> Plan | None:
        """The best plan over boundaries near those of the best so far, until none is better or time is over."""
        chain = _best_chain(profile, fleet, (deadline_s - perf_counter()) / 4)
        alike = _uniform(profile, fleet, (deadline_s - perf_counter()) / 2, self.seed)
        best = min(filter(None, (best, chain, alike)), key=lambda plan: plan.value, default=None)
        bound_s = least_seconds(profile, fleet)
        step = max(1, len(profile) // CHOSEN_BLOCKS)
        while perf_counter() < deadline_s and (best is None or best.value > bound_s * (1 + PROVEN)):
            boundaries = _boundaries(profile, CHOSEN_BLOCKS, best, step)
            left_s = deadline_s - perf_counter()
            better = _plan_at(profile, fleet, boundaries, perf_counter() + max(left_s / 2, 1.0), complete=False)
            if better and (best is None or better.value < best.value * (1 - SAME)):
                best = better
            elif step == 1:
                break
            else:
                step = max(1, step // 2)
        if best is None:
            return None
        return replace(best, lower_bound=min(bound_s, best.value), scope=Scope(Plans.ALL, replicas=True))


def _better(best: Plan | None, chain: Plan | None) -> Plan | None:
    """The plan of the smaller value, with the bound of the first one."""
    if best is None or chain is None:
        return best or chain
    if best.value <= chain.value:
        return best
    bound = None if best.lower_bound is None else min(best.lower_bound, chain.value)
    return replace(chain, lower_bound=bound, scope=best.scope)


def _boundaries(profile: Profile, most: int, best: Plan | None = None, step: int = 1) -> list[int]:
    """At most `most` + 1 boundaries: those of the best plan and their neighbours, then those that divide the work evenly."""
    usable = np.nonzero(profile.open_boundaries)[0].tolist()
    if len(usable) <= most + 1:
        return usable
    count = usable[-1]
    chosen = {0, count}
    held = [] if best is None else sorted({stage.nodes[0] for stage in best.stages} - chosen)
    for distance in (0, step, -step):
        for boundary in held:
            near = min(usable, key=lambda each: abs(each - boundary - distance))
            if len(chosen) <= most:
                chosen.add(near)
    work = np.mean([profile.seconds_on(name) for name in profile.seconds], axis=0)
    total = np.concatenate([[0.0], np.cumsum(work)])
    for share in np.linspace(0, total[-1], most + 1)[1:-1]:
        near = min(usable, key=lambda each: abs(float(total[each]) - float(share)))
        if len(chosen) <= most:
            chosen.add(near)
    return sorted(chosen)


def _best_chain(profile: Profile, fleet: Fleet, time_limit_s: float) -> Plan | None:
    """The best plan with one path; None if there is none or it cannot be searched for."""
    try:
        plan = Throughput(time_limit_s=max(time_limit_s, 0.1)).plan(profile, fleet)
    except (InfeasibleError, ProfileError, ConfigError):
        return None
    return replace(plan, strategy="flow", lower_bound=None, scope=None, notes=())


def _uniform(profile: Profile, fleet: Fleet, time_limit_s: float, seed: int) -> Plan | None:
    """The plan by counting devices, where all blocks are alike and no part costs more; None where they are not.

    It is sought as if an item took the time of a whole span wherever it enters, which the plan's own estimate does not exceed.
    """
    if any(profile.overhead_s.get(name) for name in fleet.names) or len(profile) > MOST_UNIFORM:
        return None
    boundaries = np.nonzero(profile.open_boundaries)[0].tolist()
    network = network_of(profile, fleet, boundaries)
    whole = replace(network, work=(None,) * len(network))
    if not whole.is_uniform:
        return None
    flow = solve_uniform(whole, time_limit_s=time_limit_s, seed=seed).flow
    return _plan_of(profile, fleet, boundaries, flow) if flow.rate > 0 else None


def _plan_at(profile: Profile, fleet: Fleet, boundaries: Sequence[int], deadline_s: float, *, complete: bool) -> Plan | None:
    """The best plan that cuts at these boundaries only; None if none was found."""
    network = network_of(profile, fleet, boundaries)
    answer = solve(network, time_limit_s=deadline_s - perf_counter())
    plan = None
    for _ in range(MOST_ROUNDS):
        if answer.flow.rate <= 0:
            break
        plan = _plan_of(profile, fleet, boundaries, used_part(network, answer.flow))
        if plan.value <= (1 + SAME) / answer.flow.rate:
            break
        # A device would be quicker if it held nodes that no item needs there, which no plan says: without such spans.
        network = without_idle_starts(network, answer.flow)
        answer = replace(solve(network, time_limit_s=deadline_s - perf_counter()), most_rate=answer.most_rate)
    if plan is None or not plan.is_estimated:
        return None
    if not complete or not is_complete(network):
        return replace(plan, lower_bound=min(plan.value, least_seconds(profile, fleet)), scope=Scope(Plans.ALL, replicas=True))
    return replace(plan, lower_bound=min(plan.value, 1 / answer.most_rate), scope=Scope(Plans.PATHS))


def _plan_of(profile: Profile, fleet: Fleet, boundaries: Sequence[int], found: FoundFlow) -> Plan:
    stages, paths = stages_and_paths(fleet, boundaries, found)
    transfers = path_transfers(profile.graph, stages, paths, profile.cut_bytes.tolist())
    return cost.make_plan("flow", "throughput", profile, fleet, stages, transfers, paths=paths)
