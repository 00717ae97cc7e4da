"""Devices that hold consecutive blocks, the items that flow between them, and the largest flow through a placement.

A device holds blocks [start, stop). Items enter it at `start`, or at a block inside where another device has ended, and then
it computes only the blocks that are missing; they leave it at `stop`. Helix (Mei et al., ASPLOS 2025) has this model; here the
time of an item may depend on where it enters, and messages have sizes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from multiedge.errors import PlanError
from multiedge.profile import Floats

OUTSIDE = -1
"""In place of a device: where items come from and results go to."""
LEAST_SHARE = 1e-9
"""Flows below this share of all items are rounding errors of the solver."""

Hop = tuple[int, int]


@dataclass(frozen=True, order=True)
class Held:
    """Blocks [start, stop) on one device, and the blocks inside at which items may enter, too."""

    start: int
    stop: int
    entries: tuple[int, ...] = ()

    def pieces(self, entry: int) -> int:
        """How many parts an item passes that enters at `entry`, where the span is cut at each of its entries."""
        return 1 + sum(inner > entry for inner in self.entries)

    def admits(self, boundary: int) -> bool:
        """Whether items may enter at a boundary."""
        return boundary == self.start or boundary in self.entries

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """The span, cut at each of its entries."""
        bounds = (self.start, *self.entries, self.stop)
        return tuple(pairwise(bounds))


Placement = Sequence[Held | None]
"""What each device holds; None is nothing."""


@dataclass(frozen=True, eq=False)
class Network:
    """What holding, computing and sending costs.

    Attributes:
        blocks: Number of blocks; boundaries are 0 ... blocks.
        span_s: By device, (blocks + 1, blocks + 1): seconds per item of all blocks between two boundaries on a device that
            holds exactly these; inf where it cannot hold them.
        work: By device, (blocks + 1,): the sum of the shares that the first p blocks have in the time of a span. None charges
            every item for the whole span, wherever it enters.
        overhead_s: Seconds per part that an item passes, in addition, by device.
        cut_bytes: Bytes of an item at each boundary.
        result_bytes: Bytes of results that the first p blocks make.
        per_byte_s: Seconds per byte from device to device; inf without a link.
        enter_per_byte_s, leave_per_byte_s: The same from and to the outside, by device.
        source: The device that is the outside; None if it is none of them.
        part_bytes: Memory of a part between two boundaries; None where memory is no limit.
        room_bytes: Memory for parts, by device.
    """

    blocks: int
    span_s: tuple[Floats, ...]
    work: tuple[Floats | None, ...]
    overhead_s: Floats
    cut_bytes: Floats
    result_bytes: Floats
    per_byte_s: Floats
    enter_per_byte_s: Floats
    leave_per_byte_s: Floats
    source: int | None = None
    part_bytes: Floats | None = None
    room_bytes: Floats | None = None

    def __len__(self) -> int:
        """Number of devices."""
        return len(self.span_s)

    def seconds(self, device: int, held: Held, entry: int) -> float:
        """Seconds of the device for an item that enters at `entry`."""
        whole, work = float(self.span_s[device][held.start, held.stop]), self.work[device]
        if work is None or entry == held.start:
            share = 1.0
        else:
            total = float(work[held.stop] - work[held.start])
            share = float(work[held.stop] - work[entry]) / total if total > 0 else 1.0
        return whole * share + float(self.overhead_s[device]) * held.pieces(entry)

    def fits(self, device: int, held: Held) -> bool:
        """Whether the device can hold the span, cut at its entries."""
        if not np.isfinite(self.span_s[device][held.start, held.stop]):
            return False
        if self.part_bytes is None or self.room_bytes is None:
            return True
        return bool(sum(self.part_bytes[part] for part in held.parts) <= self.room_bytes[device])

    def hop_s(self, source: int, target: int, boundary: int) -> float:
        """Seconds for which an item occupies the link between two devices; inf without a link."""
        nbytes = float(self.cut_bytes[boundary])
        return float(self.per_byte_s[source, target]) * nbytes if nbytes else 0.0

    def results_s(self, device: int, entry: int, placement: Placement) -> float:
        """Seconds for which the results of an item that enters a device occupy its link to the outside; inf without a link."""
        held = placement[device]
        made = float(self.result_bytes[held.stop] - self.result_bytes[entry]) if held else 0.0
        return float(self.leave_per_byte_s[device]) * made if made else 0.0

    @cached_property
    def rates(self) -> tuple[Floats, ...]:
        """By device, items per second through a span of 1, 2, ... blocks, for networks in which all blocks are alike."""
        rates = []
        for spans in self.span_s:
            most = [1.0 / spans[0, length] for length in range(1, self.blocks + 1) if np.isfinite(spans[0, length])]
            rates.append(np.array(most))
        return tuple(rates)

    @cached_property
    def is_uniform(self) -> bool:
        """Whether all blocks and boundaries are alike, and an item counts for a whole span wherever it enters."""
        by_length = all(
            np.array_equal(np.diagonal(spans, k), np.full(self.blocks + 1 - k, spans[0, k]))
            for spans in self.span_s
            for k in range(1, self.blocks + 1)
        )
        return by_length and all(work is None for work in self.work) and bool((self.cut_bytes == self.cut_bytes[0]).all())


@dataclass(frozen=True, eq=False)
class Flow:
    """The largest flow through a placement.

    Attributes:
        placement: What each device holds.
        rate: Items per second.
        hops: Items per second by (source, target); OUTSIDE is where they come from and go to.
    """

    placement: tuple[Held | None, ...]
    rate: float
    hops: Mapping[Hop, float]

    def paths(self) -> list[tuple[tuple[int, ...], float]]:
        """Devices of each path with its items per second, the widest first; they add up to the flow.

        There are at most as many as there are hops.
        """
        left = {hop: rate for hop, rate in self.hops.items() if rate > LEAST_SHARE * self.rate}
        found = []
        while path := self._widest(left):
            hops = list(zip((OUTSIDE, *path), (*path, OUTSIDE), strict=True))
            rate = min(left[hop] for hop in hops)
            found.append((path, rate))
            for hop in hops:
                left[hop] -= rate
            left = {hop: rest for hop, rest in left.items() if rest > LEAST_SHARE * self.rate}
        return found

    def _widest(self, hops: Mapping[Hop, float]) -> tuple[int, ...]:
        """The path with the most items per second; () if there is none. Devices are passed in the order of their ends."""
        ends = {device: held.stop for device, held in enumerate(self.placement) if held}
        width: dict[int, float] = {}
        before: dict[int, int] = {}
        for device in sorted(ends, key=lambda each: ends[each]):
            arrivals = [
                (min(rate, np.inf if source == OUTSIDE else width.get(source, 0.0)), source)
                for (source, target), rate in hops.items()
                if target == device
            ]
            if arrivals:
                width[device], before[device] = max(arrivals)
        last = [(min(rate, width.get(source, 0.0)), source) for (source, target), rate in hops.items() if target == OUTSIDE]
        if not last or max(last)[0] <= 0:
            return ()
        path = [max(last)[1]]
        while before[path[-1]] != OUTSIDE:
            path.append(before[path[-1]])
        return tuple(reversed(path))


def hops_of(network: Network, placement: Placement) -> dict[Hop, int]:
    """Every hop that items may take, with the boundary at which they take it."""
    held = [(device, each) for device, each in enumerate(placement) if each]
    entering, leaving = np.isfinite(network.enter_per_byte_s), np.isfinite(network.leave_per_byte_s)
    hops = {(OUTSIDE, device): 0 for device, each in held if each.start == 0 and entering[device]}
    hops |= {(device, OUTSIDE): network.blocks for device, each in held if each.stop == network.blocks and leaving[device]}
    for a, left in held:
        for b, right in held:
            if left.stop < right.stop and right.admits(left.stop) and np.isfinite(network.hop_s(a, b, left.stop)):
                hops[a, b] = left.stop
    return {hop: at for hop, at in hops.items() if hop[1] == OUTSIDE or np.isfinite(network.results_s(hop[1], at, placement))}


def largest_flow(network: Network, placement: Placement) -> Flow:
    """The largest flow through what the devices hold, by a linear program over the hops.

    Devices are busy for at most one second per second, and so is each link.
    """
    from scipy.optimize import linprog  # takes half a second to import
    from scipy.sparse import csr_array

    hops = hops_of(network, placement)
    if not hops:
        return Flow(tuple(placement), 0.0, {})
    numbers = {hop: column for column, hop in enumerate(hops)}
    rows, columns, values = _uses(network, placement, hops)
    scale = max(values, default=1.0) or 1.0
    balance = [(1.0, target, numbers[source, target]) for source, target in hops if target != OUTSIDE]
    balance += [(-1.0, source, numbers[source, target]) for source, target in hops if source != OUTSIDE]
    count = max(rows, default=-1) + 1
    answer = linprog(
        [-1.0 if source == OUTSIDE else 0.0 for source, _ in hops],
        A_ub=csr_array((np.array(values) / scale, (rows, columns)), shape=(count, len(hops))),
        b_ub=np.ones(count),
        A_eq=csr_array(
            ([each[0] for each in balance], ([each[1] for each in balance], [each[2] for each in balance])),
            shape=(len(network), len(hops)),
        ),
        b_eq=np.zeros(len(network)),
        method="highs",
    )
    if answer.status != 0:
        return Flow(tuple(placement), 0.0, {})
    flows = {hop: float(rate) / scale for hop, rate in zip(hops, answer.x, strict=True) if rate > 0}
    return Flow(tuple(placement), sum(rate for (source, _), rate in flows.items() if source == OUTSIDE), flows)


def _uses(network: Network, placement: Placement, hops: Mapping[Hop, int]) -> tuple[list[int], list[int], list[float]]:
    """For each device and link a row with the seconds that an item of each hop keeps it busy, as sparse entries."""
    number: dict[object, int] = defaultdict(lambda: len(number))
    entries: dict[Hop, float] = defaultdict(float)
    outside = OUTSIDE if network.source is None else network.source

    def use(what: object, column: int, seconds: float) -> None:
        if seconds > 0:
            entries[number[what], column] += seconds

    for column, ((source, target), boundary) in enumerate(hops.items()):
        if target == OUTSIDE:
            continue
        held = placement[target]
        assert held is not None
        use(target, column, network.seconds(target, held, boundary))
        if source == OUTSIDE:
            use((outside, target), column, float(network.enter_per_byte_s[target] * network.cut_bytes[0]))
        else:
            use((source, target), column, network.hop_s(source, target, boundary))
        use((target, outside), column, network.results_s(target, boundary, placement))
    return [row for row, _ in entries], [column for _, column in entries], list(entries.values())


def require_flow(flow: Flow) -> Flow:
    """The flow itself; PlanError if nothing flows."""
    if flow.rate <= 0:
        raise PlanError("flow: no item can pass this placement")
    return flow
