"""The paths of a plan that are left when devices are away, and the rates at which they can take items.

Parts stay where they are: what changes is how many items take each path. Rates are found by progressive filling (Bertsekas and
Gallager, *Data Networks*, 1992, section 6.5): all rates grow in proportion to the planned ones until a device or link is always
busy; the paths that use it keep their rates, the others grow on. So no rate can grow without another one falling.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import product

from multiedge.fleet import Fleet
from multiedge.plan import CALLER, Path, Plan

FULL = 1.0 - 1e-9
"""A device or link that is busy for this share of the time takes no further items: the difference is one of rounding."""
Resource = tuple[str, ...]
"""A device, or the two devices of a link."""


def on_paths_left(plan: Plan, fleet: Fleet, away: Collection[str]) -> Plan | None:
    """The plan whose items take the paths that are whole, at new rates; no stage moves.

    Args:
        plan: The plan.
        fleet: The devices and links as declared; their speeds are those of the plan.
        away: Names of devices that run nothing now.

    Returns:
        The plan with these paths, and its stages without replicas that are away; a stage without any device left, which no path
        uses, keeps its own. None if no path is whole, or if the plan has no paths.
    """
    left = paths_left(plan, fleet, away)
    if not left:
        return None
    homes = [tuple(device for device in stage.devices if device not in away) or stage.devices for stage in plan.stages]
    stages = [replace(stage, device=home[0], replicas=home[1:]) for stage, home in zip(plan.stages, homes, strict=True)]
    return replace(plan, stages=tuple(stages), paths=left)


def paths_left(plan: Plan, fleet: Fleet, away: Collection[str]) -> tuple[Path, ...]:
    """The paths of which every stage has a device that is there, with new rates.

    Args:
        plan: A plan with paths.
        fleet: The devices and links as declared; their speeds are those of the plan.
        away: Names of devices that run nothing now.

    Returns:
        The paths in the order of the plan, with the rates that the devices and links which are left can serve; the plan's own
        rates where nothing is away. Empty if no path is whole.
    """
    there = [tuple(device for device in stage.devices if device not in away) for stage in plan.stages]
    left = [path for path in plan.paths if all(there[stage] for stage in path.stages)]
    if all(len(homes) == len(stage.devices) for homes, stage in zip(there, plan.stages, strict=True)):
        return plan.paths
    used = [_seconds_per_item(plan, fleet, path, there) for path in left]
    rates = filled([path.items_per_s for path in left], used)
    return tuple(replace(path, items_per_s=rate) for path, rate in zip(left, rates, strict=True))


def filled(weights: list[float], used: list[dict[Resource, float]]) -> list[float]:
    """Rates in proportion to the weights, as high as the resources allow.

    Args:
        weights: What rates are in proportion to as long as nothing limits one of them, above 0.
        used: Seconds of each resource that one item takes, for each rate.

    Returns:
        Items per second; the weight itself where nothing limits a rate.
    """
    rates, growing = [0.0] * len(weights), set(range(len(weights)))
    for number in [number for number in growing if not any(used[number].values())]:
        rates[number] = weights[number]
        growing.discard(number)
    while growing:
        busy, growth = defaultdict[Resource, float](float), defaultdict[Resource, float](float)
        for number, seconds in enumerate(used):
            for resource, each_s in seconds.items():
                busy[resource] += rates[number] * each_s
                if number in growing:
                    growth[resource] += weights[number] * each_s
        step = min((1.0 - busy[resource]) / grown for resource, grown in growth.items() if grown > 0)
        for number in growing:
            rates[number] += max(0.0, step) * weights[number]
        full = {resource for resource, grown in growth.items() if grown > 0 and busy[resource] + step * grown >= FULL}
        growing -= {number for number in growing if any(used[number].get(resource, 0.0) > 0 for resource in full)}
    return rates


def _seconds_per_item(plan: Plan, fleet: Fleet, path: Path, there: list[tuple[str, ...]]) -> dict[Resource, float]:
    """How long an item on the path keeps each device and link busy; replicas take turns."""
    seconds: dict[Resource, float] = defaultdict(float)
    for stage in path.stages:
        for device in there[stage]:
            seconds[device,] += plan.estimate.stages[stage].compute_s / len(there[stage])
    for move in plan.transfers:
        if (move.source, move.target) in path.steps:
            for link, share in _links(fleet, there, move.source, move.target):
                seconds[link] += share * fleet.link(*link).occupancy_s(move.known_bytes)
    return dict(seconds)


def _links(fleet: Fleet, there: list[tuple[str, ...]], source: int, target: int) -> Iterator[tuple[tuple[str, str], float]]:
    """The links of a transfer, and the share of the items on each. A caller without a device has no link."""
    caller = (fleet.source,) if fleet.source else ()
    ends = [caller if stage == CALLER else there[stage] for stage in (source, target)]
    for one, other in product(*ends):
        if one != other:
            yield (one, other), 1.0 / (len(ends[0]) * len(ends[1]))
