"""The parts that a person wrote down."""

from __future__ import annotations

from time import perf_counter

from multiedge.errors import PlanError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, direct_transfers, require
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.planning.points import stages_from_points
from multiedge.profile import Profile
from partitioners.engine.contract import check_objective, unused


class Manual:
    """`fleet.partition_points`, checked: every part as written, each tensor sent once to each part that reads it."""

    def __init__(self, objective: str = "throughput") -> None:
        self.objective = check_objective(objective)

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The hand-written plan; PlanError lists everything that keeps it from running, memory limits included."""
        start = perf_counter()
        if not fleet.partition_points:
            raise PlanError(
                f"{fleet.name}: strategy 'manual' needs partition_points, and there are none; add some or pick another strategy"
            )
        stages = stages_from_points(profile.graph, fleet.partition_points)
        transfers = direct_transfers(profile.graph, stages)
        require(violations(profile, fleet, stages, transfers), "hand-written plan")
        return cost.make_plan(
            "manual",
            self.objective,
            profile,
            fleet,
            stages,
            transfers,
            solve_s=perf_counter() - start,
            left_out=unused(fleet, stages, "no partition point names it"),
        )
