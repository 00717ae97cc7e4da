"""Lower bounds for sets of plans, found in other ways than a strategy finds them.

Contiguous plans on devices of their own are a path through states (devices used, last device, boundary). A dynamic program
over them finds the least latency, and whether any plan keeps a time per item. The least energy follows from programs
with the time per item kept between two values: a plan that takes T per item idles for T, so the energy of all plans with
T in [low, high] is at least that of the program with idle time `low` and times limited to `high`. The programs leave out some
of what a plan costs (results that stages before the last return), never add any, so their values are lower bounds.

Where times do not add up over nodes, these programs take the time of each span as it is.

For other sets of plans the bounds are weaker: the linear program of the load (each node shared out over the devices, none of
them busy for longer than T), the longest path with each node on its fastest device, and each node
where it takes the least energy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import permutations
from math import inf
from time import perf_counter

import numpy as np
import scipy.optimize
import scipy.sparse

from multiedge.fleet import Fleet
from multiedge.plan import CALLER, Stage, Transfer
from multiedge.proof import Plans, Scope
from multiedge.verification.figures import figures, most_bytes, rate
from multiedge.verification.model import Floats, Model
from multiedge.verification.spans import Spans
from multiedge.verification.structure import memory_errors

MOST_STEPS = 2e10
"""Elements that a dynamic program may visit; beyond that only the weaker bounds are computed."""
MOST_VARIABLES = 200_000
INFEASIBLE = 2
"""scipy's status of a linear program that has no solution."""
ROUNDING, NARROWEST = 1e-9, 1e-7
"""Relative: of sums in another order, and of the interval of the time per item that is not halved any more."""


@dataclass(frozen=True)
class Bound:
    """A lower bound.

    Attributes:
        value: No plan of the scope is below it.
        method: How it was found.
    """

    value: float
    method: str


def lower_bound(objective: str, scope: Scope, model: Model, fleet: Fleet, wanted: float, time_limit_s: float) -> Bound:
    """A lower bound for the plans of a scope.

    Args:
        objective: 'throughput', 'latency' or 'energy'.
        scope: The plans.
        model: The model and its costs.
        fleet: The devices.
        wanted: The bound that a plan states; the search ends once it is reached.
        time_limit_s: The search ends after this time.

    Returns:
        The best bound that was found. `value` is at most `wanted` for 'throughput', where only that much is asked.
    """
    if scope.first_on or scope.last_on:
        model = model.pinned(scope.first_on, scope.last_on)
    spans = Spans(model, fleet, scope.most_memory_bytes)
    if scope.plans is Plans.ONE_DEVICE:
        return Bound(_best_single(objective, spans), "each device alone")
    weak = Bound(*_WEAK[objective](model, fleet))
    steps = 2.0 ** len(spans.devices) * len(spans.devices) ** 2 / 2 * (model.count + 1) ** 2
    has_strong = scope.plans is Plans.CONTIGUOUS and not scope.replicas and not _comes_back(scope)
    if not has_strong or steps > MOST_STEPS or weak.value >= wanted * (1 - ROUNDING):
        return weak
    strong = _Program(spans, scope).bound(objective, wanted, perf_counter() + time_limit_s)
    return max(strong, weak, key=lambda bound: bound.value)


def _comes_back(scope: Scope) -> bool:
    """Whether both ends are on one device, which takes two stages there: the programs give each device one."""
    return bool(scope.first_on) and scope.first_on == scope.last_on


@dataclass(frozen=True)
class _Prices:
    """What a dynamic program adds up: a span on a device, what crosses each boundary between two devices, the inputs of the
    first device, and the results of the last one by the first boundary of its stage."""

    span: Callable[[str], Floats]
    boundary: Callable[[str, str], Floats]
    inputs: Callable[[str], float] = lambda _: 0.0
    results: Callable[[str], Floats | float] = lambda _: 0.0


class _Program:
    """All contiguous plans without replicas."""

    def __init__(self, spans: Spans, scope: Scope) -> None:
        self.spans = spans
        self.source = spans.fleet.source
        self.most_s = inf if scope.least_fps is None else 1.0 / scope.least_fps
        self.most_latency_s = inf if scope.most_latency_s is None else scope.most_latency_s

    def bound(self, objective: str, wanted: float, deadline_s: float) -> Bound:
        if objective == "throughput":
            prices = self._nothing() if self.most_latency_s == inf else self._seconds()
            least = self._least(prices, wanted * (1 - ROUNDING))
            is_none = least == inf or least > self.most_latency_s * (1 + ROUNDING)
            return Bound(wanted if is_none else 0.0, "every order of devices, by dynamic programming")
        if objective == "latency":
            least = self._least(self._seconds(), self.most_s)
            return Bound(least, "least latency over every order of devices, by dynamic programming")
        return Bound(self._energy_bound(wanted, deadline_s), "least energy in intervals of the time per item")

    def _nothing(self) -> _Prices:
        edges = np.zeros(self.spans.model.count + 1)
        return _Prices(lambda _: np.zeros((len(edges), len(edges))), lambda *_: edges)

    def _seconds(self) -> _Prices:
        """The latency of one item."""
        return _Prices(self.spans.seconds, self._way_s, self._inputs_s, self._results_s)

    def _way_s(self, source: str | None, target: str | None) -> Floats:
        return self.spans.occupancy_s(source, target) + self.spans.latency_s(source, target)

    def _inputs_s(self, target: str) -> float:
        return float(self._way_s(self.source, target)[0])

    def _results_s(self, source: str) -> Floats:
        delay_s = self.spans.latency_s(source, self.source)
        return self._results_occupancy_s(source) + np.where(self.spans.model.outputs_from > 0, delay_s, 0.0)

    def _results_occupancy_s(self, source: str) -> Floats:
        """How long the results of a last stage from each boundary on occupy the link to where items arise, (n + 1,)."""
        returned = self.spans.model.returned_sent_bytes
        return np.asarray((returned[-1] - returned) / self.spans.rate(source, self.source), dtype=np.float64)

    def _energy_bound(self, wanted: float, deadline_s: float) -> float:
        """The least over intervals of the time per item; the interval of the least value is halved until `wanted`."""
        low, high = self._fastest_s(), min(self.most_s, self._slowest_s())
        intervals = [(0.0, low, high)] if low <= high else []
        while intervals and intervals[0][0] < wanted * (1 - ROUNDING) and perf_counter() < deadline_s:
            _, low, high = intervals[0]
            if high <= low * (1 + NARROWEST):
                break
            heappop(intervals)
            middle = (low * high) ** 0.5 if high > 2 * low > 0 else (low + high) / 2
            for part in ((low, middle), (middle, high)):
                heappush(intervals, (self._least(self._joules(part[0]), part[1]), *part))
        return intervals[0][0] if intervals else inf

    def _joules(self, idle_s: float) -> _Prices:
        def span(name: str) -> Floats:
            power = self.spans.fleet.device(name).power
            if power is None:
                return np.full_like(self.spans.seconds(name), inf)
            return power.idle_w * idle_s + (power.busy_w - power.idle_w) * self.spans.seconds(name)

        def boundary(source: str, target: str) -> Floats:
            return np.asarray(self.spans.model.crossing_sent_bytes * self.spans.fleet.device(source).joules_per_byte)

        def results(source: str) -> Floats | float:
            returned = self.spans.model.returned_sent_bytes
            is_sent = self.source not in (None, source)
            return (returned[-1] - returned) * self.spans.fleet.device(source).joules_per_byte if is_sent else 0.0

        # A source without a stage is no device in use, so inputs count for nothing.
        return _Prices(span, boundary, results=results)

    def _fastest_s(self) -> float:
        """No plan takes less per item."""
        return load_bound(self.spans.model, self.spans.fleet)[0]

    def _slowest_s(self) -> float:
        """No plan takes longer per item: all nodes on the slowest device, or everything over the slowest link."""
        spans, names = self.spans, self.spans.devices
        ends = [*names, self.source]
        results = float(spans.model.returned_sent_bytes[-1])
        links = [
            (float(spans.model.crossing_sent_bytes.max()) + results) / rate(spans.fleet.link(a, b))
            for a in ends
            for b in ends
            if a is not None and b is not None and a != b
        ]
        return 2 * max([*(float(spans.seconds(name).max()) for name in names), *links])

    def _least(self, prices: _Prices, most_s: float) -> float:
        """The least price of a plan whose stages and links take at most `most_s`; inf if there is none."""
        spans, names = self.spans, self.spans.devices
        cost = {name: self._span_prices(prices, name, most_s) for name in names}
        step = {ends: self._boundary_prices(prices, *ends, most_s) for ends in permutations(names, 2)}
        first = [name for name in names if spans.occupancy_s(self.source, name)[0] <= most_s]
        level = {(frozenset([name]), name): prices.inputs(name) + cost[name][0] for name in first}
        least = inf
        while level:
            least = min([least, *(float(values[-1]) for values in level.values())])
            after: dict[tuple[frozenset[str], str], Floats] = {}
            for (used, last), values in level.items():
                for name in names:
                    if name not in used:
                        key = (used | {name}, name)
                        reached = (values + step[last, name])[:, None] + cost[name]
                        after[key] = np.minimum(after.get(key, np.inf), reached.min(axis=0))
            level = {key: values for key, values in after.items() if np.isfinite(values).any()}
        return least

    def _span_prices(self, prices: _Prices, name: str, most_s: float) -> Floats:
        allowed = self.spans.fits(name) & (self.spans.seconds(name) <= most_s)
        allowed[:, -1] &= self._results_occupancy_s(name) <= most_s
        priced = np.where(allowed, prices.span(name), inf)
        priced[:, -1] += prices.results(name)
        return priced

    def _boundary_prices(self, prices: _Prices, source: str, target: str, most_s: float) -> Floats:
        return np.where(self.spans.occupancy_s(source, target) <= most_s, prices.boundary(source, target), inf)


def _best_single(objective: str, spans: Spans) -> float:
    """The least value of the whole model on one device that holds it."""
    model, fleet = spans.model, spans.fleet
    least = inf
    for name in spans.devices:
        if model.excluded.get(name):
            continue
        stage = Stage(name, tuple(range(model.count)))
        given = [each for each in model.graph.inputs if each in model.readers]
        moves = [Transfer(CALLER, 0, tuple(given), None), Transfer(0, CALLER, tuple(model.graph.outputs), None)]
        alone = figures(model, fleet, [stage], moves)
        value = alone.value(objective)
        if value is not None and value < inf and not memory_errors(alone, fleet):
            least = min(least, value)
    return least


def load_bound(model: Model, fleet: Fleet) -> tuple[float, str]:
    """The least time per item with each node shared out over the devices at will: a linear program.

    Parameters that one node reads take memory in proportion; all other memory and all messages are left out.

    Args:
        model: The model and its costs.
        fleet: The devices.

    Returns:
        Seconds, and how they were found.
    """
    names = [name for name in fleet.names if name in model.profile.seconds]
    count, width = model.count, len(names)
    least_s = np.array([model.least_s[name] for name in names])
    possible = np.isfinite(least_s)
    if not possible.any(axis=0).all():
        return inf, "a node has no time on any device"
    seconds = np.where(possible, least_s, 0.0)
    if count * width > MOST_VARIABLES:
        fastest = least_s.min(axis=0)
        return float(max(fastest.sum() / width, 0.0)), "the load with each node on its fastest device"
    columns = np.arange(count * width).reshape(width, count)
    node_of = np.tile(np.arange(count), width)
    shared_out = scipy.sparse.csr_matrix((np.ones(count * width), (node_of, columns.ravel())), (count, count * width + 1))
    device_of = np.repeat(np.arange(width), count)
    busy = scipy.sparse.csr_matrix((seconds.ravel(), (device_of, columns.ravel())), (width, count * width + 1)).tolil()
    busy[:, -1] = -1.0
    own = np.tile(_own_parameter_bytes(model), width) / 2.0**20
    held = scipy.sparse.csr_matrix((own, (device_of, columns.ravel())), (width, count * width + 1))
    limits = [_room_bytes(fleet, name) / 2.0**20 for name in names]
    limited = [place for place, limit in enumerate(limits) if limit < inf]
    scale = float(seconds.max()) or 1.0
    solved = scipy.optimize.linprog(
        np.concatenate([np.zeros(count * width), [1.0]]),
        A_ub=scipy.sparse.vstack([busy.tocsr() / scale, held.tocsr()[limited]]) if limited else busy.tocsr() / scale,
        b_ub=np.concatenate([np.zeros(width), [limits[place] for place in limited]]),
        A_eq=shared_out,
        b_eq=np.ones(count),
        bounds=[(0.0, None if each else 0.0) for each in (*possible.ravel(), True)],
    )
    # Only a program without a solution excludes all plans; one that the solver gave up proves nothing.
    value = {0: solved.fun, INFEASIBLE: inf}.get(solved.status, 0.0)
    return float(value), "the linear program of the load"


def _room_bytes(fleet: Fleet, name: str) -> float:
    device = fleet.device(name)
    limit = most_bytes(device)
    return inf if limit is None else limit - device.runtime_bytes


def _own_parameter_bytes(model: Model) -> Floats:
    """Bytes of the parameters that only this node reads, (n,)."""
    readers: dict[str, int] = {}
    for names in model.parameters:
        for name in names:
            readers[name] = readers.get(name, 0) + 1
    return np.array([model.nbytes([n for n in names if readers[n] == 1]) for names in model.parameters], dtype=np.float64)


def _longest_path(model: Model, fleet: Fleet) -> tuple[float, str]:
    """The longest path of nodes that wait for each other, each on its fastest device."""
    fastest = np.min([model.least_s[name] for name in fleet.names if name in model.profile.seconds], axis=0)
    done = [0.0] * model.count
    for node in range(model.count):
        before = [done[model.maker[name]] for name in model.reads[node] if name in model.maker]
        done[node] = max(before, default=0.0) + float(fastest[node])
    return max(done), "the longest path with each node on its fastest device"


def _least_joules(model: Model, fleet: Fleet) -> tuple[float, str]:
    """Each node where it takes the least: while a device computes, it takes its busy watts."""
    powered = [name for name in fleet.names if name in model.profile.seconds and fleet.device(name).power is not None]
    watts = {name: power.busy_w for name in powered if (power := fleet.device(name).power)}
    least_s = [model.least_s[name] for name in watts]
    has_time = np.isfinite(least_s)
    joules = [
        np.multiply(each, most_w, where=known, out=np.full_like(each, inf))
        for each, most_w, known in zip(least_s, watts.values(), has_time, strict=True)
    ]
    return (float(np.min(joules, axis=0).sum()) if joules else inf), "each node on the device where it takes the least energy"


_WEAK = {"throughput": load_bound, "latency": _longest_path, "energy": _least_joules}
