"""Which device takes which place in the segments of `flow_segments`, so that links carry the items from each to the next.

The order of segments in a site, the order of devices in a lane and the choice among equal devices are free. They are found by
simulated annealing; what it minimises is the rate that is missing at the links, summed over all places where items change
devices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, zip_longest
from random import Random
from time import perf_counter

import numpy as np

from multiedge.profile import Floats
from partitioners.engine.flow_bound import EXACT
from partitioners.engine.flow_network import OUTSIDE, Held, Network
from partitioners.engine.flow_segments import Segment, Teams

HOT, COLD = 0.15, 0.05
"""Heat at the begin and at the end of a round of annealing, relative to the rate."""
ROUND = 10_000
"""Changes of a round; the next one begins where it ended."""
NEVER = float("inf")


@dataclass(eq=False)
class _Slot:
    """A place in a lane: a device of a team that holds some blocks. The search exchanges the devices."""

    team: int
    blocks: int
    device: int = OUTSIDE


@dataclass(eq=False)
class _Lane:
    rate: float
    most: float
    slots: list[_Slot]


@dataclass(eq=False)
class _Piece:
    """A segment at its place in the sequence. Pieces of the same `room` may change places."""

    blocks: int
    lanes: list[_Lane]
    room: tuple[int, int]


class Links:
    """Items per second over each link, and from and to the outside."""

    def __init__(self, network: Network) -> None:
        nbytes = float(network.cut_bytes[0])
        made = float(network.result_bytes[-1] - network.result_bytes[0])
        self.between: list[list[float]] = _rates(network.per_byte_s * nbytes).tolist()
        self.enter: list[float] = _rates(network.enter_per_byte_s * nbytes).tolist()
        self.leave: list[float] = _rates(network.leave_per_byte_s * made).tolist()


def _rates(seconds: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(seconds > 0, 1.0 / seconds, NEVER))


class Arrangement:
    """Segments of a rate in a sequence, with devices in all their places."""

    def __init__(self, network: Network, teams: Teams, sites: Sequence[Sequence[Segment]], rate: float, seed: int) -> None:
        self._network, self._teams, self._rate = network, teams, rate
        self._links = Links(network)
        self._random = Random(seed)
        self._pieces = [piece for number, segments in enumerate(sites) for piece in _pieces(segments, teams, number)]
        self._trim(sum(piece.blocks for piece in self._pieces) - network.blocks)
        self._place_of = {slot: at for at, piece in enumerate(self._pieces) for lane in piece.lanes for slot in lane.slots}
        self._chains = [lane.slots for piece in self._pieces for lane in piece.lanes if len(lane.slots) > 1]
        self._rooms = [list(group) for _, group in groupby(range(len(self._pieces)), key=lambda at: self._pieces[at].room)]
        self._slots = list(self._place_of)
        self._mates = [[slot for slot in self._slots if slot.team == team] for team in range(len(teams))]
        self._idle = [list(members) for members in teams.devices]
        for members in self._idle:
            self._random.shuffle(members)
        for slot in self._slots:
            slot.device = self._idle[slot.team].pop()

    def _trim(self, excess: int) -> None:
        """Takes blocks from single devices until the segments have as many as there are, where the rate allows it."""
        for piece in self._pieces:
            slot = piece.lanes[0].slots[0]
            if excess <= 0 or len(piece.lanes) > 1 or len(piece.lanes[0].slots) > 1:
                continue
            rates = self._teams.rates[slot.team]
            fewer = [k for k in range(max(1, slot.blocks - excess), slot.blocks) if rates[k - 1] >= self._rate * (1 - EXACT)]
            if fewer:
                excess -= slot.blocks - fewer[0]
                slot.blocks = piece.blocks = fewer[0]
                piece.lanes[0].most = rates[slot.blocks - 1]

    def search(self, deadline_s: float) -> float:
        """Exchanges and moves devices and segments until no rate is missing or the clock passes `deadline_s`.

        Returns:
            The rate that is missing, in items per second, summed over all places.
        """
        shortages = [self._shortage(at) for at in range(len(self._pieces) + 1)]
        missing, count = sum(shortages), 0
        while missing > EXACT * self._rate:
            if count % 64 == 0 and perf_counter() > deadline_s:
                break
            heat = self._rate * HOT * (COLD / HOT) ** (count % ROUND / ROUND)
            count += 1
            change = self._change()
            if change is None:
                continue
            undo, pieces = change
            touched = {at for piece in pieces for at in (piece, piece + 1)}
            before = {at: shortages[at] for at in touched}
            for at in touched:
                shortages[at] = self._shortage(at)
            worse = sum(shortages[at] - before[at] for at in touched)
            if worse <= 0 or self._random.random() < math.exp(-worse / heat):
                missing = sum(shortages)
            else:
                undo()
                for at, value in before.items():
                    shortages[at] = value
        return missing

    def _change(self) -> tuple[Callable[[], None], tuple[int, ...]] | None:
        """A random change, made: what takes it back, and the places that it touches. None if there was nothing to change."""
        kind = self._random.random()
        if kind < 0.5:
            room = self._random.choice(self._rooms)
            if len(room) > 1:
                return self._swap_pieces(*self._random.sample(room, 2))
        if kind < 0.6 and self._chains:
            slots = self._random.choice(self._chains)
            return self._swap_slots(slots, *self._random.sample(range(len(slots)), 2))
        return self._exchange()

    def _swap_pieces(self, a: int, b: int) -> tuple[Callable[[], None], tuple[int, ...]]:
        pieces = self._pieces

        def swap() -> None:
            pieces[a], pieces[b] = pieces[b], pieces[a]
            for at in (a, b):
                for lane in pieces[at].lanes:
                    for slot in lane.slots:
                        self._place_of[slot] = at

        swap()
        return swap, (a, b)

    def _swap_slots(self, slots: list[_Slot], a: int, b: int) -> tuple[Callable[[], None], tuple[int, ...]]:
        def swap() -> None:
            slots[a], slots[b] = slots[b], slots[a]

        swap()
        return swap, (self._place_of[slots[a]],)

    def _exchange(self) -> tuple[Callable[[], None], tuple[int, ...]] | None:
        """Another device of its team in a slot: an idle one, or that of another slot."""
        slot = self._random.choice(self._slots)
        idle, mates = self._idle[slot.team], self._mates[slot.team]
        number = self._random.randrange(len(idle) + len(mates))
        if number < len(idle):

            def exchange() -> None:
                idle[number], slot.device = slot.device, idle[number]

            exchange()
            return exchange, (self._place_of[slot],)
        other = mates[number - len(idle)]
        if other is slot:
            return None

        def swap() -> None:
            other.device, slot.device = slot.device, other.device

        swap()
        return swap, (self._place_of[slot], self._place_of[other])

    def _shortage(self, at: int) -> float:
        """Items per second that links do not carry into the piece at a place, and within it; at the end, to the outside."""
        rate, links = self._rate, self._links.between
        if at == len(self._pieces):
            leave = self._links.leave
            return max(0.0, rate - sum(min(lane.most, leave[lane.slots[-1].device]) for lane in self._pieces[-1].lanes))
        lanes = self._pieces[at].lanes
        if at:
            carried = _carried(self._pieces[at - 1].lanes, lanes, links)
        else:
            carried = sum(min(lane.most, self._links.enter[lane.slots[0].device]) for lane in lanes)
        missing = max(0.0, rate - carried)
        for lane in lanes:
            for a, b in pairwise(lane.slots):
                missing += max(0.0, lane.rate - links[a.device][b.device])
        return missing

    def placement(self) -> list[Held | None]:
        """What each device holds."""
        placement: list[Held | None] = [None] * len(self._network)
        position, blocks = 0, self._network.blocks
        for piece in self._pieces:
            stop = min(position + piece.blocks, blocks)
            for lane in piece.lanes:
                at = position
                for slot in lane.slots:
                    end = min(at + slot.blocks, stop)
                    start = _start(self._teams.rates[slot.team], lane.rate, at, end, slot.blocks)
                    if end > at:
                        placement[slot.device] = Held(start, end, tuple(range(start + 1, end)))
                    at = end
            position = stop
        return placement


def _pieces(segments: Sequence[Segment], teams: Teams, site: int) -> list[_Piece]:
    """The pieces of a site: those at a crossing first and last."""
    pieces = []
    for segment in segments:
        lanes = []
        for lane in segment.lanes:
            slots = [_Slot(team, blocks) for team, blocks in lane.places]
            lanes.append(_Lane(lane.rate, min(teams.rates[slot.team][slot.blocks - 1] for slot in slots), slots))
        pieces.append(_Piece(segment.blocks, lanes, (site, segment.place)))
    return [piece for place in (-1, 0, 1) for piece in _alternating(pieces, teams, place)]


def _alternating(pieces: Sequence[_Piece], teams: Teams, place: int) -> Iterator[_Piece]:
    """The pieces of a place, those of positive and of other weights in turn, so that few must move."""
    own = [piece for piece in pieces if piece.room[1] == place]
    heavy = [max(teams.weights[slot.team] for lane in piece.lanes for slot in lane.slots) > 0 for piece in own]
    both = [[piece for piece, each in zip(own, heavy, strict=True) if each is wanted] for wanted in (True, False)]
    for pair in zip_longest(*both):
        yield from filter(None, pair)


def _start(rates: Sequence[float], rate: float, at: int, end: int, blocks: int) -> int:
    """Where a device begins that must compute blocks [at, end) and could hold more: at `at` if its rate allows that, otherwise
    as little before it as its rate demands."""
    for start in range(at, max(-1, end - blocks - 1), -1):
        if start >= 0 and rates[end - start - 1] >= rate * (1 - EXACT):
            return start
    return max(0, end - blocks)


def _carried(left: Sequence[_Lane], right: Sequence[_Lane], links: Sequence[Sequence[float]]) -> float:
    """The largest flow from the last devices of some lanes to the first ones of others: the smallest cut, over all subsets of
    the lanes at the left."""
    if len(left) == 1:
        row = links[left[0].slots[-1].device]
        carried = 0.0
        for lane in right:
            carried += min(lane.most, row[lane.slots[0].device])
        return min(carried, left[0].most)
    if len(right) == 1:
        first, carried = right[0].slots[0].device, 0.0
        for lane in left:
            carried += min(lane.most, links[lane.slots[-1].device][first])
        return min(carried, right[0].most)
    least = NEVER
    rates = [links[lane.slots[-1].device] for lane in left]
    for chosen in range(1 << len(left)):
        cut = sum(lane.most for index, lane in enumerate(left) if not chosen >> index & 1)
        for lane in right:
            first = lane.slots[0].device
            cut += min(lane.most, sum(row[first] for index, row in enumerate(rates) if chosen >> index & 1))
        least = min(least, cut)
    return least
