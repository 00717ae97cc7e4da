"""Large fleets: similar devices are merged, once with their best values for a bound, once with their worst for a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise, product

import numpy as np

from multiedge.fleet import Device, Fleet, Link
from multiedge.planning.devices import exchangeable
from multiedge.profile import Floats, Profile
from multiedge.spans import MeasuredSpans, SpanCost
from partitioners.engine.chain import Chain, is_searchable
from partitioners.engine.times import StageTimes

NOTE = "devices that are nearly alike were taken as {kinds} kinds, since all {count} apart are too many to search"


LONGEST_S = 1e30
"""What a device that cannot hold the whole model counts as where devices are compared."""
QUICK_CELLS = 2_000_000
"""Table entries up to which a search takes a second or so."""


def chains(profile: Profile, fleet: Fleet) -> tuple[Chain, Chain]:
    """An optimistic and a pessimistic chain: no plan on `fleet` is better than the best of the first, and each plan of the
    second is at least as good on `fleet`. Usually the fleet can be searched without merging: both are one exact chain then."""
    groups = exchangeable(profile, fleet)
    if is_searchable(groups, len(profile)):
        exact = Chain.of(profile, fleet)
        return exact, exact
    sets = _merged(profile, fleet, groups)
    return (
        Chain.of(*_levelled(profile, fleet, sets, optimistic=True)),
        Chain.of(*_levelled(profile, fleet, sets, optimistic=False)),
    )


def seconds_alone(profile: Profile) -> Callable[[Device], float]:
    """A score for `sub_fleets`: the time of the whole model on a device."""
    return lambda device: float(profile.least_seconds_on(device.name).sum())


def sub_fleets(profile: Profile, fleet: Fleet, *scores: Callable[[Device], float]) -> list[Fleet]:
    """For each score the devices that have the least of it, as many as can be searched quickly; the source is always there."""
    found = []
    for score in scores:
        order = sorted(fleet.devices, key=lambda device: (device.name != fleet.source, score(device)))
        counts = range(len(order), 1, -1)
        quick = (count for count in counts if is_searchable([[""]] * count, len(profile), most_cells=QUICK_CELLS))
        count = next(quick, 1)
        found.append(fleet.without(*(device.name for device in order[count:])))
    return found


def _merged(profile: Profile, fleet: Fleet, groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """The devices in as many sets as can be searched: neighbours in total time are joined, the nearest first.

    The place where items arise stays on its own.
    """

    def seconds(names: Sequence[str]) -> float:
        totals = [float(profile.least_seconds_on(name).sum()) for name in names]
        return float(np.mean([min(max(1e-12, total), LONGEST_S) for total in totals]))

    alone = [list(group) for group in groups if fleet.source in group]
    sets = sorted(([*group] for group in groups if fleet.source not in group), key=seconds)
    while len(sets) > 1 and not is_searchable([*alone, *sets], len(profile), most_cells=QUICK_CELLS):
        ratios = [seconds(b) / seconds(a) for a, b in pairwise(sets)]
        nearest = int(np.argmin(ratios))
        sets[nearest : nearest + 2] = [sets[nearest] + sets[nearest + 1]]
    return [*alone, *sets]


def _levelled(profile: Profile, fleet: Fleet, sets: Sequence[Sequence[str]], *, optimistic: bool) -> tuple[Profile, Fleet]:
    """Profile and fleet with every device as good as the best of its set (`optimistic`), or only as good as the worst."""
    room_of, time_of = (max, min) if optimistic else (min, max)
    fold: Callable[..., Floats] = np.minimum.reduce if optimistic else np.maximum.reduce
    seconds, overhead, devices = dict(profile.seconds), dict(profile.overhead_s), {}
    spans: dict[str, SpanCost] = {}
    for names in sets:
        members = [fleet.device(name) for name in names]
        time = fold([profile.seconds_on(name) for name in names])
        if profile.spans.keys() & set(names):
            spans |= dict.fromkeys(names, _folded([StageTimes.of(profile, name) for name in names], fold))
        room = room_of(member.available_bytes for member in members)
        for member in members:
            seconds[member.name] = np.asarray(time, dtype=np.float64)
            overhead[member.name] = time_of(profile.overhead_s.get(name, 0.0) for name in names)
            devices[member.name] = Device(member.name, member.type).with_memory_of(room)
    links: dict[tuple[str, str], Link] = {}
    for left, right in product(sets, repeat=2):
        pairs = [(a, b) for a, b in product(left, right) if a != b]
        if pairs:
            links |= dict.fromkeys(pairs, _link((fleet.link(*pair) for pair in pairs), time_of))
    level = replace(fleet, devices=tuple(devices[name] for name in fleet.names), links=links)
    return replace(profile, seconds=seconds, overhead_s=overhead, spans=spans), level


def _folded(members: Sequence[StageTimes], fold: Callable[..., Floats]) -> SpanCost:
    """The least or the longest time of each stage on several devices."""
    nodes = len(members[0].prefix) - 1
    rows = [[np.concatenate([np.full(start + 1, np.inf), each.row(start)]) for start in range(nodes)] for each in members]
    folded = np.vstack([fold(np.array(rows)), np.full((1, nodes + 1), np.inf)])
    return MeasuredSpans(tuple(range(nodes + 1)), np.maximum(folded, np.finfo(np.float64).tiny))


def _link(links: Iterable[Link], time_of: Callable[..., float]) -> Link:
    """A link with the least or the largest times of all of them."""
    known = list(links)
    per_byte = time_of(link.occupancy_s(1.0) for link in known)
    return Link(1.0 / per_byte if per_byte > 0 else np.inf, time_of(link.latency_s for link in known))
