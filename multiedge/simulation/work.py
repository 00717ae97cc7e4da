"""What single items take, where they differ: a cascade's second model runs for some of them only, a detector's boxes vary.

An ItemWork has one row for each item that was measured, with its share of the profile's times for each group of nodes: 0 where
the nodes do not run for it, 1 where it takes what the profile says. A simulated run draws rows by a seed, or takes them in
turn.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from multiedge.composed import segment_of, step_of
from multiedge.errors import ConfigError
from multiedge.graph import Graph
from multiedge.measurements import Measurements
from multiedge.plan import Plan, Stage, Transfer
from multiedge.planning import cost
from multiedge.planning.rates import without_rates
from multiedge.profile import Floats, Profile


@dataclass(frozen=True, eq=False)
class ItemWork:
    """The work of measured items.

    Attributes:
        groups: The group of each node of the model.
        shares: What each item takes of the times of each group's nodes, (items, groups).
        byte_shares: The same of the bytes that they make; None where it is that of the times.
        skip_shares: What an item for which a group's nodes do not run takes of their times nevertheless: a stage has to find
            that out. None where it is nothing.
        seed: With one, rows are drawn at random; None takes them in turn, as often as needed.

    Raises:
        ConfigError: If there are no rows, a share is below 0 or not finite, or a node's group has no column.
    """

    groups: tuple[int, ...]
    shares: Floats
    seed: int | None = None
    byte_shares: Floats | None = None
    skip_shares: Floats | None = None

    def __post_init__(self) -> None:
        for what, beside in (("byte", self.byte_shares), ("skip", self.skip_shares)):
            if beside is not None and beside.shape != self.shares.shape:
                raise ConfigError(f"work of items: expected {what} shares of shape {self.shares.shape}, got {beside.shape}")
        if self.shares.ndim != 2 or not len(self.shares):
            raise ConfigError(f"work of items: expected rows of shares, got an array of shape {self.shares.shape}")
        if not (np.isfinite(self.shares).all() and (self.shares >= 0).all()):
            raise ConfigError("work of items: expected finite shares from 0")
        if self.groups and not 0 <= min(self.groups) <= max(self.groups) < self.shares.shape[1]:
            raise ConfigError(f"work of items: expected groups below {self.shares.shape[1]}, got {max(self.groups)}")

    @classmethod
    def of_steps(cls, graph: Graph, shares: Mapping[str, Sequence[float] | Floats], seed: int | None = None) -> ItemWork:
        """The work of items of a workflow.

        Args:
            graph: The workflow as one model: the name of each node begins with that of its step and '/'.
            shares: By step, what each item takes of its times. Steps that are missing take the whole of it.
            seed: As for ItemWork.

        Returns:
            The ItemWork.

        Raises:
            ConfigError: If steps have different numbers of items.
        """
        names = list(shares)
        if len({len(column) for column in shares.values()}) > 1:
            raise ConfigError("work of items: expected the same number of items for each step")
        columns = [np.ones(len(shares[names[0]])), *(np.asarray(shares[name], dtype=np.float64) for name in names)]
        number = {name: index for index, name in enumerate(names, 1)}
        groups = tuple(number.get(step_of(segment_of(node.name)), 0) for node in graph.nodes)
        return cls(groups, np.stack(columns, axis=1), seed)

    @classmethod
    def measured(cls, plan: Plan, profile: Profile, run: Measurements, seed: int | None = None) -> ItemWork:
        """The work of the items of a run, by the time that each of them took in each stage.

        Args:
            plan: The plan that was run, without paths.
            profile: Costs of the model.
            run: What was measured. Of a run of several items each takes an equal part. Items of which events were left out are
                not counted.
            seed: As for ItemWork.

        Returns:
            The ItemWork; a stage that an item did not compute is 0 for it, but for what the stage took to find that out.

        Raises:
            ConfigError: If no item was answered.
        """
        profile = without_rates(profile)
        held = cost.held_nodes(profile, plan.stages)
        answered = run.documented_items
        if not answered:
            raise ConfigError("work of items: expected a run with answered items, got none; see why they failed")
        row = {item: number for number, item in enumerate(answered)}
        shares = {kind: np.zeros((len(answered), len(plan.stages))) for kind in ("compute", "skip")}
        events = [event for event in run.events if event.kind in shares and event.item in row]
        joined = Counter((event.kind, event.stage, event.device, event.start_s) for event in events)
        for event in events:
            expected_s = cost.compute_s(profile, plan.stages[event.stage], event.device, held)
            own_s = event.seconds / joined[event.kind, event.stage, event.device, event.start_s]
            share = own_s / expected_s if expected_s > 0 else float(event.kind == "compute")
            shares[event.kind][row[event.item], event.stage] = share
        groups = _stage_of(len(profile), plan.stages)
        byte_shares = _byte_shares(plan, profile.graph, run, row)
        return cls(groups, shares["compute"], seed, byte_shares, shares["skip"] if shares["skip"].any() else None)

    def rows(self, count: int) -> list[int]:
        """The row of each of `count` items."""
        if self.seed is None:
            return [number % len(self.shares) for number in range(count)]
        return [int(row) for row in np.random.default_rng(self.seed).integers(len(self.shares), size=count)]

    def stage_seconds(self, profile: Profile, stage: Stage, device: str, whole_s: float) -> Floats:
        """What each row takes for a stage.

        Args:
            profile: Costs of the model.
            stage: The stage.
            device: One of its devices.
            whole_s: What the stage takes there where every share is 1.

        Returns:
            Seconds, (rows,): `whole_s` divided among groups as the profile divides it among nodes; 0 where no node runs.
        """
        shares = self.shares if self.skip_shares is None else self.shares + self.skip_shares
        return np.asarray(whole_s * (shares @ self._weights(profile, stage, device)))

    def runs(self, profile: Profile, stage: Stage, device: str) -> list[bool]:
        """Whether the stage computes anything, for each row; arguments as those of `stage_seconds`."""
        return [bool(each) for each in self.shares @ self._weights(profile, stage, device) > 0]

    def _weights(self, profile: Profile, stage: Stage, device: str) -> Floats:
        """The part that each group has of the stage's time."""
        nodes = list(stage.nodes)
        seconds = profile.seconds[device][nodes]
        weights = np.bincount([self.groups[node] for node in nodes], seconds, self.shares.shape[1])
        total = float(weights.sum())
        if total <= 0:
            weights = np.bincount([self.groups[node] for node in nodes], minlength=self.shares.shape[1]).astype(np.float64)
            total = float(weights.sum())
        return weights / total

    def transfer_bytes(self, graph: Graph, tensors: Collection[str]) -> Floats:
        """The bytes of a message for each row, (rows,): a tensor has the share of the nodes that make it; inputs are whole."""
        total, shares = np.zeros(len(self.shares)), self.shares if self.byte_shares is None else self.byte_shares
        for name in tensors:
            size = graph.size_of(name)
            made_by = graph.producer.get(name)
            total += size if made_by is None else size * shares[:, self.groups[made_by]]
        return total


@dataclass(frozen=True, eq=False)
class Drawn:
    """What each item of a run takes: its row of the measured work, by its number; that of warm-up items is below 0. The profile
    has the times of nodes when they compute."""

    work: ItemWork
    profile: Profile
    rows: Mapping[int, int]

    @classmethod
    def of(cls, work: ItemWork, profile: Profile, warmup: int, items: int) -> Drawn:
        """The rows of a run."""
        if len(work.groups) != len(profile):
            raise ConfigError(f"work of items: expected the groups of {len(profile)} nodes, got {len(work.groups)}")
        return cls(work, without_rates(profile), dict(enumerate(work.rows(warmup + items), -warmup)))

    def stage_seconds(self, stage: Stage, device: str, whole_s: float, own_s: float) -> list[float]:
        """What each row takes for a stage of `whole_s`, and of `own_s` for its messages, which come in any case."""
        return [float(each) + own_s for each in self.work.stage_seconds(self.profile, stage, device, whole_s)]

    def runs(self, stage: Stage, device: str) -> list[bool]:
        """Whether the stage computes anything, for each row."""
        return self.work.runs(self.profile, stage, device)

    def transfer_bytes(self, move: Transfer) -> list[int]:
        """The bytes of a transfer for each row."""
        return [round(float(each)) for each in self.work.transfer_bytes(self.profile.graph, move.tensors)]


def _byte_shares(plan: Plan, graph: Graph, run: Measurements, row: Mapping[int, int]) -> Floats:
    """The bytes that each item sent from each stage, over those of an item that has all tensors; 1 where nothing was sent
    between devices, (items, stages)."""
    between: dict[tuple[str, int], list[Transfer]] = {}
    for move in plan.transfers:
        for device in plan.stages[move.source].devices if move.source >= 0 else ():
            between.setdefault((device, move.target), []).append(move)
    whole, sent = np.zeros((len(row), len(plan.stages))), np.zeros((len(row), len(plan.stages)))
    for event in run.events:
        moves = between.get((event.device, event.stage), ()) if event.kind == "transfer" and event.item in row else ()
        for move in moves:  # which of them it was is not known where a device has several: each gets the mean
            sent[row[event.item], move.source] += event.nbytes
            whole[row[event.item], move.source] += fmean(sum(map(graph.size_of, each.tensors)) for each in moves)
    return np.divide(sent, whole, out=np.ones_like(sent), where=whole > 0)


def _stage_of(nodes: int, stages: Sequence[Stage]) -> tuple[int, ...]:
    """The stage of each node."""
    home = {node: index for index, stage in enumerate(stages) for node in stage.nodes}
    return tuple(home[node] for node in range(nodes))


@dataclass(frozen=True)
class StageBatch:
    """How a stage joins items: it runs `most` of them together, or fewer once the first has waited for `wait_s`.

    Attributes:
        most: Items in a run. wait_s: Seconds that an item waits at most while its device could run it. sizes: What runs of
        several items take, as (items, time over that of one item), ascending; between them it is linear, and beyond the last,
        or without any, each item takes as long as alone.
    """

    most: int = 1
    wait_s: float = 0.0
    sizes: tuple[tuple[int, float], ...] = field(default=())

    def __post_init__(self) -> None:
        if self.most < 1 or not 0 <= self.wait_s < math.inf:
            raise ConfigError(f"batch of a stage: expected items from 1 and seconds from 0, got {self.most} and {self.wait_s}")

    def factor(self, items: int) -> float:
        """The time of a run of so many items over that of one item."""
        known = [(1, 1.0), *(each for each in self.sizes if each[0] > 1)]
        after = bisect_left(known, items, key=lambda each: each[0])
        if after == len(known):
            size, share = known[-1]
            return share * items / size
        size, share = known[after]
        if size == items:
            return share
        before, less = known[after - 1]
        return less + (share - less) * (items - before) / (size - before)


ALONE = StageBatch()
"""Each item by itself."""


@dataclass(frozen=True, eq=False)
class Items:
    """How items differ, and which stages join them, by number; None where all take what the profile says."""

    work: ItemWork | None = None
    batches: Mapping[int, StageBatch] = field(default_factory=dict)


ALIKE = Items()
"""All items take the same, and none are joined."""
