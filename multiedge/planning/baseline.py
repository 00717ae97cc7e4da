"""The best single device: what a plan is compared with."""

from __future__ import annotations

from multiedge.fleet import Fleet
from multiedge.plan import Baseline, Stage, Transfer, relay_transfers
from multiedge.planning.checks import memory_violations
from multiedge.planning.cost import estimate, objective_value
from multiedge.profile import Profile


def best_single(profile: Profile, fleet: Fleet, objective: str) -> Baseline:
    """The whole model on each device alone, by the cost model that plans use.

    Args:
        profile: Costs of the model.
        fleet: The devices.
        objective: 'throughput', 'latency' or 'energy'.

    Returns:
        The device with the smallest value of the objective among those whose memory holds the model.
    """
    known = [device for device in fleet.names if device in profile.seconds]
    expected = {device: estimate(profile, fleet, *_alone(profile, device)) for device in known}
    values = {device: objective_value(objective, expected[device]) for device in known}
    for device in sorted(values, key=lambda device: values[device]):
        if not memory_violations(profile, fleet, *_alone(profile, device)):
            return Baseline(device, values[device], profile.knowledge_of((device,)), expected[device].expected_s)
    return Baseline()


def _alone(profile: Profile, device: str) -> tuple[list[Stage], tuple[Transfer, ...]]:
    stages = [Stage.span(device, 0, len(profile))]
    return stages, relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())
