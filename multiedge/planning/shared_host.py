"""What a pipeline does whose devices are emulated on one machine: processor sharing among its workers and the caller.

A fluid model in simulated time. A stage needs `threads` processors while it computes, then waits without one, as a slow device
is emulated. If n threads compute at the same time, and m threads of other work, each proceeds on c processors at the rate

    min(1, c / (n + m)) / slowdown

where the slowdown is that of work which computes beside other work, if more than one thread computes, times that of work which
takes turns with other work, if more than c threads do. It is 1 where neither was measured.

Slow devices that compute at the same time thus delay each other in every cycle. The time slices of a real scheduler shift them
against each other if they compute for no longer than a slice, a few milliseconds; then the model is too low, by 10 % at times.

Each device does one item of one stage at a time, the oldest item first, and as many items are under way as the executor admits.
Where a plan has several paths, each item takes one of them, as the executor shares them out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from heapq import heappop, heappush

from multiedge.plan import Path, next_path

MOST_ITEMS = 192
"""Items that are simulated. Further ones come at the rate of the middle third, while the pipeline is full."""
MOST_OTHER, STEPS = 4096, 24
"""Threads of other work for each processor, and how often their range is halved."""
CLOSE_S = 1e-12
"""What is nearer to its end than this has ended: the difference is one of rounding."""


@dataclass(frozen=True)
class Work:
    """What one stage does for one item.

    Attributes:
        devices: Names of the devices that take items in turn, one item at a time each; () for a delay, which any number of
            items pass at the same time.
        computing_s: Time on the processors.
        waiting_s: Time without a processor, afterwards.
        threads: Processors that it uses while it computes.
        after: Stages, by their place in the sequence, that end before it begins.
        lost_s: The part of `computing_s` in which a processor does nothing for the stage, as between processes.
    """

    devices: tuple[str, ...]
    computing_s: float
    waiting_s: float = 0.0
    threads: int = 1
    after: tuple[int, ...] = ()
    lost_s: float = 0.0

    @property
    def processor_s(self) -> float:
        """The processor time that the system counts."""
        return self.computing_s - self.lost_s

    def with_more(self, seconds: float, switching: float) -> Work:
        """The same and `seconds` more of processor time, for which a processor is taken `switching` times as long."""
        lost_s = seconds * (switching - 1.0)
        return replace(self, computing_s=self.computing_s + seconds + lost_s, lost_s=self.lost_s + lost_s)

    def at_pace(self, pace: float) -> Work:
        """The same work on a machine that computes `pace` times as fast; a slow device waits in proportion."""
        return replace(self, computing_s=self.computing_s / pace, waiting_s=self.waiting_s / pace)


@dataclass(frozen=True)
class Admission:
    """`items` are run, at most `in_flight` of them under way. With `in_groups` the next ones enter when all are answered."""

    items: int
    in_flight: int
    in_groups: bool = False


@dataclass(frozen=True)
class Host:
    """`cores` processors, for which `other_threads` of other work compete without a pause; a fraction of a thread counts as
    such. `beside` and `in_turns` are the factors by which work that computes beside other work, or in turns with it, takes more
    processor time; a fraction of a thread too many, or beside, has that share of the effect."""

    cores: float
    other_threads: float = 0.0
    beside: float = 1.0
    in_turns: float = 1.0

    def share(self, threads: int) -> float:
        """The share of a processor that each of the pipeline's `threads` has."""
        wanted = threads + self.other_threads
        return min(1.0, self.cores / wanted) if wanted > 0 else 1.0

    def rate(self, threads: int) -> float:
        """What each of the pipeline's `threads` gets done per second, in seconds of work alone."""
        wanted = threads + self.other_threads
        others, surplus = min(1.0, max(0.0, min(wanted, self.cores) - 1.0)), min(1.0, max(0.0, wanted - self.cores))
        slowdown = (1.0 + (self.beside - 1.0) * others) * (1.0 + (self.in_turns - 1.0) * surplus)
        return self.share(threads) / slowdown


@dataclass(frozen=True)
class Outcome:
    """`fps` items per second from the first that is issued to the last that is answered, and the processors that other work
    has meanwhile."""

    fps: float
    other_cores: float


@lru_cache(maxsize=256)
def outcome(works: tuple[Work, ...], admission: Admission, host: Host, paths: tuple[Path, ...] = ()) -> Outcome:
    """What a pipeline does on a machine.

    Args:
        works: What each stage does per item, in topological order. Of at least one stage, a time is above zero.
        admission: How many items there are, and how they enter.
        host: The machine.
        paths: The ways of items through the works, by their places in `works`; empty if every item passes all.

    Returns:
        The Outcome. Of many items the first ones are simulated.
    """
    most = MOST_ITEMS - MOST_ITEMS % admission.in_flight if admission.in_groups else MOST_ITEMS
    simulated = min(admission.items, max(most, 3 * admission.in_flight))
    ways = tuple(_Way.of(works, path.stages) for path in paths) or (_Way.of(works, tuple(range(len(works)))),)
    simulation = _Simulation(works, replace(admission, items=simulated), host, paths, ways)
    ends = simulation.ends()
    further = admission.items - simulated
    first, last = simulated // 3, 2 * simulated // 3
    interval_s = (ends[last] - ends[first]) / (last - first) if further else 0.0
    return Outcome(admission.items / (ends[-1] + further * interval_s), simulation.other_s / ends[-1])


def competing_threads(
    works: tuple[Work, ...], admission: Admission, cores: float, other_cores: float, paths: tuple[Path, ...] = ()
) -> float:
    """How many threads of other work compete if other work has so many processors meanwhile.

    Args:
        works: What each stage does per item.
        admission: How many items there are, and how they enter.
        cores: Processors of the machine.
        other_cores: Processors that other work has, on average.
        paths: The ways of items through the works; empty if every item passes all.

    Returns:
        Threads, 0.0 at least; at most MOST_OTHER for each processor.
    """
    low, high = 0.0, MOST_OTHER * cores
    for _ in range(STEPS):
        middle = (low + high) / 2
        had = outcome(works, admission, Host(cores, middle), paths).other_cores
        low, high = (middle, high) if had < other_cores else (low, middle)
    return (low + high) / 2 if other_cores > 0 else 0.0


@dataclass
class _Job:
    """A stage of an item on a device; what is left of it."""

    item: int
    stage: int
    computing_s: float
    waiting_s: float
    threads: int

    def seconds_left(self, rate: float) -> float:
        """Until its phase ends."""
        return self.computing_s / rate if self.computing_s > 0 else self.waiting_s

    def proceed(self, seconds: float, rate: float) -> None:
        if self.computing_s > 0:
            self.computing_s = _left(self.computing_s - seconds * rate)
        else:
            self.waiting_s = _left(self.waiting_s - seconds)

    @property
    def has_ended(self) -> bool:
        return self.computing_s <= 0 and self.waiting_s <= 0


def _left(seconds: float) -> float:
    return seconds if seconds > CLOSE_S else 0.0


@dataclass(frozen=True)
class _Way:
    """The works that an item passes: for how many others each of them waits, and which others wait for it."""

    waits_for: dict[int, int]
    readers: dict[int, list[int]]

    @classmethod
    def of(cls, works: tuple[Work, ...], passed: tuple[int, ...]) -> _Way:
        before = {stage: [each for each in works[stage].after if each in passed] for stage in passed}
        readers = {stage: [reader for reader in passed if stage in before[reader]] for stage in passed}
        return cls({stage: len(each) for stage, each in before.items()}, readers)


@dataclass
class _Flight:
    """An item under way: how many works each stage still waits for, how many have not ended, and its number among the items of
    its way, by which replicas take turns."""

    way: _Way
    turn: int
    missing: dict[int, int]
    unfinished: int


@dataclass
class _Simulation:
    works: tuple[Work, ...]
    admission: Admission
    host: Host
    paths: tuple[Path, ...]
    ways: tuple[_Way, ...]
    jobs: dict[object, _Job] = field(default_factory=dict)
    queues: dict[object, list[tuple[int, int]]] = field(default_factory=dict)
    flights: dict[int, _Flight] = field(default_factory=dict)
    issued: int = 0
    other_s: float = 0.0

    def __post_init__(self) -> None:
        self.taken = [0] * len(self.ways)

    def ends(self) -> list[float]:
        """When the items are answered, ascending."""
        now_s, ends = 0.0, []
        self._admit()
        while self.jobs:
            threads = sum(job.threads for job in self.jobs.values() if job.computing_s > 0)
            rate = self.host.rate(threads)
            seconds = min(job.seconds_left(rate) for job in self.jobs.values())
            now_s += seconds
            self.other_s += seconds * self.host.other_threads * self.host.share(threads)
            for job in self.jobs.values():
                job.proceed(seconds, rate)
            for place in [place for place, job in self.jobs.items() if job.has_ended]:
                job = self.jobs.pop(place)
                flight = self.flights[job.item]
                for stage in flight.way.readers[job.stage]:
                    self._let_go(job.item, stage)
                flight.unfinished -= 1
                if not flight.unfinished:
                    del self.flights[job.item]
                    ends.append(now_s)
                self._start_next(place)
            self._admit()
        return ends

    def _admit(self) -> None:
        if self.admission.in_groups and self.flights:
            return
        while self.issued < self.admission.items and len(self.flights) < self.admission.in_flight:
            item, self.issued = self.issued, self.issued + 1
            number = next_path(self.paths, self.taken) if self.paths else 0
            way, turn = self.ways[number], self.taken[number]
            self.taken[number] += 1
            self.flights[item] = _Flight(way, turn, dict(way.waits_for), len(way.waits_for))
            for stage, others in way.waits_for.items():
                if not others:
                    self._enter(item, stage)

    def _let_go(self, item: int, stage: int) -> None:
        """One stage less for which another one waits."""
        missing = self.flights[item].missing
        missing[stage] -= 1
        if not missing[stage]:
            self._enter(item, stage)

    def _enter(self, item: int, stage: int) -> None:
        devices = self.works[stage].devices
        place: object = devices[self.flights[item].turn % len(devices)] if devices else (item, stage)
        heappush(self.queues.setdefault(place, []), (item, -stage))
        if place not in self.jobs:
            self._start_next(place)

    def _start_next(self, place: object) -> None:
        if place not in self.jobs and self.queues.get(place):
            item, stage = heappop(self.queues[place])
            work = self.works[-stage]
            self.jobs[place] = _Job(item, -stage, work.computing_s, work.waiting_s, work.threads)
