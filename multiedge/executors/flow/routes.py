"""Who sends what to whom: a manifest's transfers, arranged for those who act on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from multiedge.errors import PlanError
from multiedge.executors.flow.contract import Array
from multiedge.plan import CALLER, Manifest, Part, Transfer


@dataclass(frozen=True)
class Routes:
    """The parts and the messages between them, per item. Stages are numbered by their place in `parts`.

    A stage from which nothing leaves reports to the caller with an empty message, so an item is complete exactly
    when the caller has one message from each stage in `sinks`; no other message of the item is then under way.
    """

    parts: tuple[Part, ...]
    transfers: tuple[Transfer, ...]

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
        silent = set(range(len(manifest.parts))) - {move.source for move in manifest.transfers}
        extra = tuple(Transfer(stage, CALLER, (), 0) for stage in sorted(silent))
        return cls(manifest.parts, manifest.transfers + extra)

    def entering(self, stage: int) -> tuple[int, ...]:
        """Numbers of the transfers that `stage` needs for an item."""
        return tuple(number for number, move in enumerate(self.transfers) if move.target == stage)

    def leaving(self, stage: int) -> tuple[int, ...]:
        return tuple(number for number, move in enumerate(self.transfers) if move.source == stage)

    def gather(self, stage: int, tensors: Mapping[tuple[int, str], Array]) -> dict[str, Array]:
        """What `stage` gets of an item (CALLER: its answer), out of all its tensors by the stage that made them and name."""
        moves = [move for move in self.transfers if move.target == stage]
        return {name: tensors[move.source, name] for move in moves for name in move.tensors}

    @cached_property
    def sinks(self) -> tuple[int, ...]:
        """Numbers of the transfers that end at the caller."""
        return self.entering(CALLER)

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that holds a stage, in order of first use."""
        return tuple(dict.fromkeys(device for part in self.parts for device in part.devices))

    def home(self, stage: int, sequence: int) -> str:
        """The device on which `stage` runs the item of that sequence number; replicas take turns."""
        part = self.parts[stage]
        devices = part.devices
        return devices[sequence % len(devices)]

    def stages_on(self, device: str) -> tuple[int, ...]:
        return tuple(n for n, part in enumerate(self.parts) if device in part.devices)

    def to_json(self) -> dict[str, Any]:
        """As JSON data for a worker."""
        return {
            "parts": [[part.stage, part.file, part.device, list(part.replicas)] for part in self.parts],
            "transfers": [[move.source, move.target, list(move.tensors), move.nbytes] for move in self.transfers],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Routes:
        parts = tuple(Part(stage, file, device, (), (), {}, tuple(others)) for stage, file, device, others in data["parts"])
        moves = tuple(Transfer(source, target, tuple(names), nbytes) for source, target, names, nbytes in data["transfers"])
        return cls(parts, moves)


def move_stages(manifest: Manifest, gone: frozenset[str], pick: Callable[[int, Part], str | None]) -> Manifest:
    """The manifest without the devices in `gone`: replicas on them are dropped, and a stage that has no device left
    goes to `pick(place, part)`. PlanError if that is None."""
    parts = []
    for place, part in enumerate(manifest.parts):
        left = [device for device in part.devices if device not in gone]
        if not left:
            chosen = pick(place, part)
            if chosen is None:
                raise PlanError(f"stage {place}: no device is left to run it (lost: {', '.join(sorted(gone))})")
            left = [chosen]
        parts.append(replace(part, device=left[0], replicas=tuple(left[1:])))
    return replace(manifest, parts=tuple(parts))
