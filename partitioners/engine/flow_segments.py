"""Which devices share which blocks, for blocks that are all alike: a small integer program for a given rate.

A placement is a sequence of segments, and every segment carries the whole rate F. There are two kinds of them:

- replicas: devices of any kinds that hold the same k blocks and reach F together;
- lanes: two chains of devices, at rates f and F - f, of any lengths; their boundaries differ, and only their ends meet.

Since all blocks are alike, the order of segments does not matter for the devices that they need, and it suffices to count: how
many of each kind of replicas, and how many devices of each team in the lanes of each f. Lanes of one f can be put together.

Links restrict what can follow what. Devices that reach each other at rate F form a site, and replicas at both ends of a
crossing between two sites must be so many that slower links carry F together. Where many devices are linked to a few others
only, weights say how much more often items visit the former: on every path through the network the weights add up to 1 at
most, and so they do for segments in a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise, permutations, product

import numpy as np

from multiedge.profile import Floats
from partitioners.engine.flow_bound import EXACT, kinds_of
from partitioners.engine.flow_network import Network
from partitioners.engine.flow_visits import sites_of, visit_weights

MOST_SITES = 4
MOST_REPLICAS = 3
MOST_CROSSING = 3
"""Replicas at one side of a crossing."""
NARROW = 1.0 + EXACT

Team = tuple[int, ...]


@dataclass(frozen=True)
class Teams:
    """Devices that can take each other's place: of one site, with equal rates and equal weights.

    Attributes:
        sites: Number of the site of each team.
        rates: Items per second of one of its devices with 1, 2, ... blocks.
        weights: Weight of a visit.
        devices: Their numbers.
    """

    sites: tuple[int, ...]
    rates: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    devices: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        """Number of teams."""
        return len(self.devices)

    def most_blocks(self, team: int, rate: float) -> int:
        """The most blocks that a device can hold at a rate; 0 if none."""
        return max((k + 1 for k, each in enumerate(self.rates[team]) if each >= rate * (1 - EXACT)), default=0)


@dataclass(frozen=True)
class Lane:
    """A chain of devices of a segment.

    Attributes:
        rate: Items per second that it carries.
        places: Team and number of blocks of each device.
    """

    rate: float
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Segment:
    """Consecutive blocks of one site.

    Attributes:
        blocks: How many.
        lanes: The chains between which items divide.
        place: -1 for the first segment of its site, 1 for the last, 0 for any other.
    """

    blocks: int
    lanes: tuple[Lane, ...]
    place: int = 0


@dataclass(frozen=True)
class _Replicas:
    """Devices that hold the same blocks; a column of the program that counts such segments."""

    site: int
    blocks: int
    teams: tuple[int, ...]
    weight: float
    place: int = 0


@dataclass(frozen=True)
class _Lanes:
    """Two lanes at these rates; a column of the program that counts their blocks, and one for each team in each lane."""

    site: int
    rates: tuple[float, float]
    most: tuple[tuple[int, ...], tuple[int, ...]]


def teams_of(network: Network, rate: float) -> Teams:
    """The devices as teams for a rate."""
    weights = visit_weights(network, rate)
    members: dict[tuple[int, tuple[float, ...], float], list[int]] = {}
    for number, site in enumerate(sites_of(network, rate)):
        for kind in kinds_of(network):
            for device in kind.devices:
                if device in site:
                    members.setdefault((number, kind.rates, float(weights[device])), []).append(device)
    keys = list(members)
    return Teams(
        tuple(site for site, _, _ in keys),
        tuple(rates for _, rates, _ in keys),
        tuple(weight for _, _, weight in keys),
        tuple(map(tuple, members.values())),
    )


def structures(network: Network, rate: float, time_limit_s: float) -> Iterator[tuple[Teams, list[list[Segment]]]]:
    """Ways to reach a rate: for each site, in the order in which items pass it, its segments.

    Links between two sites are taken to be as fast as the median one, and links within a site as fast enough. Whether all links
    that are needed exist is seen when devices are chosen.
    """
    teams = teams_of(network, rate)
    sites = sites_of(network, rate)
    if len(sites) > MOST_SITES:
        return
    columns: list[list[_Replicas | _Lanes]] = [
        [*_replicas(teams, rate, site), *_lanes(teams, rate, site)] for site in range(len(sites))
    ]
    crossing = _crossing_rates(network, sites)
    for order in _orders(teams, len(sites), network.blocks):
        for sides in product(*(_sides(rate, crossing[a, b]) for a, b in pairwise(order))):
            ends = list(zip((0, *(right for _, right in sides)), (*(left for left, _ in sides), 0), strict=True))
            own: list[list[_Replicas | _Lanes]] = [
                [*columns[site], *_at_ends(columns[site], *each)] for site, each in zip(order, ends, strict=True)
            ]
            segments = _solve(network.blocks, teams, rate, own, ends, time_limit_s)
            if segments is not None:
                yield teams, segments


def _crossing_rates(network: Network, sites: Sequence[Sequence[int]]) -> Floats:
    """Items per second of the median link from site to site; 0 without one."""
    rates = np.zeros((len(sites), len(sites)))
    for a, b in permutations(range(len(sites)), 2):
        seconds = network.per_byte_s[np.ix_(sites[a], sites[b])] * network.cut_bytes[0]
        linked = seconds[np.isfinite(seconds) & (seconds > 0)]
        rates[a, b] = 1 / float(np.median(linked)) if len(linked) else 0.0
    return rates


def _orders(teams: Teams, sites: int, blocks: int) -> Iterator[tuple[int, ...]]:
    """Orders of sites that can hold all blocks together, those of few sites first."""
    most = [0] * sites
    for site, rates, devices in zip(teams.sites, teams.rates, teams.devices, strict=True):
        most[site] += len(rates) * len(devices)
    for count in range(1, sites + 1):
        for order in permutations(range(sites), count):
            if sum(most[site] for site in order) >= blocks:
                yield order


def _sides(rate: float, link: float) -> list[tuple[int, int]]:
    """Numbers of replicas at both sides of a crossing that suffice, the fewest first."""
    sides = range(1, MOST_CROSSING + 1)
    enough = [(a, b) for a, b in product(sides, sides) if a * b * link >= rate]
    least = [(a, b) for a, b in enough if not any(c <= a and d <= b and (c, d) != (a, b) for c, d in enough)]
    return sorted(least, key=lambda pair: (sum(pair), abs(pair[0] - pair[1])))


def _replicas(teams: Teams, rate: float, site: int) -> list[_Replicas]:
    """Sets of replicas none of which can be left out, each with the most blocks that it can hold at the rate."""
    best: dict[tuple[int, ...], _Replicas] = {}
    for blocks in range(1, max(map(len, teams.rates)) + 1):
        able = [team for team in range(len(teams)) if teams.sites[team] == site and len(teams.rates[team]) >= blocks]
        rates = {team: teams.rates[team][blocks - 1] for team in able}
        for count in range(1, MOST_REPLICAS + 1):
            for chosen in combinations_with_replacement(able, count):
                total = sum(rates[team] for team in chosen)
                enough = total >= rate * (1 - EXACT)
                if enough and total - min(rates[team] for team in chosen) < rate * (1 - EXACT):
                    weight = max(teams.weights[team] for team in chosen)
                    best[chosen] = _Replicas(site, blocks, chosen, weight)
    return list(best.values())


def _at_ends(columns: Sequence[_Replicas | _Lanes], first: int, last: int) -> Iterator[_Replicas]:
    """The replicas that may stand first and last in a site; 0 for an end that is no crossing or needs no replicas."""
    for each in columns:
        if isinstance(each, _Replicas):
            for place, count in ((-1, first), (1, last)):
                if count > 1 and len(each.teams) == count:
                    yield _Replicas(each.site, each.blocks, each.teams, each.weight, place)


def _lanes(teams: Teams, rate: float, site: int) -> Iterator[_Lanes]:
    """Pairs of lanes at rates that some device can just serve, without those in which every device holds fewer blocks than in
    another one."""
    levels = sorted({each for rates in teams.rates for each in rates if each < rate})
    pairs = {(level, rate - level) for level in levels if rate - level >= levels[0]} | {(rate / 2, rate / 2)}
    by_most: dict[object, _Lanes] = {}
    for pair in sorted((min(pair), max(pair)) for pair in pairs):
        first, second = (
            tuple(teams.most_blocks(team, each) if teams.sites[team] == site else 0 for team in range(len(teams)))
            for each in pair
        )
        if any(first) and any(second):
            by_most.setdefault((first, second), _Lanes(site, pair, (first, second)))
    found = list(by_most.values())
    for each in found:
        if not any(other is not each and _holds_more(other, each) for other in found):
            yield each


def _holds_more(a: _Lanes, b: _Lanes) -> bool:
    return a.most != b.most and all(
        x >= y for left, right in zip(a.most, b.most, strict=True) for x, y in zip(left, right, strict=True)
    )


class _Program:
    """Columns and rows of an integer program, as sparse entries."""

    def __init__(self) -> None:
        self.cost: list[float] = []
        self.rows: list[tuple[float, float]] = []
        self._entries: list[tuple[float, int, int]] = []

    def column(self, cost: float) -> int:
        self.cost.append(cost)
        return len(self.cost) - 1

    def row(self, coefficients: Sequence[tuple[int, float]], least: float, most: float) -> None:
        self._entries += [(value, len(self.rows), column) for column, value in coefficients if value]
        self.rows.append((least, most))

    def solve(self, most: float, time_limit_s: float) -> list[int] | None:
        """Whole numbers from 0 to `most`; None if there are none, or none in time."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        values, rows, columns = zip(*self._entries, strict=True)
        matrix = csr_array((values, (rows, columns)), shape=(len(self.rows), len(self.cost)))
        answer = milp(
            np.array(self.cost),
            constraints=LinearConstraint(matrix, [row[0] for row in self.rows], [row[1] for row in self.rows]),
            integrality=np.ones(len(self.cost)),
            bounds=Bounds(0, most),
            options={"time_limit": time_limit_s, "mip_rel_gap": 0.05},
        )
        return None if answer.x is None else np.round(answer.x).astype(int).tolist()


def _solve(
    blocks: int,
    teams: Teams,
    rate: float,
    sites: Sequence[Sequence[_Replicas | _Lanes]],
    ends: Sequence[tuple[int, int]],
    time_limit_s: float,
) -> list[list[Segment]] | None:
    """Segments of each site that hold all blocks, in whole devices; None if there are none, or none in time.

    Fewer lanes are easier to link, so those cost more; so does each device, since idle ones leave a choice.
    """
    program = _Program()
    counts = [[program.column(_cost(each)) for each in columns] for columns in sites]
    rows = _Rows(program, teams, rate)
    for columns, numbers in zip(sites, counts, strict=True):
        for each, number in zip(columns, numbers, strict=True):
            if isinstance(each, _Replicas):
                rows.add_replicas(each, number)
            else:
                rows.add_lanes(each, number)
    rows.finish(blocks)
    for columns, numbers, sides in zip(sites, counts, ends, strict=True):
        for place, count in zip((-1, 1), sides, strict=True):
            own = [
                (n, 1.0)
                for each, n in zip(columns, numbers, strict=True)
                if isinstance(each, _Replicas) and each.place == place
            ]
            if count > 1:
                program.row(own, 1.0, 1.0)
    answer = program.solve(float(blocks), time_limit_s)
    if answer is None:
        return None
    return [
        [
            segment
            for each, n in zip(columns, numbers, strict=True)
            for segment in _segments(teams, each, n, answer, rows.devices)
        ]
        for columns, numbers in zip(sites, counts, strict=True)
    ]


class _Rows:
    """The rows of blocks, weights and devices, while columns are added."""

    def __init__(self, program: _Program, teams: Teams, rate: float) -> None:
        self.devices: dict[tuple[int, int, int], int] = {}
        """The column of the devices of a lane, by column of the lanes, number of the lane, and team."""
        self._program, self._teams, self._rate = program, teams, rate
        self._held: list[tuple[int, float]] = []
        self._weighed: list[tuple[int, float]] = []
        self._used: list[list[tuple[int, float]]] = [[] for _ in range(len(teams))]

    def add_replicas(self, replicas: _Replicas, number: int) -> None:
        self._held.append((number, replicas.blocks))
        self._weighed.append((number, replicas.weight))
        for team in set(replicas.teams):
            self._used[team].append((number, replicas.teams.count(team)))

    def add_lanes(self, lanes: _Lanes, number: int) -> None:
        """The devices of each lane hold at least its blocks, and their weights are at most 1 together."""
        self._held.append((number, 1.0))
        for lane, most in enumerate(lanes.most):
            chain = {team: self._program.column(1.0) for team, length in enumerate(most) if length}
            self.devices.update({(number, lane, team): column for team, column in chain.items()})
            self._program.row([(number, -1.0), *((column, most[team]) for team, column in chain.items())], 0.0, np.inf)
            weights = [(column, self._teams.weights[team]) for team, column in chain.items()]
            self._program.row(weights, -np.inf, 1.0)
            self._weighed += [(column, weight * lanes.rates[lane] / self._rate) for column, weight in weights]
            for team, column in chain.items():
                self._used[team].append((column, 1.0))

    def finish(self, blocks: int) -> None:
        """All blocks are held, weights are at most 1 together, and no team has more devices than it has."""
        self._program.row(self._held, blocks, np.inf)
        self._program.row(self._weighed, -np.inf, 1.0)
        for team, own in enumerate(self._used):
            self._program.row(own, 0.0, len(self._teams.devices[team]))


def _cost(column: _Replicas | _Lanes) -> float:
    """Each device costs 1, and each lane beyond the first as much again."""
    return 2.0 * len(column.teams) - 1.0 if isinstance(column, _Replicas) else 1.0


def _segments(
    teams: Teams, column: _Replicas | _Lanes, number: int, answer: Sequence[int], devices: dict[tuple[int, int, int], int]
) -> Iterator[Segment]:
    if isinstance(column, _Replicas):
        for _ in range(answer[number]):
            lanes = tuple(Lane(teams.rates[team][column.blocks - 1], ((team, column.blocks),)) for team in column.teams)
            yield Segment(column.blocks, lanes, column.place)
    elif answer[number]:
        yield Segment(
            answer[number],
            tuple(
                Lane(
                    rate,
                    tuple(
                        (t, length) for t, length in enumerate(most) if length for _ in range(answer[devices[number, lane, t]])
                    ),
                )
                for lane, (rate, most) in enumerate(zip(column.rates, column.most, strict=True))
            ),
        )
