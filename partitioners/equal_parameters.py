"""Parts of equal weight in bytes: splitting by layers' sizes, as pipeline launchers do by default."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np

from multiedge.fleet import Fleet
from multiedge.plan import Plan
from multiedge.profile import Profile
from partitioners.engine.balance import split_by_nodes
from partitioners.engine.contract import check_objective, relay_plan, unused


class EqualParameters:
    """Each device, in the order declared, gets as equal a share of the parameters' bytes as cuts and memory allow."""

    def __init__(self, objective: str = "throughput") -> None:
        self.objective = check_objective(objective)

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The plan whose largest part has the fewest parameter bytes; InfeasibleError if memories do not do in this order."""
        start = perf_counter()
        stages = split_by_nodes(profile, fleet, profile.parameter_bytes.astype(np.float64), "parameters")
        plan = relay_plan("equal_parameters", self.objective, profile, fleet, stages)
        return replace(
            plan,
            solve_s=perf_counter() - start,
            left_out=unused(fleet, stages, "a part on it would not make the largest one smaller"),
        )
