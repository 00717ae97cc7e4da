"""Who sends what to whom: a manifest's transfers, arranged for those who act on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from multiedge.errors import PlanError
from multiedge.executors.flow.contract import Array
from multiedge.plan import CALLER, Manifest, Part, Transfer


@dataclass(frozen=True)
class Routes:
    """The parts and the messages between them, per item. Stages are numbered by their place in `parts`.

    A stage from which nothing leaves reports to the caller with an empty message, so an item is complete exactly
    when the caller has one message from each stage in `sinks`; no other message of the item is then in the pipeline.
    """

    parts: tuple[Part, ...]
    transfers: tuple[Transfer, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> Routes:
        """Routes of a plan folder; PlanError for a transfer to or from a stage that does not exist, and for several paths."""
        if manifest.plan is not None and manifest.plan.paths:
            raise PlanError(
                f"{manifest.directory}: the plan shares items over {len(manifest.plan.paths)} paths, which executors cannot do;"
                " simulate it, or plan with another strategy"
            )
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
