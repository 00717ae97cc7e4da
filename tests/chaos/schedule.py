"""When which fault happens: a value that is drawn from a seed, printed, and read back to repeat a run."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

GAP_S = 1.2
"""Mean time between two faults."""
LONGEST_S = 2.0
"""How long a fault that ends by itself lasts at most."""
FIRST_S = 0.5
CHANGE_AT = 0.9
"""A part is changed after this share of the time; what runs afterwards may only refuse."""


class Kind(Enum):
    """Kinds of faults. Those that have a duration end by themselves."""

    KILL = "kill"
    """A process ends without notice."""
    STOP = "stop"
    """A process stands still for a while (SIGSTOP)."""
    CUT = "cut"
    """A device's links take no messages for a while, without notice."""
    SLOW_LINK = "slow-link"
    """A device's links have little bandwidth and a long latency for a while."""
    SLOW_DEVICE = "slow-device"
    """A device computes at a tenth of its speed for a while."""
    LEAVE = "leave"
    """A device leaves the fleet with notice and returns."""
    FULL_DISK = "full-disk"
    """The file system on which the run works is full for a while."""
    POISON_INPUT = "poison-input"
    """The next item is one that the first stage refuses."""
    POISON_CRASH = "poison-crash"
    """The next item ends each process that computes it."""
    POISON_MEMORY = "poison-memory"
    """The next item takes more memory than its device has."""
    POISON_HANG = "poison-hang"
    """The next item hangs each process that computes it, with the interpreter's lock held."""
    CHANGED_PART = "changed-part"
    """A part of the plan has other content from now on: from then on, items may be refused with that reason."""

    @property
    def is_poison(self) -> bool:
        return self in POISON


POISON = frozenset({Kind.POISON_INPUT, Kind.POISON_CRASH, Kind.POISON_MEMORY, Kind.POISON_HANG})
LASTING = frozenset({Kind.STOP, Kind.CUT, Kind.SLOW_LINK, Kind.SLOW_DEVICE, Kind.LEAVE, Kind.FULL_DISK})
WEIGHTS: Mapping[Kind, float] = {Kind.KILL: 3.0, Kind.POISON_HANG: 0.3, Kind.POISON_MEMORY: 0.5, Kind.POISON_CRASH: 0.5}
"""How often a kind happens, compared with the others; those that take seconds each are rarer."""


@dataclass(frozen=True)
class FaultEvent:
    """One fault. `place` is a number that the target maps to a device or process, so that it means the same in every run."""

    at_s: float
    kind: Kind
    place: int = 0
    lasts_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.at_s:.3f} {self.kind.value} {self.place} {self.lasts_s:.3f}"

    @classmethod
    def parse(cls, line: str) -> FaultEvent:
        at_s, kind, place, lasts_s = line.split()
        return cls(float(at_s), Kind(kind), int(place), float(lasts_s))


@dataclass(frozen=True)
class Schedule:
    """The faults of one run, in the order of time. Printed, it has a line for the run and a line for each fault."""

    seed: int
    seconds: float
    events: tuple[FaultEvent, ...] = ()

    @classmethod
    def draw(cls, seed: int, seconds: float, kinds: Collection[Kind], gap_s: float = GAP_S) -> Schedule:
        """Faults of these kinds at random times, each kind at least once if there are enough; a changed part comes last."""
        generator = random.Random(seed)
        usual = sorted((kind for kind in kinds if kind is not Kind.CHANGED_PART), key=lambda kind: kind.value)
        until_s = seconds * (CHANGE_AT if Kind.CHANGED_PART in kinds else 1.0)
        moments = list(_moments(generator, until_s, gap_s))
        first = generator.sample(usual, len(usual))
        weights = [WEIGHTS.get(kind, 1.0) for kind in usual]
        drawn = [*first, *generator.choices(usual, weights, k=max(0, len(moments) - len(first)))] if usual else []
        events = [_event(generator, at_s, kind) for at_s, kind in zip(moments, drawn, strict=False)]
        if Kind.CHANGED_PART in kinds:
            events.append(FaultEvent(round(until_s, 3), Kind.CHANGED_PART, generator.randrange(100)))
            if Kind.KILL in kinds:  # so that something loads the part again
                events += [FaultEvent(round(until_s + 0.1 * n, 3), Kind.KILL, n) for n in range(1, 4)]
        return cls(seed, seconds, tuple(events))

    def of_kinds(self, *kinds: Kind) -> Iterable[FaultEvent]:
        return (event for event in self.events if event.kind in kinds)

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}, {self.seconds:g} s", *map(str, self.events)])

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """The schedule that was printed as `text`."""
        head, *lines = filter(None, map(str.strip, text.splitlines()))
        _, seed, seconds, _ = head.replace(",", "").split()
        return cls(int(seed), float(seconds), tuple(map(FaultEvent.parse, lines)))


def _moments(generator: random.Random, until_s: float, gap_s: float) -> Iterable[float]:
    at_s = FIRST_S
    while at_s < until_s:
        yield at_s
        at_s += 0.2 + generator.expovariate(1 / gap_s)


def _event(generator: random.Random, at_s: float, kind: Kind) -> FaultEvent:
    lasts_s = generator.uniform(0.3, LONGEST_S) if kind in LASTING else 0.0
    return FaultEvent(round(at_s, 3), kind, generator.randrange(100), round(lasts_s, 3))
