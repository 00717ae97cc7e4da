"""The most items per second: the contiguous plan with the smallest bottleneck, proven.

Every feasible bottleneck is one of finitely many values: a stage's time, or a hand-over's. A bisection asks for values T
whether any order of any subset of the devices has a bottleneck of at most T (`partitioners.engine.search`, exact), and stops
when no such value is left between the largest T refuted and the best plan found. The idea of a bisection over a
farthest-prefix table is PipeDream's and PipeEdge's problem turned round; see `search` for why the farthest prefix alone
would not be exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from time import perf_counter

import numpy as np

from multiedge.errors import InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, Stage
from multiedge.planning.devices import exchangeable
from multiedge.profile import Floats, Ints, Profile
from multiedge.proof import CONTIGUOUS, Scope
from partitioners.engine.balance import splits_by_memory
from partitioners.engine.chain import Chain, Placed, is_searchable
from partitioners.engine.contract import Pinnable, most_latency_s, relay_plan, unused
from partitioners.engine.fastest import expected, fast_enough, too_slow
from partitioners.engine.kinds import seconds_alone, sub_fleets
from partitioners.engine.priced import is_priceable
from partitioners.engine.remedy import infeasible, none_found
from partitioners.engine.search import SLACK, Found, States, reachable
from partitioners.engine.suffixes import Best
from partitioners.engine.times import node_seconds

NEARLY_PROVEN = 0.99
"""The beam's plan is taken alone if the bound is so near."""
MOST_LISTED = 20_000
"""Candidate values that are listed and bisected by rank; while there are more, the interval is halved."""


class Throughput(Pinnable):
    """Smallest bottleneck over any order and subset of the devices; memory limits hard, devices that hurt left out.

    With `replicate` a stage may also run on several devices of one kind, which take items in turn: more throughput where
    one node outweighs the rest, at the price of holding its weights on each. It multiplies the search and needs an
    executor that shares out items, so it is off by default. Of the plans with the smallest bottleneck, one on the
    fewest devices is returned. With `max_latency_s` only plans count whose latency for one item is at most that.
    `time_limit_s` ends the search early, with the gap then proven. Fleets with too many kinds of devices are planned by
    `partitioners.engine.beam`; no plan there is worse than the best on the fastest devices alone.
    """

    def __init__(self, replicate: bool = False, max_latency_s: float | None = None, time_limit_s: float = 60.0) -> None:
        self.replicate = replicate
        self.max_latency_s = most_latency_s(max_latency_s)
        self.time_limit_s = time_limit_s

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The optimal contiguous plan and its bound; InfeasibleError with the smallest remedy if memory forbids all."""
        start = perf_counter()
        if not is_searchable(exchangeable(profile, fleet), len(profile), replicate=self.replicate):
            return self._on_large_fleet(profile, fleet, start)
        chain = Chain.of(profile, fleet, replicate=self.replicate)
        found = self._search(chain, start + self.time_limit_s)
        stages = chain.stages(found.path)
        plan = relay_plan("throughput", "throughput", profile, fleet, stages)
        return replace(
            plan,
            lower_bound=plan.value if found.lower_bound_s >= found.seconds else min(plan.value, found.lower_bound_s),
            scope=self._scope(),
            solve_s=perf_counter() - start,
            left_out=unused(fleet, stages, reasons(chain, plan.value, self._scope().limits)),
        )

    def _on_large_fleet(self, profile: Profile, fleet: Fleet, start: float) -> Plan:
        """The best of several plans, and the bound that is proven; InfeasibleError if no plan fits, or none was found."""
        # They import scipy, which plans of ordinary fleets do without.
        from partitioners.engine.beam import search
        from partitioners.engine.load_bound import speed_weights, weighted_bound

        chain = Chain.of(profile, fleet, searched=False)
        beam = search(chain, start + self.time_limit_s / 2)
        candidates = [chain.stages(beam.path)] if beam.path else []
        if np.isfinite(self.max_latency_s) and beam.path and is_priceable(chain):
            beam, quickest = self._within_latency(chain, beam, start + self.time_limit_s * 0.75)
            candidates += [chain.stages(path) for path in (beam.path, quickest) if path]
        if not beam.path or np.isfinite(self.max_latency_s) or beam.lower_bound_s < beam.seconds * NEARLY_PROVEN:
            candidates += self._on_parts(profile, fleet, start + self.time_limit_s)
        plans = [relay_plan("throughput", "throughput", profile, fleet, stages) for stages in candidates]
        fast = [plan for plan in plans if plan.estimate.latency_s <= self.max_latency_s * SLACK]
        if not fast:
            latency_s = min((plan.estimate.latency_s for plan in plans), default=None)
            proven = bool(np.isinf(beam.lower_bound_s))
            raise none_found(profile, fleet, self._scope().limits, proven=proven, latency_s=latency_s)
        plan = min(fast, key=lambda plan: plan.value)
        seconds = node_seconds(profile, fleet)
        bound_s = weighted_bound(seconds, speed_weights(seconds.sum(axis=0))) if self.replicate else beam.lower_bound_s
        return replace(
            plan,
            lower_bound=min(plan.value, bound_s),
            scope=self._scope(),
            solve_s=perf_counter() - start,
            left_out=unused(fleet, plan.stages, "the plan found does without it"),
        )

    def _within_latency(self, chain: Chain, beam: Found, deadline_s: float) -> tuple[Found, list[Placed]]:
        """What is better than the beam's path and bound under the limit on latency, and the quickest path."""
        from partitioners.engine import large_fleets

        quickest = list(large_fleets.least_latency(chain, np.inf, deadline_s).path)
        paths = [path for path in (beam.path, quickest) if large_fleets.is_fast_enough(chain, path, self.max_latency_s)]
        if not paths:
            return beam, quickest
        first = min(paths, key=chain.bottleneck_s)
        known = Found(first, chain.bottleneck_s(first), beam.lower_bound_s)
        return large_fleets.smallest_within(chain, self.max_latency_s, known, deadline_s), quickest

    def _on_parts(self, profile: Profile, fleet: Fleet, deadline_s: float) -> list[tuple[Stage, ...]]:
        """Plans on the fastest and on the largest devices alone, and on all in the order of memory, as far as there are."""
        chosen = []
        for part in sub_fleets(profile, fleet, seconds_alone(profile), lambda device: -device.available_bytes):
            may_replicate = self.replicate and is_searchable(exchangeable(profile, part), len(profile), replicate=True)
            chain = Chain.of(profile, part, replicate=may_replicate)
            with suppress(InfeasibleError):
                chosen.append(chain.stages(self._search(chain, (perf_counter() + deadline_s) / 2).path))
        return [*chosen, *splits_by_memory(profile, fleet)]

    def _search(self, chain: Chain, deadline_s: float) -> Found:
        if np.isfinite(self.max_latency_s):
            return smallest_within(chain, self.max_latency_s, deadline_s=deadline_s)
        return smallest_bottleneck(chain, deadline_s=deadline_s)

    def _scope(self) -> Scope:
        latency_s = self.max_latency_s if np.isfinite(self.max_latency_s) else None
        return replace(CONTIGUOUS, replicas=self.replicate, most_latency_s=latency_s)


def smallest_bottleneck(chain: Chain, *, deadline_s: float = np.inf) -> Found:
    """The path with the smallest bottleneck; the bound equals it unless the clock passes `deadline_s` before."""
    states = States(chain)
    path = reachable(chain, states, np.inf)
    if path is None:
        raise infeasible(chain.profile, chain.fleet)

    def within(seconds: float) -> Best:
        path = reachable(chain, states, seconds)
        return Best(np.inf) if path is None else Best(0.0, tuple(path))

    return _bisect(chain, within, path, least_conceivable_s(chain), deadline_s)


def smallest_within(chain: Chain, most_latency_s: float, *, deadline_s: float = np.inf) -> Found:
    """The same of the paths whose latency is at most `most_latency_s`; of the best ones, one of least latency.

    The bisection begins at the smallest bottleneck of all paths, whose search is the faster one. InfeasibleError if no path
    keeps the bound.
    """
    free = smallest_bottleneck(chain, deadline_s=deadline_s)
    if expected(chain, free.path).latency_s <= most_latency_s * SLACK:
        return free

    def within(seconds: float) -> Best:
        return fast_enough(chain, seconds, most_latency_s, deadline_s=deadline_s)

    widest = within(np.inf)
    if not widest.path:
        raise too_slow(chain, most_latency_s, deadline_s=deadline_s)
    best = within(free.seconds)
    if best.path:
        return Found(list(best.path), free.seconds, free.lower_bound_s)
    low = free.lower_bound_s if np.isfinite(best.bound) else free.seconds
    return _bisect(chain, within, list(widest.path), low, deadline_s)


def _bisect(chain: Chain, within: Callable[[float], Best], path: list[Placed], low: float, deadline_s: float) -> Found:
    """The smallest bottleneck above `low`, at most that of `path`, for which `within` has a path."""
    high = chain.bottleneck_s(path)
    candidates: Floats | None = None
    while perf_counter() < deadline_s:
        if candidates is None and count_candidates(chain, low, high) <= MOST_LISTED:
            candidates = list_candidates(chain, low, high)
        if candidates is not None:
            candidates = candidates[(candidates > low * SLACK) & (candidates < high / SLACK)]
            if not len(candidates):
                return Found(path, high, high)
        middle = float(candidates[len(candidates) // 2]) if candidates is not None else _between(low, high)
        better = within(middle)
        if better.path:
            path, high = list(better.path), min(middle, chain.bottleneck_s(better.path))
        elif np.isfinite(better.bound):
            break
        else:
            low = middle
    return Found(path, high, low)


def _between(low: float, high: float) -> float:
    return float(np.sqrt(low * high)) if high > 2 * low > 0 else (low + high) / 2


def least_conceivable_s(chain: Chain) -> float:
    """A time below every bottleneck, since all devices cannot be more than busy all the time."""
    fastest = np.diff(chain.seconds, axis=1).min(axis=0)
    devices = sum(len(group) for group in chain.groups)
    most_replicas = max(way.replicas for way in chain.ways)
    return float(max(fastest.sum() / devices, fastest.max(initial=0.0) / most_replicas)) * (1 - 1e-9) - 1e-30


def _distinct(values: Floats) -> Floats:
    """The values in ascending order, each once: `np.unique` without its import of masked arrays, which takes 10 ms."""
    ordered = np.sort(values)
    first = np.ones(len(ordered), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def _stage_values(chain: Chain) -> Iterator[Floats]:
    """Bottlenecks that stages have where times do not add up."""
    for way in chain.ways:
        table = chain.times[way.group].table
        if table is not None:
            yield (table[np.isfinite(table)] + chain.overhead_s[way.group]) / way.replicas


def _families(chain: Chain) -> Iterator[tuple[Floats, Floats]]:
    """Pairs (x, y) of arrays with y ascending: every other bottleneck is some x[q] - y[p] with p < q."""
    for way in chain.ways:
        if chain.times[way.group].table is not None:
            continue
        prefix = chain.seconds[way.group] / way.replicas
        yield prefix + chain.overhead_s[way.group] / way.replicas, prefix
    nothing = np.zeros_like(chain.cut)
    for per_byte in _distinct(chain.per_byte_s[np.isfinite(chain.per_byte_s)]):
        yield per_byte * chain.cut, nothing
    for per_byte in _distinct(chain.enter_per_byte_s):
        yield np.full_like(chain.cut, per_byte * chain.cut[0]), nothing
    for per_byte in _distinct(chain.leave_per_byte_s[chain.leave_per_byte_s > 0]):
        yield per_byte * chain.results, per_byte * chain.results
        yield per_byte * (chain.results + chain.cut), per_byte * chain.results


def _ranks(x: Floats, y: Floats, low: float, high: float) -> tuple[Ints, Ints]:
    """For each q the range of p < q with low < x[q] - y[p] < high."""
    first = np.searchsorted(y, x - high, side="right")
    last = np.minimum(np.searchsorted(y, x - low, side="left"), np.arange(len(x)))
    return first, np.maximum(first, last)


def count_candidates(chain: Chain, low: float, high: float) -> int:
    """How many values strictly between `low` and `high` a bottleneck could have, repeats counted."""
    total = sum(int(((values > low) & (values < high)).sum()) for values in _stage_values(chain))
    for x, y in _families(chain):
        first, last = _ranks(x, y, low, high)
        total += int((last - first).sum())
    return total


def list_candidates(chain: Chain, low: float, high: float) -> Floats:
    """Those values, ascending."""
    values = [np.zeros(0), *(stages[(stages > low) & (stages < high)] for stages in _stage_values(chain))]
    for x, y in _families(chain):
        first, last = _ranks(x, y, low, high)
        values += [x[q] - y[first[q] : last[q]] for q in np.nonzero(last > first)[0]]
    return _distinct(np.concatenate(values))


def reasons(chain: Chain, value_s: float, limits: str = "") -> dict[str, str]:
    """Why each device may stand idle at a proven bottleneck of `value_s` of the plans that keep the limits."""
    found = {}
    smallest_cut = float(chain.cut[1:-1].min(initial=np.inf))
    for index, group in enumerate(chain.groups):
        way = next(number for number, way in enumerate(chain.ways) if way.group == index)
        links = [*chain.per_byte_s[way], *chain.per_byte_s[:, way]]
        fastest_link = min((per_byte for per_byte in links if np.isfinite(per_byte)), default=0.0)
        quickest_node = chain.times[index].quickest() + float(chain.overhead_s[index])
        if not (chain.windows[index].stops > chain.windows[index].starts).any():
            reason = "its memory holds not even one node"
        elif quickest_node > value_s:
            reason = f"its quickest node takes {quickest_node * 1e3:.3g} ms, the bottleneck is {value_s * 1e3:.3g} ms"
        elif np.isfinite(smallest_cut) and fastest_link * smallest_cut > value_s:
            reason = (
                f"the smallest cut takes {fastest_link * smallest_cut * 1e3:.3g} ms on its fastest link,"
                f" the bottleneck is {value_s * 1e3:.3g} ms"
            )
        else:
            plan = f"plan {limits}" if limits else "plan"
            reason = f"no {plan} that uses it has a bottleneck below {value_s * 1e3:.3g} ms"
        found.update(dict.fromkeys(group, reason))
    return found
