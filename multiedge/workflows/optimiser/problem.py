"""What the optimiser chooses from, and what is demanded of the workflow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.pipeline_cost import PipelineCost
from multiedge.plan import CALLER

MOST_REPLICAS = 8
"""Replicas of one step that are tried at most."""


class Objective(str, Enum):
    """What is to be least: the price of the devices in use for an hour, or the energy of one item."""

    COST = "cost"
    ENERGY = "energy"


@dataclass(frozen=True)
class Kind:
    """Devices that are equal for every step.

    Attributes:
        name: Name of the kind: that of its first device.
        devices: Names of the devices.
        price_per_h: What one of them costs for an hour in use.
        power: Watts of one of them; None if not stated.
        memory_bytes: What the steps on one of them may take together; inf without a limit.
    """

    name: str
    devices: tuple[str, ...]
    price_per_h: float = 1.0
    power: Power | None = None
    memory_bytes: float = math.inf


@dataclass(frozen=True)
class Variant:
    """A model that a step can run.

    Attributes:
        name: Unique within its step.
        seconds: Of one run, by kind and number of items in its batch. A kind that is missing cannot run it.
        accuracy: The share of right answers of the step; 1 where the step changes none.
        memory_bytes: What one replica takes.
    """

    name: str
    seconds: Mapping[tuple[str, int], float]
    accuracy: float = 1.0
    memory_bytes: int = 0

    def least_seconds(self, kind: str, batch: int) -> float:
        """The shortest run with up to `batch` items; inf if the kind has no time for it."""
        return min((s for (name, size), s in self.seconds.items() if name == kind and size <= batch), default=math.inf)

    def seconds_per_item(self, kind: str, batch: int) -> float:
        """The least time per item with up to `batch` items in a run; inf if the kind has no time for it."""
        shares = (s / size for (name, size), s in self.seconds.items() if name == kind and size <= batch)
        return min(shares, default=math.inf)


@dataclass(frozen=True)
class Step:
    """A step of the workflow, and what it can be run with.

    Attributes:
        name: Unique within the workflow.
        variants: At least one.
        rate: How much of a variant's run an item takes in the mean: below 1 where not every item passes, above it where one
            item has more work than the times are for.
        least_work: The same of the item with the least work of those that pass.
        timeout_s: How long an item waits at most until its batch is full; None for the time in which it fills in the mean.
    """

    name: str
    variants: tuple[Variant, ...]
    rate: float = 1.0
    least_work: float = 1.0
    timeout_s: float | None = None

    def variant(self, name: str) -> Variant:
        """The variant of this name."""
        return next(each for each in self.variants if each.name == name)


@dataclass(frozen=True)
class Edge:
    """Tensors from one step to another; CALLER is the caller. `nbytes` are those of one item that has them."""

    source: int
    target: int
    nbytes: int = 0


@dataclass(frozen=True)
class Demand:
    """What the workflow must do.

    Attributes:
        rate_per_s: Items that come per second, at random moments.
        p99_s: 99 % of the items are answered within this time.
        least_accuracy: The least accuracy of the workflow: see `Problem.accuracy_of`.
        objective: What is to be least.
    """

    rate_per_s: float
    p99_s: float
    least_accuracy: float = 0.0
    objective: Objective = Objective.COST

    def __post_init__(self) -> None:
        for name, value in (("rate", self.rate_per_s), ("p99", self.p99_s)):
            if not 0 < value < math.inf:
                raise ConfigError(f"{name}: expected a number above 0, got {value:g}")
        if not 0 <= self.least_accuracy <= 1:
            raise ConfigError(f"accuracy: expected a share from 0 to 1, got {self.least_accuracy:g}")


@dataclass(frozen=True)
class Problem:
    """A workflow, the devices, and what is demanded.

    Attributes:
        steps: In topological order.
        kinds: The devices, each in one kind.
        demand: What is demanded.
        edges: Tensors between steps, and from and to the caller.
        paths: Steps one after another, all of which more than 1 % of the items pass: their times together bound the p99 latency
            from below.
        fleet: The devices with their links; None where links cost nothing.
        batches: Most items in a run, ascending.
        pipeline: What the executor itself takes for messages; None if that is not known.
        measured_accuracy: The accuracy of the whole workflow with these variants, one of each step, where it was measured.

    Raises:
        ConfigError: If energy is to be least and a kind states no power.
    """

    steps: tuple[Step, ...]
    kinds: tuple[Kind, ...]
    demand: Demand
    edges: tuple[Edge, ...] = ()
    paths: tuple[tuple[int, ...], ...] = ()
    fleet: Fleet | None = None
    batches: tuple[int, ...] = (1,)
    pipeline: PipelineCost | None = None
    measured_accuracy: Mapping[tuple[str, ...], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        silent = [kind.devices[0] for kind in self.kinds if kind.power is None]
        if self.demand.objective is Objective.ENERGY and silent:
            raise ConfigError(
                f"objective energy: expected the power of each device, got none of '{silent[0]}'; state its power"
            )

    @cached_property
    def kind_index(self) -> dict[str, int]:
        """Position of each kind by name."""
        return {kind.name: index for index, kind in enumerate(self.kinds)}

    def kind(self, name: str) -> Kind:
        """The kind of this name."""
        return self.kinds[self.kind_index[name]]

    def accuracy_of(self, variants: Sequence[str]) -> float:
        """The accuracy with these variants, one of each step: as it was measured, otherwise the product of the steps', as IPA
        has it, which is the share of right answers if steps err independently."""
        known = self.measured_accuracy.get(tuple(variants))
        return self.product_of(variants) if known is None else known

    def product_of(self, variants: Sequence[str]) -> float:
        """The product of the accuracies of these variants, one of each step."""
        return math.prod(step.variant(name).accuracy for step, name in zip(self.steps, variants, strict=True))

    @cached_property
    def ways(self) -> tuple[tuple[int, ...], ...]:
        """`paths`, otherwise each step alone."""
        return self.paths or tuple((index,) for index in range(len(self.steps)))

    def link_s(self, source: str, target: str, nbytes: int) -> float:
        """The least time of a message between two kinds; 0 within a kind, where both ends may be one device."""
        if self.fleet is None or source == target:
            return 0.0
        pairs = [(a, b) for a in self.kind(source).devices for b in self.kind(target).devices]
        return min(self.fleet.link(a, b).transfer_s(nbytes) for a, b in pairs)

    def caller_s(self, step: int, kind: str) -> float:
        """The least time of what a step on a kind gets from the caller before it begins; 0 for a caller without a device."""
        home = self.fleet.source if self.fleet else None
        entering = [edge.nbytes for edge in self.edges if edge.source == CALLER and edge.target == step]
        if self.fleet is None or home is None or not entering or home in self.kind(kind).devices:
            return 0.0
        links: list[Link] = [self.fleet.link(home, device) for device in self.kind(kind).devices]
        return min(link.transfer_s(max(entering)) for link in links)


def kinds_of(fleet: Fleet, prices_per_h: Mapping[str, float] | None = None) -> tuple[Kind, ...]:
    """The devices of a fleet by kind: those that differ in nothing but name, and have equal links, are one.

    Args:
        fleet: The devices.
        prices_per_h: What devices cost, by name; one that is missing costs 1.

    Returns:
        The kinds, in the order of their first devices.

    Raises:
        ConfigError: If a price is of an unknown device, or is not a number from 0.
    """
    prices = dict(prices_per_h or {})
    for name, price in prices.items():
        fleet.device(name)
        if not 0 <= price < math.inf:
            raise ConfigError(f"price of '{name}': expected a number from 0, got {price:g}")
    groups: list[list[Device]] = []
    for device in fleet.devices:
        same = [group for group in groups if _are_equal(fleet, group[0], device, prices)]
        if same:
            same[0].append(device)
        else:
            groups.append([device])
    return tuple(_kind(group, prices) for group in groups)


def _kind(group: list[Device], prices: Mapping[str, float]) -> Kind:
    first = group[0]
    return Kind(first.name, tuple(each.name for each in group), prices.get(first.name, 1.0), first.power, first.available_bytes)


def _are_equal(fleet: Fleet, one: Device, other: Device, prices: Mapping[str, float]) -> bool:
    """Whether no step is better off on one of them: a device that has the caller is like no other."""
    if fleet.source in (one.name, other.name) or prices.get(one.name, 1.0) != prices.get(other.name, 1.0):
        return False
    if replace(one, name=other.name) != other:
        return False
    rest = [each.name for each in fleet.devices if each.name not in (one.name, other.name)]
    return all(
        fleet.link(one.name, name) == fleet.link(other.name, name)
        and fleet.link(name, one.name) == fleet.link(name, other.name)
        for name in rest
    )
