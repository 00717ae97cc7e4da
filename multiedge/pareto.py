"""The trade-off: plans of which none is better in one respect without being worse in another.

Respects are the bottleneck (throughput), the latency, the energy and the memory of the fullest device. Each end of the
front is an optimum of its own strategy; between the ends one respect is bounded step by step while another is optimised
(the epsilon-constraint method), so every plan on the front is optimal for some bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from multiedge.backends.automatic import resolved_fleet
from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Plan
from multiedge.planning.memory import device_memory
from multiedge.profile import Profile
from partitioners.energy import Energy
from partitioners.engine.remedy import least_memory_bytes
from partitioners.latency import Latency
from partitioners.throughput import Throughput


def front(profile: Profile, fleet: Fleet, *, steps: int = 6, time_limit_s: float = 1.0) -> tuple[Plan, ...]:
    """The plans of the front, highest throughput first; `steps` bounds per pair of respects, `time_limit_s` for each plan
    of least energy. InfeasibleError if no plan fits. Energy plays no part where no device declares power."""
    return undominated(_candidates(profile, resolved_fleet(fleet, profile.graph.path), steps, time_limit_s))


def respects(plan: Plan) -> tuple[float, float, float, float]:
    """Bottleneck seconds, latency seconds, joules (inf if not known) and bytes on the fullest device; less is better."""
    expected = plan.estimate
    energy_j = np.inf if expected.energy_j is None else expected.energy_j
    return expected.bottleneck_s, expected.latency_s, energy_j, float(max(expected.planned_bytes.values()))


def undominated(plans: Iterable[Plan]) -> tuple[Plan, ...]:
    """The plans that no other equals or beats in every respect, by bottleneck; of equal ones the first."""
    kept: list[Plan] = []
    for plan in sorted(plans, key=respects):
        mine = np.array(respects(plan)) * (1 + 1e-9)
        if not any((np.array(respects(other)) <= mine).all() for other in kept):
            kept.append(plan)
    return tuple(kept)


def _candidates(profile: Profile, fleet: Fleet, steps: int, time_limit_s: float) -> Iterator[Plan]:
    fastest = Throughput().plan(profile, fleet)
    quickest = Latency().plan(profile, fleet)
    yield from (fastest, quickest)
    for bottleneck_s in _between(fastest.value, quickest.estimate.bottleneck_s, steps):
        yield from _if_any(Latency(min_fps=1 / bottleneck_s), profile, fleet)
    if any(device.power for device in fleet.devices):
        thriftiest = Energy(tolerance=0.01, time_limit_s=time_limit_s).plan(profile, fleet)
        yield thriftiest
        for bottleneck_s in _between(fastest.value, thriftiest.estimate.bottleneck_s, steps):
            yield from _if_any(Energy(min_fps=1 / bottleneck_s, tolerance=0.01, time_limit_s=time_limit_s), profile, fleet)
        for latency_s in _between(quickest.value, thriftiest.estimate.latency_s, steps):
            yield from _if_any(Energy(max_latency_s=latency_s, tolerance=0.01, time_limit_s=time_limit_s), profile, fleet)
    for nbytes in _between(least_memory_bytes(profile, fleet), respects(fastest)[3], steps):
        for plan in _if_any(Throughput(), profile, fleet.with_memory_cap(int(nbytes))):
            yield _with_real_limits(plan, fleet)


def _between(low: float, high: float, steps: int) -> list[float]:
    """`steps` values from `low` up towards `high`, in equal ratios."""
    if not 0 < low < high:
        return [low] if low > 0 else []
    return [float(value) for value in np.geomspace(low, high, steps + 1)[:-1]]


def _if_any(strategy: Latency | Energy | Throughput, profile: Profile, fleet: Fleet) -> list[Plan]:
    """The strategy's plan, or nothing where its bounds exclude all."""
    try:
        return [strategy.plan(profile, fleet)]
    except InfeasibleError:
        return []


def _with_real_limits(plan: Plan, fleet: Fleet) -> Plan:
    """The plan made under a cap on memory, its limits again those of the devices."""
    stages = tuple(
        replace(expected, memory_limit_bytes=fleet.least_memory_bytes(stage.devices))
        for stage, expected in zip(plan.stages, plan.estimate.stages, strict=True)
    )
    planned_bytes = plan.estimate.planned_bytes
    most = max(planned_bytes.values())
    return replace(
        plan,
        estimate=replace(plan.estimate, stages=stages, memory=device_memory(fleet, planned_bytes)),
        scope=plan.scope and replace(plan.scope, most_memory_bytes=most),
    )
