"""The least energy per item: the contiguous plan with the fewest joules, under bounds on throughput and latency, proven.

Idle devices draw power for as long as an item takes the pipeline, so the energy of a plan, A + I * T, depends on its
bottleneck T, and no recurrence adds it up. For T within [a, b] it is at least A + I * a, which `cheapest` minimises. The
search divides the range of T and follows the part with the least bound (best first) until no part is below the best plan
by more than `tolerance`. Where the cheapest plan of a part is slower than a bound on latency allows,
`partitioners.engine.suffixes` finds the cheapest that is not, from the best Lagrange multiplier, found by cutting planes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count, pairwise
from time import perf_counter

import numpy as np

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet, Power
from multiedge.plan import Estimate, Plan, Stage
from multiedge.planning.devices import exchangeable
from multiedge.profile import Floats, Profile
from multiedge.proof import CONTIGUOUS, Scope
from multiedge.quantity import at_least
from partitioners.engine.chain import Chain, Placed, is_searchable
from partitioners.engine.cheapest import Prices, cheapest
from partitioners.engine.contract import Pinnable, most_bottleneck_s, most_latency_s, relay_plan, unused
from partitioners.engine.fastest import expected, latency_prices
from partitioners.engine.kinds import seconds_alone, sub_fleets
from partitioners.engine.large_fleets import is_fast_enough
from partitioners.engine.priced import PricedSearch, is_priceable
from partitioners.engine.priced import Stages as PricedStages
from partitioners.engine.remedy import none_found
from partitioners.engine.search import SLACK, States
from partitioners.engine.suffixes import Best, Question, best_within
from partitioners.engine.times import node_seconds
from partitioners.latency import too_strict
from partitioners.throughput import smallest_bottleneck

NARROWEST = 1e-6
"""A part of the range of bottlenecks that is relatively narrower than this is not divided further, and a bound that is
nearer to the plan's energy than this is printed as equal to it."""

PARTS, WIDENING = 16, 1.25
"""On large fleets: the number of parts of the range of bottlenecks, each so many times as high as the one before."""
RATES = (1.0, 4.0, 16.0)
"""Prices of the limit on latency, in energies of the plan that does not keep it, that are tried on large fleets."""


class Energy(Pinnable):
    """Fewest joules per item at full speed, with at least `min_fps` items per second and at most `max_latency_s`.

    Devices that declare no power are left out. Fleets with too many kinds of devices are planned by
    `partitioners.engine.priced`, and on the devices that take the least energy and on the fastest; a gap is left there.
    `tolerance` is the relative gap at which the search ends, `time_limit_s` the time; the gap reached is in the plan.
    """

    def __init__(
        self,
        min_fps: float | None = None,
        max_latency_s: float | None = None,
        tolerance: float = 1e-6,
        time_limit_s: float = 10.0,
    ) -> None:
        self.most_s = most_bottleneck_s(min_fps)
        self.max_latency_s = most_latency_s(max_latency_s)
        self.tolerance = tolerance
        self.time_limit_s = time_limit_s

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The plan of least energy and its bound; InfeasibleError if memory or the bounds forbid all plans."""
        start = perf_counter()
        if not any(device.power for device in fleet.devices):
            raise ConfigError(
                f"{fleet.name}: strategy 'energy' needs watts, and no device declares any; add power: {{idle, busy}}"
            )
        if is_searchable(exchangeable(profile, fleet), len(profile)):
            search = _Search(Chain.of(profile, fleet), self.most_s, self.max_latency_s)
            lower_bound = search.run(self.tolerance, start + self.time_limit_s)
            if search.best is None:
                raise self._refusal(search.chain)
            plan = relay_plan("energy", "energy", profile, fleet, search.chain.stages(search.best))
        else:
            plan, lower_bound = self._on_large_fleet(profile, fleet, start + self.time_limit_s)
        silent = {name: "it declares no power" for name in fleet.names if fleet.device(name).power is None}
        others = dict.fromkeys(fleet.names, f"no plan found that uses it takes less than {plan.value:.4g} J per item")
        return replace(
            plan,
            lower_bound=plan.value if lower_bound >= plan.value * (1 - NARROWEST) else lower_bound,
            scope=self._scope(),
            solve_s=perf_counter() - start,
            left_out=unused(fleet, plan.stages, others | silent),
        )

    def _on_large_fleet(self, profile: Profile, fleet: Fleet, deadline_s: float) -> tuple[Plan, float]:
        """The best of several plans, and a bound."""
        candidates, bound = self._by_prices(profile, fleet, (perf_counter() + deadline_s) / 2)
        parts = sub_fleets(profile, fleet, _joules_alone(profile), seconds_alone(profile))
        for number, part in enumerate(parts):
            search = _Search(Chain.of(profile, part), self.most_s, self.max_latency_s)
            with suppress(InfeasibleError):
                search.run(self.tolerance, perf_counter() + (deadline_s - perf_counter()) / (len(parts) - number))
            candidates += [search.chain.stages(search.best)] if search.best else []
        plans = [relay_plan("energy", "energy", profile, fleet, stages) for stages in candidates]
        kept = [plan for plan in plans if self._is_kept(plan.estimate)]
        if not kept:
            latency_s = min((plan.estimate.latency_s for plan in plans), default=None)
            proven = bool(np.isinf(bound) and np.isinf(self.most_s)) and all(device.power for device in fleet.devices)
            raise none_found(profile, fleet, self._scope().limits, proven=proven, latency_s=latency_s)
        return min(kept, key=lambda plan: plan.value), max(bound, _least_joules(profile, fleet))

    def _is_kept(self, estimate: Estimate) -> bool:
        is_fast = estimate.bottleneck_s <= self.most_s * SLACK and estimate.latency_s <= self.max_latency_s * SLACK
        return is_fast and estimate.energy_j is not None

    def _by_prices(self, profile: Profile, fleet: Fleet, deadline_s: float) -> tuple[list[tuple[Stage, ...]], float]:
        """Plans that prices of devices lead to, in parts of the range of bottlenecks, and the least bound of these parts."""
        from partitioners.engine.load_bound import speed_weights, weighted_bound  # imports scipy

        chain = Chain.of(profile, fleet, searched=False)
        if not is_priceable(chain):
            return [], 0.0
        seconds = node_seconds(profile, fleet)
        low = weighted_bound(seconds, speed_weights(seconds.sum(axis=0))) * (1 - NARROWEST)
        ends = [*(low * WIDENING**number for number in range(PARTS)), np.inf]
        stages, paths, bounds = PricedStages(chain), list[tuple[Placed, ...]](), [np.inf]
        for begin, end in pairwise(ends):
            if begin <= self.most_s and perf_counter() > deadline_s:
                bounds.append(0.0)
            elif begin <= self.most_s:
                best = self._in_part(stages, energy_prices(chain, begin), min(end, self.most_s), deadline_s)
                paths += [best.path] if best.path else []
                bounds.append(best.bound)
        return [chain.stages(path) for path in paths], min(bounds)

    def _in_part(self, stages: PricedStages, prices: Prices, most_s: float, deadline_s: float) -> Best:
        """A plan of a low price with a bottleneck of at most `most_s`, and a bound for all of them; the plan keeps the limit on
        latency if one is found at some price of a second."""
        best = PricedSearch(stages, prices, most_s).run(deadline_s)
        if not best.path or is_fast_enough(stages.chain, best.path, self.max_latency_s):
            return best
        latency = latency_prices(stages.chain)
        per_s = total_price(stages.chain, prices, best.path) / self.max_latency_s
        for rate in RATES:
            path = PricedSearch(stages, prices.plus(latency, rate * per_s), most_s).run(deadline_s).path
            if is_fast_enough(stages.chain, path, self.max_latency_s):
                return Best(best.bound, path)
        return best

    def _scope(self) -> Scope:
        fps = 1 / self.most_s if np.isfinite(self.most_s) else None
        latency_s = self.max_latency_s if np.isfinite(self.max_latency_s) else None
        return replace(CONTIGUOUS, least_fps=fps, most_latency_s=latency_s)

    def _refusal(self, chain: Chain) -> InfeasibleError:
        """Which of the bounds cannot be kept, and what can."""
        asked = " ".join(filter(None, (chain.fleet.name, self._scope().limits)))
        none = f"no contiguous plan of {chain.profile.graph.name} on {asked}"
        latency = latency_prices(chain)
        if not cheapest(chain, States(chain), latency, self.most_s).path:
            return too_strict(chain, self.most_s)
        fastest = cheapest(chain, States(chain), _with_power_only(chain, latency), self.most_s)
        if fastest.path and fastest.price > self.max_latency_s:
            return InfeasibleError(f"{none}: allow {at_least(fastest.price * 1e3)} ms, the least latency possible")
        return InfeasibleError(f"{none} was found on devices that declare power; declare it for all, or allow more")


def _joules_alone(profile: Profile) -> Callable[[Device], float]:
    """A score for `sub_fleets`: the energy of the whole model on a device, inf where it declares no power."""

    def joules(device: Device) -> float:
        return np.inf if device.power is None else device.power.busy_w * seconds_alone(profile)(device)

    return joules


def _least_joules(profile: Profile, fleet: Fleet) -> float:
    """Each node where it takes the least energy: a bound for plans of any kind, since a device that computes takes its busy
    watts."""
    watts = np.array([np.inf if device.power is None else device.power.busy_w for device in fleet.devices])
    powered = np.isfinite(watts)
    return float((node_seconds(profile, fleet)[:, powered] * watts[powered]).min(axis=1).sum())


def energy_prices(chain: Chain, bottleneck_s: float) -> Prices:
    """Joules of one item when the pipeline takes `bottleneck_s` for each; inf on devices that declare no power."""
    group = [way.group for way in chain.ways]
    heads = [chain.fleet.device(chain.groups[index][0]) for index in group]
    power = [head.power or Power(0.0, 0.0) for head in heads]
    idle_w = np.array([watts.idle_w for watts in power])
    dynamic_w = np.array([watts.busy_w for watts in power]) - idle_w
    per_byte = np.array([head.joules_per_byte for head in heads])
    at_source = np.array([index == chain.source for index in group])
    returning = np.zeros_like(per_byte) if chain.source is None else np.where(at_source, 0.0, per_byte)
    nodes = dynamic_w[:, None] * chain.seconds[group] + returning[:, None] * chain.results
    prices = Prices(
        nodes=nodes,
        last_nodes=nodes,
        stage=dynamic_w * chain.overhead_s[group] + idle_w * bottleneck_s,
        enter=np.zeros(len(group)),
        hand_over=np.broadcast_to((per_byte[:, None] * chain.cut)[:, None, :], (len(group), len(group), len(chain) + 1)),
        last_stage=np.zeros(len(group)),
        excess=tuple(_weighted(chain.times[index].excess, watts) for index, watts in zip(group, dynamic_w, strict=True)),
        late_source=float(per_byte[at_source].sum() * chain.cut[0]),
    )
    return _with_power_only(chain, prices)


def _weighted(excess_s: Floats | None, watts: float) -> Floats | None:
    return None if excess_s is None else watts * excess_s


def _with_power_only(chain: Chain, prices: Prices) -> Prices:
    """The prices with no stage on a device that declares no power: its energy is not known."""
    heads = [chain.fleet.device(chain.groups[way.group][0]) for way in chain.ways]
    return replace(prices, stage=prices.stage + np.array([np.inf if head.power is None else 0.0 for head in heads]))


@dataclass(frozen=True)
class _Part:
    """Bottlenecks in [low, high]: no plan there takes less than `joules`; `hint_s` is the bottleneck of the plan that would."""

    joules: float
    low: float
    high: float
    hint_s: float

    def split(self) -> list[tuple[float, float]]:
        """Smaller ranges that cover this one; the plan found in it is excluded from all but the range it starts."""
        at = min(max(self.hint_s, self.low), self.high)
        below = at / SLACK**3
        if below <= self.low:
            return [(self.low * (1 + NARROWEST), self.high)]
        middle = (self.low + below) / 2
        return [(self.low, middle), (middle, below), (at, self.high)]


class _Search:
    """Best-first search over ranges of the bottleneck."""

    def __init__(self, chain: Chain, most_s: float, max_latency_s: float) -> None:
        self.chain, self.states = chain, States(chain)
        self.most_s, self.max_latency_s = most_s, max_latency_s
        self.latency = _with_power_only(chain, latency_prices(chain))
        self.best: list[Placed] | None = None
        self.joules = np.inf

    def run(self, tolerance: float, deadline_s: float) -> float:
        """Searches; what comes back is a lower bound on the energy of every plan that keeps the bounds."""
        order = count()
        heap: list[tuple[float, int, _Part]] = []
        settled = np.inf
        pending = [(smallest_bottleneck(self.chain, deadline_s=deadline_s).lower_bound_s * (1 - 1e-9), self.most_s)]
        while True:
            for low, high in pending:
                part = self._look(low, high, deadline_s)
                if part is not None:
                    heapq.heappush(heap, (part.joules, next(order), part))
            if not heap or heap[0][0] >= self.joules * (1 - tolerance) or perf_counter() > deadline_s:
                return min(self.joules, settled, heap[0][0] if heap else np.inf)
            part = heapq.heappop(heap)[2]
            if part.high <= part.low * (1 + NARROWEST):
                settled, pending = min(settled, part.joules), []
            else:
                pending = part.split()

    def _look(self, low: float, high: float, deadline_s: float) -> _Part | None:
        """The bound of a range, the best plan in it noted; None if no plan has its bottleneck there."""
        if low > high:
            return None
        prices = energy_prices(self.chain, low)
        found = cheapest(self.chain, self.states, prices, high)
        if not found.path:
            return None
        estimate = self._note(found.path)
        if estimate.latency_s > self.max_latency_s * SLACK:
            return self._look_within(prices, low, high, deadline_s)
        return _Part(found.price, low, high, estimate.bottleneck_s)

    def _look_within(self, prices: Prices, low: float, high: float, deadline_s: float) -> _Part | None:
        """The same where the cheapest plan is too slow."""
        rate = self._multiplier(prices, high)
        if rate is None:
            return None
        question = Question(self.latency, prices, high, self.max_latency_s, rate)
        best = best_within(self.chain, self.states, question, deadline_s)
        if best.path:
            return _Part(best.bound, low, high, self._note(best.path).bottleneck_s)
        return _Part(best.bound, low, high, high) if np.isfinite(best.bound) else None

    def _multiplier(self, prices: Prices, high: float) -> float | None:
        """The price of a second at which the Lagrangian bound is best; None if no plan keeps the bound on latency.

        Of a plan that is too slow and one that is fast enough, the multiplier at which both are worth the same is tried until
        nothing is cheaper at it.
        """
        fast = cheapest(self.chain, self.states, self.latency, high)
        if fast.price > self.max_latency_s * SLACK:
            return None
        slow_path = cheapest(self.chain, self.states, prices, high).path
        slow, quick, rate = self._totals(prices, slow_path), self._totals(prices, fast.path), 0.0
        while quick[0] > slow[0] and slow[1] > quick[1] * SLACK:
            rate = (quick[0] - slow[0]) / (slow[1] - quick[1])
            mixed = cheapest(self.chain, self.states, prices.plus(self.latency, rate), high)
            if mixed.price >= (slow[0] + rate * slow[1]) * (1 - 1e-12):
                break
            self._note(mixed.path)
            point = self._totals(prices, mixed.path)
            slow, quick = (slow, point) if point[1] <= self.max_latency_s else (point, quick)
        return rate

    def _totals(self, prices: Prices, path: Sequence[Placed]) -> tuple[float, float]:
        """Joules and seconds of a path."""
        return total_price(self.chain, prices, path), total_price(self.chain, self.latency, path)

    def _note(self, path: Sequence[Placed]) -> Estimate:
        """What the path is expected to give; it is the best so far if it keeps the bounds and takes the least energy."""
        estimate = expected(self.chain, path)
        fits = estimate.latency_s <= self.max_latency_s * SLACK and estimate.bottleneck_s <= self.most_s * SLACK
        if fits and estimate.energy_j is not None and estimate.energy_j < self.joules:
            self.best, self.joules = list(path), estimate.energy_j
        return estimate


def total_price(chain: Chain, prices: Prices, path: Sequence[Placed]) -> float:
    """The price of a path."""
    total = float(prices.enter[path[0].way])
    for index, placed in enumerate(path):
        last = index + 1 == len(path)
        total += float(prices.of_nodes(placed.way, placed.start, placed.stop, last=last) + prices.stage[placed.way])
        total += float(
            prices.last_stage[placed.way] if last else prices.hand_over[placed.way, path[index + 1].way, placed.stop]
        )
        if index > 0 and chain.ways[placed.way].group == chain.source:
            total += prices.late_source
    return total
