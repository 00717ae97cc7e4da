"""What a plan is expected to do on an executor with other routes, or other costs of messages, than it was made for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from multiedge.fleet import Fleet
from multiedge.pipeline_cost import PipelineCost
from multiedge.plan import Plan, direct_transfers
from multiedge.planning import cost
from multiedge.profile import Profile


def routed(
    plan: Plan,
    profile: Profile,
    fleet: Fleet,
    by_caller: Collection[tuple[int, int]],
    pipeline: PipelineCost | None = None,
) -> Plan:
    """The plan with the estimate that holds where some of its transfers go by way of the caller, or messages cost more.

    Args:
        plan: A plan for direct transfers, as strategies make them.
        profile: The costs with which it was made.
        fleet: The devices; a caller without a device (`source`) has links that cost nothing.
        by_caller: The (source, target) of these transfers, as `Executor.by_caller` states them.
        pipeline: What the executor itself takes; None if it takes what the profile states.

    Returns:
        The plan itself if nothing differs. No stage forwards what it does not use to the caller.
    """
    if not by_caller and pipeline is None:
        return plan
    if pipeline is not None:
        profile = replace(profile, pipeline=pipeline)
    transfers = plan.transfers if plan.paths else direct_transfers(profile.graph, plan.stages)
    expected = cost.estimate(profile, fleet, plan.stages, transfers, plan.paths, by_caller)
    return replace(plan, estimate=replace(expected, memory=plan.estimate.memory))
