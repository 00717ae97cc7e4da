"""A new plan for a fleet that has changed under a running one: least change first.

Weights that are loaded already are worth keeping: a stage that moves costs the bytes of its parameters over a network.
So the running plan is kept if it still fits and is nearly as good as the best; otherwise the cheapest repair that is so
good; otherwise the best.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise

import numpy as np

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, Stage, Transfer, direct_transfers, relay_transfers, require
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.planning.devices import exchangeable
from multiedge.planning.loading import bytes_held, bytes_to_load
from multiedge.profile import Ints, Profile
from partitioners import PARTITIONERS
from partitioners.engine.contract import Partitioner, unused

MOST_DEVICES = 12
"""The strategy plans for at most so many devices: those that hold stages and the fastest others."""
MOST_EXCHANGED = 64
"""Groups of more exchangeable devices keep the names that the strategy chose."""
MOST_SPLITS = 48
"""Places at which a stage whose device is lost may be divided between its neighbours."""


class Change(Enum):
    """What a re-planning did; the value is the text for people."""

    KEPT = "kept the running plan"
    SHIFTED = "moved {nodes} nodes between {devices}"
    REDUCED = "continued with the remaining replicas"
    MOVED = "moved the lost stage to {devices}"
    DIVIDED = "divided the lost stage between {devices}"
    PLANNED_ANEW = "planned anew"


@dataclass(frozen=True)
class Step:
    """A change with the devices and the number of nodes that it concerns."""

    change: Change
    devices: tuple[str, ...] = ()
    nodes: int = 0

    def __str__(self) -> str:
        return self.change.value.format(nodes=self.nodes, devices=" and ".join(f"'{device}'" for device in self.devices))


@dataclass(frozen=True)
class Replan:
    """`plan` is for the changed fleet. `moved_bytes` are parameters that devices must load which they do not hold yet;
    `step` is what was done, and `reason` states it and its cause for people. `changed` is False if the stages are those of
    the running plan."""

    plan: Plan
    moved_bytes: int
    step: Step
    reason: str
    changed: bool


@dataclass(frozen=True)
class _Option:
    stages: tuple[Stage, ...]
    transfers: tuple[Transfer, ...]
    value: float
    moved_bytes: int
    step: Step


def replan(
    running: Plan,
    profile: Profile,
    fleet: Fleet,
    *,
    tolerance: float = 0.05,
    low_battery_j: float = 0.0,
    strategy: Partitioner | None = None,
) -> Replan:
    """The plan with the fewest bytes to move among those within `tolerance` of the best known for the changed `fleet`.

    `profile` holds times for the devices as they are now. Devices with a declared battery of at most `low_battery_j`
    take no part. `strategy` finds the best; by default it is the one for the running plan's objective, for the
    devices in use and the fastest others. Raises InfeasibleError if nothing fits, ConfigError if no device is left.
    """
    usable = _usable(fleet, low_battery_j)
    options = list(_options(running, profile, usable))
    options += _best(running, profile, usable, strategy, needed=not options)
    limit = min(option.value for option in options) * (1 + tolerance)
    chosen = min((option for option in options if option.value <= limit), key=lambda each: (each.moved_bytes, each.value))
    plan = cost.make_plan(
        running.strategy,
        running.objective,
        profile,
        fleet,
        chosen.stages,
        chosen.transfers,
        left_out=unused(fleet, chosen.stages, "not needed to come within the tolerance of the best"),
        notes=(f"re-planned: {chosen.step}",),
    )
    changed = chosen.stages != running.stages
    return Replan(plan, chosen.moved_bytes, chosen.step, _reason(running, fleet, chosen, options), changed)


def _usable(fleet: Fleet, low_battery_j: float) -> Fleet:
    low = [device.name for device in fleet.devices if device.battery_j is not None and device.battery_j <= low_battery_j]
    if len(low) == len(fleet.devices):
        raise ConfigError(f"{fleet.name}: every device's battery is at {low_battery_j:g} J or below; no plan can be made")
    # A fleet whose source is not one of its devices is refused, so the source goes before its device does.
    return replace(fleet, source=None if fleet.source in low else fleet.source).without(*low)


def _options(running: Plan, profile: Profile, fleet: Fleet) -> Iterator[_Option]:
    """The running plan and its repairs, those that can run."""
    lost = [index for index, stage in enumerate(running.stages) if not set(stage.devices) <= set(fleet.names)]
    trials: list[tuple[tuple[Stage, ...], Step]] = []
    if not lost:
        trials.append((running.stages, Step(Change.KEPT)))
        trials += _shifts(profile, running.stages)
    else:
        trials += _repairs(profile, running.stages, lost, fleet)
    for stages, step in trials:
        option = _option(running, profile, fleet, stages, step)
        if option is not None:
            yield option


def _option(running: Plan, profile: Profile, fleet: Fleet, stages: Sequence[Stage], step: Step) -> _Option | None:
    transfers = _transfers_like(running, profile, stages)
    if violations(profile, fleet, stages, transfers):
        return None
    value = cost.objective_value(running.objective, cost.estimate(profile, fleet, stages, transfers))
    return _Option(tuple(stages), transfers, value, sum(bytes_to_load(profile.graph, running.stages, stages).values()), step)


def _transfers_like(running: Plan, profile: Profile, stages: Sequence[Stage]) -> tuple[Transfer, ...]:
    """Relay transfers if the running plan hands on and the new stages can, direct ones otherwise."""
    graph = profile.graph
    contiguous = [node for stage in stages for node in stage.nodes] == list(range(len(profile)))
    if contiguous and running.transfers != direct_transfers(graph, running.stages):
        return relay_transfers(graph, stages, profile.cut_bytes.tolist())
    return direct_transfers(graph, stages)


def _shifts(profile: Profile, stages: Sequence[Stage]) -> Iterator[tuple[tuple[Stage, ...], Step]]:
    """Boundaries between neighbouring contiguous stages moved by a little, not into fused nodes."""
    ends = np.nonzero(profile.open_boundaries)[0]
    for index, (left, right) in enumerate(pairwise(stages)):
        nodes = left.nodes + right.nodes
        if nodes != tuple(range(nodes[0], nodes[-1] + 1)):
            continue
        here = nodes[0] + len(left.nodes)
        for end in sorted({_next_end(ends, here + wish, forward=wish > 0) for wish in (-16, -4, -1, 1, 4, 16)}):
            if nodes[0] < end <= nodes[-1]:
                middle = end - nodes[0]
                pair = (replace(left, nodes=nodes[:middle]), replace(right, nodes=nodes[middle:]))
                step = Step(Change.SHIFTED, (left.device, right.device), abs(end - here))
                yield (*stages[:index], *pair, *stages[index + 2 :]), step


def _next_end(ends: Ints, boundary: int, *, forward: bool) -> int:
    """The first of the sorted `ends` at `boundary` or beyond it; -1 where there is none."""
    at = int(np.searchsorted(ends, boundary, side="left" if forward else "right")) - (not forward)
    return int(ends[at]) if 0 <= at < len(ends) else -1


def _repairs(
    profile: Profile, stages: Sequence[Stage], lost: Sequence[int], fleet: Fleet
) -> Iterator[tuple[tuple[Stage, ...], Step]]:
    """Stages of lost devices: replicas dropped, whole stages on another device, or divided between the neighbours."""
    present = set(fleet.names)
    reduced = [_reduced(stage, present) for stage in stages]
    gone = [index for index in lost if reduced[index] is None]
    kept = [stage for stage in reduced if stage is not None]
    if not gone:
        yield tuple(kept), Step(Change.REDUCED)
        return
    for device in _targets(stages, fleet):
        moved = [stage or replace(stages[index], device=device, replicas=()) for index, stage in enumerate(reduced)]
        yield _merged(moved), Step(Change.MOVED, (device,))
    if len(gone) == 1:
        yield from _divided(profile, stages, reduced, gone[0])


def _reduced(stage: Stage, present: set[str]) -> Stage | None:
    """The stage on those of its devices that are left, None if none is."""
    left = [device for device in stage.devices if device in present]
    return replace(stage, device=left[0], replicas=tuple(left[1:])) if left else None


def _targets(stages: Sequence[Stage], fleet: Fleet) -> list[str]:
    """Devices that may take a lost stage: the ones in use, and some that are idle."""
    used = {device for stage in stages for device in stage.devices}
    idle = [name for name in fleet.names if name not in used]
    return [*(name for name in fleet.names if name in used), *idle[:MOST_DEVICES]]


def _merged(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Neighbouring stages of one device as one, so that their boundary costs nothing."""
    found: list[Stage] = []
    for stage in stages:
        if found and found[-1].devices == stage.devices:
            found[-1] = replace(stage, nodes=tuple(sorted(found[-1].nodes + stage.nodes)))
        else:
            found.append(stage)
    return tuple(found)


def _divided(
    profile: Profile, stages: Sequence[Stage], reduced: Sequence[Stage | None], gone: int
) -> Iterator[tuple[tuple[Stage, ...], Step]]:
    if not 0 < gone < len(stages) - 1:
        return
    left, right = reduced[gone - 1], reduced[gone + 1]
    nodes = stages[gone].nodes
    if left is None or right is None:
        return
    whole = [middle for middle in range(len(nodes) + 1) if middle == len(nodes) or profile.open_boundaries[nodes[middle]]]
    for middle in sorted({whole[round(share * (len(whole) - 1) / MOST_SPLITS)] for share in range(MOST_SPLITS + 1)}):
        pair = (
            replace(left, nodes=tuple(sorted(left.nodes + nodes[:middle]))),
            replace(right, nodes=tuple(sorted(nodes[middle:] + right.nodes))),
        )
        others = [stage for stage in (*reduced[: gone - 1],) if stage], [stage for stage in reduced[gone + 2 :] if stage]
        yield (*others[0], *pair, *others[1]), Step(Change.DIVIDED, (left.device, right.device))


def _best(running: Plan, profile: Profile, fleet: Fleet, strategy: Partitioner | None, *, needed: bool) -> list[_Option]:
    """The strategy's plan, exchangeable devices swapped so that they keep what they hold; empty if it finds none."""
    candidates = _shortlist(running, profile, fleet)
    if len(candidates.devices) > MOST_DEVICES and strategy is None and not needed:
        return []
    solver = strategy or PARTITIONERS.load(running.objective)()
    try:
        best: Plan = solver.plan(profile, candidates)
    except InfeasibleError:
        if needed:
            raise
        return []
    stages = _relabelled(profile, fleet, running.stages, best.stages)
    require(violations(profile, fleet, stages, best.transfers), f"plan of strategy '{best.strategy}'")
    moved = sum(bytes_to_load(profile.graph, running.stages, stages).values())
    value = cost.objective_value(running.objective, cost.estimate(profile, fleet, stages, best.transfers))
    return [_Option(stages, best.transfers, value, moved, Step(Change.PLANNED_ANEW))]


def _shortlist(running: Plan, profile: Profile, fleet: Fleet) -> Fleet:
    used = {device for stage in running.stages for device in stage.devices} | {fleet.source}
    total_s = {name: float(profile.least_seconds_on(name).sum()) for name in fleet.names if name not in used}
    others = sorted(total_s, key=lambda name: total_s[name])
    spare = others[: max(1, MOST_DEVICES - len(used))]
    return fleet.without(*(name for name in others if name not in spare))


def _relabelled(profile: Profile, fleet: Fleet, running: Sequence[Stage], stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """`stages` with exchangeable devices swapped so that they keep the most bytes."""
    if any(stage.replicas for stage in stages):
        return tuple(stages)
    from scipy.optimize import linear_sum_assignment  # takes half a second to import, for plans that change only

    graph = profile.graph
    new_name = {name: name for name in fleet.names}
    for group in exchangeable(profile, fleet):
        if 1 < len(group) <= MOST_EXCHANGED:
            keeps = np.array([[bytes_held(graph, running, b, stages, a) for b in group] for a in group])
            rows, columns = linear_sum_assignment(keeps, maximize=True)
            new_name.update({group[row]: group[column] for row, column in zip(rows, columns, strict=True)})
    return tuple(replace(stage, device=new_name[stage.device]) for stage in stages)


def _reason(running: Plan, fleet: Fleet, chosen: _Option, options: Sequence[_Option]) -> str:
    best = min(options, key=lambda option: option.value)
    gone = sorted({d for stage in running.stages for d in stage.devices} - set(fleet.names))
    cause = f" after {', '.join(repr(name) for name in gone)} left" if gone else ""
    loss = chosen.value / best.value - 1 if best.value > 0 else 0.0
    if chosen is best:
        return f"{chosen.step}{cause}: nothing better is known"
    spared = (best.moved_bytes - chosen.moved_bytes) / 2**20
    return f"{chosen.step}{cause}: within {loss:.1%} of the best, which would move {spared:.1f} MiB more"
