"""The largest flow over all placements of a small network, as a mixed integer program that HiGHS solves.

z[d, h] is 1 where device d holds span h, and x[d, h, m] are the items per second that enter it at boundary m; y[a, b, p] go
from device a to device b at boundary p, u[b] come from the outside and w[a] go there.

    maximise  sum_b u[b]
    sum_h z[d, h] <= 1                                                      each device holds one span
    sum_m seconds(d, h, m) x[d, h, m] <= z[d, h]                            a device is busy for one second per second
    sum over h of x[b, h, p] = sum_a y[a, b, p] + (u[b] if p = 0)           what enters
    sum over h that end at p, m of x[a, h, m] = sum_b y[a, b, p] + (w[a] if p is the end)
    seconds of all messages on a link <= 1

Rates are relative to one that no placement exceeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from partitioners.engine.flow_network import OUTSIDE, Flow, Held, Network, largest_flow
from partitioners.engine.load_bound import load_bound
from partitioners.engine.times import FORBIDDEN

FEASIBILITY = 1e-6
"""HiGHS's tolerance of integers and rows. A bound is that much higher than the solver's."""
MOST_INNER = 5
"""Boundaries inside a span, all of whose subsets are tried as entries."""


@dataclass(frozen=True, eq=False)
class Answer:
    """A flow, and the rate that no flow through a placement of the network exceeds."""

    flow: Flow
    most_rate: float


def placements_of(network: Network, device: int) -> Iterator[Held]:
    """The spans that a device can hold, with the entries that are worth a choice.

    Where parts cost nothing and there is room for all of them, every boundary inside is an entry; otherwise each subset of
    them.
    """
    for start in range(network.blocks):
        for stop in range(start + 1, network.blocks + 1):
            inner = tuple(range(start + 1, stop))
            everywhere = Held(start, stop, inner)
            if network.overhead_s[device] == 0 and network.fits(device, everywhere):
                yield everywhere
                continue
            sizes = range(len(inner) + 1 if len(inner) <= MOST_INNER else 2)
            for size in sizes:
                for entries in combinations(inner, size):
                    held = Held(start, stop, entries)
                    if network.fits(device, held):
                        yield held


def is_complete(network: Network) -> bool:
    """Whether `placements_of` lists all choices: whether no other placement can be better."""
    return network.blocks - 1 <= MOST_INNER or not (network.overhead_s.any() or network.part_bytes is not None)


def rate_limit(network: Network) -> float:
    """A rate above which no flow is: devices that divide the work among them at will, each block in its cheapest span."""
    least = np.full((network.blocks, len(network)), np.inf)
    for device in range(len(network)):
        for start in range(network.blocks):
            for stop in range(start + 1, network.blocks + 1):
                held = Held(start, stop)
                if np.isfinite(network.span_s[device][start, stop]):
                    for block in range(start, stop):
                        seconds = _block_s(network, device, held, block)
                        least[block, device] = min(least[block, device], seconds)
    largest = float(least[np.isfinite(least)].max(initial=0.0))
    if not largest or not np.isfinite(least.min(axis=1)).all():
        return 0.0
    seconds = load_bound(np.where(np.isfinite(least), least, FORBIDDEN * largest))
    return (1 + FEASIBILITY) / seconds if seconds > 0 else 0.0


def _block_s(network: Network, device: int, held: Held, block: int) -> float:
    """The least time that a device spends on one block of an item, of those that it computes for it."""
    whole, work = float(network.span_s[device][held.start, held.stop]), network.work[device]
    if work is None:
        return whole / (held.stop - held.start)
    total = float(work[held.stop] - work[held.start])
    return whole * float(work[block + 1] - work[block]) / total if total > 0 else whole / (held.stop - held.start)


def solve(network: Network, *, time_limit_s: float) -> Answer:
    """The best flow that is found in time, and its bound.

    Args:
        network: A small network.
        time_limit_s: Seconds after which the solver ends.

    Returns:
        The Answer; its flow has the rate 0 if none was found.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    none = Answer(Flow((None,) * len(network), 0.0, {}), 0.0)
    limit = rate_limit(network)
    if limit <= 0:
        return none
    program = _Program(network, limit)
    if not program.choices:
        return none
    values, rows, columns = zip(*((value, *at) for at, value in program.entries.items()), strict=True)
    most = np.full(program.count, np.inf)
    integral = np.zeros(program.count)
    most[list(program.choices.values())] = 1.0
    integral[list(program.choices.values())] = 1.0
    gain = np.zeros(program.count)
    gain[list(program.coming.values())] = -1.0
    answer = milp(
        gain,
        constraints=LinearConstraint(
            csr_array((values, (rows, columns)), shape=(len(program.least), program.count)), program.least, program.most
        ),
        integrality=integral,
        bounds=Bounds(0.0, most),
        options={"time_limit": max(time_limit_s, 0.1), "mip_rel_gap": 0.0},
    )
    if answer.status == 2:
        return none
    dual = getattr(answer, "mip_dual_bound", None)
    bound = limit * min(1.0, (-float(dual) if dual is not None else 1.0) + FEASIBILITY)
    if answer.x is None:
        return Answer(none.flow, bound)
    placement: list[Held | None] = [None] * len(network)
    for (device, held), column in program.choices.items():
        if answer.x[column] > 0.5:
            placement[device] = held
    flow = largest_flow(network, placement)
    return Answer(flow, max(bound, flow.rate))


class _Program:
    """The columns and rows, as sparse entries."""

    def __init__(self, network: Network, limit: float) -> None:
        self.count = 0
        self.entries: dict[tuple[int, int], float] = defaultdict(float)
        self.least: list[float] = []
        self.most: list[float] = []
        self._network, self._limit = network, limit
        self.choices = {
            (device, held): self._column() for device in range(len(network)) for held in placements_of(network, device)
        }
        self._into: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._out: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._links: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
        self._outside = OUTSIDE if network.source is None else network.source
        self._hold()
        self.coming = {b: self._column() for b, p in list(self._into) if p == 0}
        going = {a: self._column() for a, p in list(self._out) if p == network.blocks}
        self._connect(going)

    def _column(self) -> int:
        self.count += 1
        return self.count - 1

    def _row(self, coefficients: list[tuple[int, float]], least: float, most: float) -> None:
        for column, value in coefficients:
            self.entries[len(self.least), column] += value
        self.least.append(least)
        self.most.append(most)

    def _hold(self) -> None:
        network = self._network
        by_device: dict[int, list[int]] = defaultdict(list)
        for (device, held), choice in self.choices.items():
            by_device[device].append(choice)
            busy = [(choice, -1.0)]
            for entry in (held.start, *held.entries):
                column = self._column()
                busy.append((column, network.seconds(device, held, entry) * self._limit))
                self._row([(column, 1.0), (choice, -1.0)], -np.inf, 0.0)
                self._into[device, entry].append(column)
                self._out[device, held.stop].append(column)
                made = float(network.result_bytes[held.stop] - network.result_bytes[entry])
                if made:
                    self._use(device, self._outside, column, float(network.leave_per_byte_s[device]) * made)
            self._row(busy, -np.inf, 0.0)
        for own in by_device.values():
            self._row([(choice, 1.0) for choice in own], -np.inf, 1.0)

    def _use(self, source: int, target: int, column: int, seconds: float) -> None:
        if not np.isfinite(seconds):
            self._row([(column, 1.0)], 0.0, 0.0)
        elif seconds > 0 and source != target:
            self._links[source, target].append((column, seconds * self._limit))

    def _connect(self, going: dict[int, int]) -> None:
        network = self._network
        balance: dict[tuple[str, int, int], list[tuple[int, float]]] = {}
        for (b, p), columns in self._into.items():
            balance["into", b, p] = [(column, -1.0) for column in columns]
        for (a, p), columns in self._out.items():
            balance["out", a, p] = [(column, -1.0) for column in columns]
        for b, column in self.coming.items():
            balance["into", b, 0].append((column, 1.0))
            self._use(self._outside, b, column, float(network.enter_per_byte_s[b] * network.cut_bytes[0]))
        for a, column in going.items():
            balance["out", a, network.blocks].append((column, 1.0))
        for a, p in list(self._out):
            for b in range(len(network)):
                if b != a and ("into", b, p) in balance and np.isfinite(network.hop_s(a, b, p)):
                    column = self._column()
                    balance["out", a, p].append((column, 1.0))
                    balance["into", b, p].append((column, 1.0))
                    self._use(a, b, column, network.hop_s(a, b, p))
        for coefficients in balance.values():
            self._row(coefficients, 0.0, 0.0)
        for used in self._links.values():
            self._row(used, -np.inf, 1.0)
