"""Who sends what to whom: a manifest's transfers, arranged for those who act on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from multiedge.errors import PlanError
from multiedge.executors.flow.contract import Array
from multiedge.plan import CALLER, Manifest, Part, Path, Transfer, next_path

ONLY_WAY = 0
"""The way of every item where a plan has no paths."""


@dataclass(frozen=True)
class Way:
    """Stages that an item passes, the device of each, and how many items per second do so.

    A path of a plan is one way; if stages of it have replicas, it is several, so that they take its items in turn.
    """

    stages: tuple[int, ...]
    devices: tuple[str, ...]
    items_per_s: float


@dataclass(frozen=True)
class Routes:
    """The parts and the messages between them, per item. Stages are numbered by their place in `parts`.

    A stage from which nothing leaves reports to the caller with an empty message, so an item is complete exactly
    when the caller has one message for each transfer in `sinks`; no other message of the item is then in the pipeline.

    Where a plan has paths, each item takes one of `ways`, and a transfer belongs to one of them, `way_of` by its number: so a
    message tells which stage is next. Otherwise both are empty, and every item takes every transfer.
    """

    parts: tuple[Part, ...]
    transfers: tuple[Transfer, ...]
    ways: tuple[Way, ...] = ()
    way_of: tuple[int, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> Routes:
        """Routes of a plan folder; PlanError for a transfer to or from a stage that does not exist."""
        stages = range(CALLER, len(manifest.parts))
        for move in manifest.transfers:
            if move.source not in stages or move.target not in stages:
                raise PlanError(
                    f"{manifest.directory}: a transfer goes from stage {move.source} to {move.target}; "
                    f"the plan has {len(manifest.parts)} stages"
                )
        if not manifest.paths:
            return cls(manifest.parts, _with_reports(range(len(manifest.parts)), manifest.transfers))
        ways: list[Way] = []
        moves: list[Transfer] = []
        way_of: list[int] = []
        for path, (numbers, transfers) in zip(manifest.paths, manifest.taken, strict=True):
            taken = _with_reports(numbers, transfers)
            for way in _ways(manifest, path):
                moves += taken
                way_of += [len(ways)] * len(taken)
                ways.append(way)
        return cls(manifest.parts, tuple(moves), tuple(ways), tuple(way_of))

    @property
    def count(self) -> int:
        """How many ways there are."""
        return len(self.ways) or 1

    def next_way(self, taken: Sequence[int]) -> int:
        """The way of the next item, if so many items have taken each way before."""
        return next_path(self.ways, taken) if self.ways else ONLY_WAY

    def way(self, transfer: int) -> int:
        """The way of the items that take a transfer."""
        return self.way_of[transfer] if self.ways else ONLY_WAY

    def on(self, way: int) -> range | tuple[int, ...]:
        """Numbers of the stages of a way."""
        return self.ways[way].stages if self.ways else range(len(self.parts))

    def entering(self, stage: int, way: int = ONLY_WAY) -> tuple[int, ...]:
        """Numbers of the transfers that `stage` needs for an item."""
        return tuple(number for number in self._numbers[way] if self.transfers[number].target == stage)

    def leaving(self, stage: int, way: int = ONLY_WAY) -> tuple[int, ...]:
        return tuple(number for number in self._numbers[way] if self.transfers[number].source == stage)

    @cached_property
    def _numbers(self) -> tuple[tuple[int, ...], ...]:
        """The transfers of each way."""
        numbers = range(len(self.transfers))
        if not self.ways:
            return (tuple(numbers),)
        return tuple(tuple(number for number in numbers if self.way_of[number] == way) for way in range(len(self.ways)))

    def gather(self, stage: int, tensors: Mapping[tuple[int, str], Array], way: int = ONLY_WAY) -> dict[str, Array]:
        """What `stage` gets of an item (CALLER: its answer), out of all its tensors by the stage that made them and name."""
        moves = [self.transfers[number] for number in self.entering(stage, way)]
        return {name: tensors[move.source, name] for move in moves for name in move.tensors}

    @cached_property
    def sinks(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the transfers that end at the caller, by way."""
        return tuple(self.entering(CALLER, way) for way in range(self.count))

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that items pass, in order of first use."""
        if self.ways:
            return tuple(dict.fromkeys(device for way in self.ways for device in way.devices))
        return tuple(dict.fromkeys(device for part in self.parts for device in part.devices))

    def home(self, stage: int, sequence: int, way: int = ONLY_WAY) -> str:
        """The device on which `stage` runs the item of that sequence number; replicas take turns."""
        homes = self.homes(stage, way)
        return homes[sequence % len(homes)]

    def homes(self, stage: int, way: int = ONLY_WAY) -> tuple[str, ...]:
        """The devices on which `stage` runs items of a way, in turn."""
        if not self.ways:
            return self.parts[stage].devices
        return (self.ways[way].devices[self.ways[way].stages.index(stage)],)

    def stages_on(self, device: str) -> tuple[int, ...]:
        """Every stage that the device holds, whether items pass it now or not."""
        return tuple(n for n, part in enumerate(self.parts) if device in part.devices)


def _with_reports(stages: Sequence[int], transfers: Sequence[Transfer]) -> tuple[Transfer, ...]:
    """The transfers, and an empty one to the caller from each stage that sends nothing."""
    silent = sorted(set(stages) - {move.source for move in transfers})
    return (*transfers, *(Transfer(stage, CALLER, (), 0) for stage in silent))


def _ways(manifest: Manifest, path: Path) -> Iterator[Way]:
    devices = [manifest.parts[stage].devices for stage in path.stages]
    turns = math.lcm(*map(len, devices))
    for turn in range(turns):
        yield Way(path.stages, tuple(each[turn % len(each)] for each in devices), path.items_per_s / turns)
