"""No split at all: the baseline of every split."""

from __future__ import annotations

import math
from dataclasses import replace
from time import perf_counter

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, Stage, relay_transfers
from multiedge.planning.memory import stage_memory_bytes
from multiedge.profile import Profile
from multiedge.proof import Plans, Scope
from multiedge.quantity import mib_at_least
from partitioners.engine.balance import NO_TIMES
from partitioners.engine.contract import Pinnable, check_objective, relay_plan, unused


class Single(Pinnable):
    """The whole model on the one device that does the objective best."""

    def __init__(self, objective: str = "throughput") -> None:
        self.objective = check_objective(objective)

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The best one-device plan; InfeasibleError with the smallest missing memory if the model fits none."""
        start = perf_counter()
        short = {name: self._missing_bytes(profile, fleet, name) for name in fleet.names}
        timed = [name for name in fleet.names if math.isfinite(profile.span_s(name, 0, len(profile)))]
        fitting = [name for name in timed if short[name] <= 0]
        if not timed:
            raise InfeasibleError(f"no plan fits: {profile.graph.name} as a whole has a time on no device; {NO_TIMES}")
        if not fitting:
            nearest = min(timed, key=lambda name: short[name])
            raise InfeasibleError(
                f"no plan fits: {profile.graph.name} as a whole is larger than the memory of every device;"
                f" {mib_at_least(short[nearest], 1)} MiB more on '{nearest}' would do"
            )
        plans = [self._on(profile, fleet, name) for name in fitting]
        best = min(plans, key=lambda plan: plan.value)
        reasons = {plan.stages[0].device: f"its {self.objective} value alone is {plan.value:.6g}" for plan in plans}
        reasons |= {name: "its profile has no time for the whole model" for name in fleet.names if name not in timed}
        reasons |= {
            name: f"the whole model needs {mib_at_least(missing, 1)} MiB more" for name, missing in short.items() if missing > 0
        }
        return replace(
            best,
            lower_bound=best.value,
            scope=Scope(Plans.ONE_DEVICE),
            solve_s=perf_counter() - start,
            left_out=unused(fleet, best.stages, reasons),
        )

    def _on(self, profile: Profile, fleet: Fleet, device: str) -> Plan:
        return relay_plan("single", self.objective, profile, fleet, [Stage.span(device, 0, len(profile))])

    def _missing_bytes(self, profile: Profile, fleet: Fleet, name: str) -> float:
        device, stages = fleet.device(name), [Stage.span(name, 0, len(profile))]
        entering, *leaving = relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())
        needed = device.runtime_bytes + stage_memory_bytes(profile, stages[0], [entering], leaving)
        return -math.inf if device.memory_bytes is None else device.memory_for(needed) - device.memory_bytes
