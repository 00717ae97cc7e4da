"""Walks of items over devices that hold consecutive nodes: which there are, how many items take each, and the plan of them.

A device holds one span. Items enter it at its first node, or inside where another device's span ends, and leave it at its end,
as in Helix (Mei et al., ASPLOS 2025). For the strategies that choose spans by a rule and leave it to the clients to find a way
through them: a client takes the chain of devices that has most time to spare.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from multiedge.fleet import Fleet
from multiedge.plan import Path, Plan, Stage, path_transfers
from multiedge.planning import cost
from multiedge.profile import Floats, Ints, Profile
from partitioners.engine.contract import relay_plan
from partitioners.engine.memory import memory_rows, result_bytes

LEAST_SHARE = 1e-6
"""Walks for a smaller share of the items are left out."""

Spans = Mapping[str, tuple[int, int]]
"""First node and end of what each device holds, by name."""


@dataclass(frozen=True)
class Walk:
    """Parts (device, first node, end) that an item passes, one after another, and items per second that do so."""

    parts: tuple[tuple[str, int, int], ...]
    items_per_s: float


def plan_of_walks(strategy: str, profile: Profile, fleet: Fleet, walks: Sequence[Walk], spans: Spans) -> Plan:
    """The plan in which items take these walks in proportion to their rates, as fast as the busiest device or link allows.

    `spans` gives the order of parts that are otherwise equal.
    """
    if len(walks) == 1:
        stages = [Stage.span(*part) for part in walks[0].parts]
        return relay_plan(strategy, "throughput", profile, fleet, stages)
    place = {device: number for number, device in enumerate(spans)}
    parts = sorted({part for walk in walks for part in walk.parts}, key=lambda part: (part[1], part[2], place[part[0]]))
    number = {part: index for index, part in enumerate(parts)}
    stages = [Stage.span(*part) for part in parts]
    paths = [Path(tuple(number[part] for part in walk.parts), walk.items_per_s) for walk in walks]
    transfers = path_transfers(profile.graph, stages, paths, profile.cut_bytes.tolist())
    plan = cost.make_plan(strategy, "throughput", profile, fleet, stages, transfers, paths=paths)
    scale = plan.estimate.fps_bound / sum(path.items_per_s for path in paths)
    return replace(plan, paths=tuple(Path(path.stages, path.items_per_s * scale) for path in paths))


def widest_walks(profile: Profile, fleet: Fleet, spans: Spans) -> list[Walk]:
    """Walks through the spans, each the one with most items per second in the time that those before it leave, until no
    device or link that is needed has time left; [] if no walk passes all nodes."""
    router = _Router(profile, fleet, spans)
    walks: list[tuple[list[tuple[str, int]], float]] = []
    while True:
        found = router.widest()
        rate = router.rate(found)
        if not found or (walks and rate <= LEAST_SHARE * walks[0][1]):
            break
        router.take(found, rate)
        walks.append((found, rate))
        if math.isinf(rate):
            walks = [(found, 1.0)]
            break
    return [Walk(tuple(router.parts(hops)), rate) for hops, rate in walks]


def _totals(profile: Profile, name: str, span: tuple[int, int]) -> Floats:
    """Seconds of the first p nodes, (n + 1,), on a device that holds a span of them."""
    work = profile.seconds_on(name)
    held = float(work[slice(*span)].sum())
    if name in profile.spans:
        whole = profile.span_s(name, *span)
        work = work * (whole / held) if held > 0 else np.full(len(work), whole / (span[1] - span[0]))
    return np.concatenate([[0.0], np.cumsum(work)])


class _Router:
    """What is left of one second of each device and link while items take walks. A hop is a device and where items enter it."""

    def __init__(self, profile: Profile, fleet: Fleet, spans: Spans) -> None:
        self._profile, self._fleet, self._spans = profile, fleet, spans
        self._cut = profile.cut_bytes.tolist()
        self._results = result_bytes(profile).tolist()
        self._totals = {name: _totals(profile, name, span) for name, span in spans.items()}
        self._left_s: dict[tuple[str, ...], float] = defaultdict(lambda: 1.0)
        self._entries: dict[str, tuple[int, ...]] = dict.fromkeys(spans, ())
        ends = {end for span in spans.values() for end in span}
        self._rows = {start: row for start, row in enumerate(memory_rows(profile)) if start in ends}

    def widest(self) -> list[tuple[str, int]]:
        """The hops of the walk whose narrowest hop is widest; [] if there is none. Devices are passed in the order of ends."""
        width: dict[str, float] = {}
        before: dict[str, tuple[str | None, int]] = {}
        for name in sorted(self._spans, key=lambda each: self._spans[each][1]):
            for previous, entry in self._ways_into(name, width):
                reached = math.inf if previous is None else width[previous]
                hop = min(reached, self._rate_of(self._uses(previous, name, entry)))
                if hop > width.get(name, 0.0):
                    width[name], before[name] = hop, (previous, entry)
        last = [name for name in width if self._spans[name][1] == len(self._profile)]
        hops: list[tuple[str, int]] = []
        at: str | None = max(last, key=lambda name: width[name], default=None)
        while at is not None:
            previous, entry = before[at]
            hops.append((at, entry))
            at = previous
        return hops[::-1]

    def _ways_into(self, name: str, reached: Mapping[str, float]) -> Iterator[tuple[str | None, int]]:
        start, stop = self._spans[name]
        if start == 0 and self._fits(name, 0):
            yield None, 0
        for previous in tuple(reached):
            entry = self._spans[previous][1]
            if start <= entry < stop and self._fits(name, entry):
                yield previous, entry

    def _fits(self, name: str, entry: int) -> bool:
        """Whether the device can hold its span cut at one more entry."""
        nbytes = sum(int(self._memory(first, stop)) for first, stop in self._cuts(name, entry))
        return nbytes <= self._fleet.device(name).available_bytes

    def _memory(self, start: int, stop: int) -> Ints:
        return np.asarray(self._rows[start][stop - start - 1])

    def _cuts(self, name: str, *more: int) -> list[tuple[int, int]]:
        """The parts of the span that items pass if they enter where they do, and at `more`."""
        return list(pairwise(sorted({*self._entries[name], *more, self._spans[name][1]})))

    def _uses(self, previous: str | None, name: str, entry: int) -> Iterator[tuple[tuple[str, ...], float]]:
        """Seconds of the device and of links that one item takes on a hop."""
        stop, source = self._spans[name][1], self._fleet.source
        pieces = sum(first >= entry for first, _ in self._cuts(name, entry))
        yield (name,), float(self._totals[name][stop] - self._totals[name][entry]) + pieces * self._overhead_s(name)
        sender = source if previous is None else previous
        if sender not in (None, name):
            yield (sender, name), self._fleet.link(sender, name).occupancy_s(self._cut[entry])
        made = self._results[stop] - self._results[entry]
        if source not in (None, name) and made:
            yield (name, source), self._fleet.link(name, source).occupancy_s(made)

    def _overhead_s(self, name: str) -> float:
        return self._profile.overhead_s.get(name, 0.0)

    def _rate_of(self, uses: Iterator[tuple[tuple[str, ...], float]]) -> float:
        return min((self._left_s[what] / seconds for what, seconds in uses if seconds > 0), default=math.inf)

    def _all_uses(self, hops: Sequence[tuple[str, int]]) -> dict[tuple[str, ...], float]:
        total: dict[tuple[str, ...], float] = defaultdict(float)
        for previous, (name, entry) in zip([None, *(name for name, _ in hops)], hops, strict=False):
            for what, seconds in self._uses(previous, name, entry):
                total[what] += seconds
        return total

    def rate(self, hops: Sequence[tuple[str, int]]) -> float:
        """Items per second of a walk in the time that is left."""
        return self._rate_of(iter(self._all_uses(hops).items()))

    def take(self, hops: Sequence[tuple[str, int]], rate: float) -> None:
        """Items take a walk."""
        if math.isfinite(rate):
            for what, seconds in self._all_uses(hops).items():
                self._left_s[what] = max(0.0, self._left_s[what] - rate * seconds)
        for name, entry in hops:
            self._entries[name] = tuple(sorted({*self._entries[name], entry}))

    def parts(self, hops: Sequence[tuple[str, int]]) -> Iterator[tuple[str, int, int]]:
        """The parts that an item on a walk passes; a span is cut only where items enter."""
        for name, entry in hops:
            inner = [each for each in self._entries[name] if each > entry]
            for first, stop in pairwise([entry, *inner, self._spans[name][1]]):
                yield name, first, stop
