"""What is to be planned, and a plan that was considered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from multiedge.backends.contract import Tensors
from multiedge.errors import ConfigError
from multiedge.fleet import Fleet
from multiedge.graph import Graph
from multiedge.plan import MeasuredAccuracy, Plan
from multiedge.planning.cost import held_nodes
from multiedge.profile import Profile
from multiedge.spans import FastestSpans
from multiedge.variants.costs import Allowed, Variant

BUDGET_S = 6.0

Planner = Callable[[Profile, Fleet], Plan]
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Task:
    """What is to be planned.

    Attributes:
        graph: The model, read from its file.
        fleet: The devices.
        items: Arrays by name of the model's inputs, one mapping for each item.
        labels: The right class of each item; empty if they are not known.
        limit: The largest loss of accuracy, or without labels of agreement, as a share.
        planner: Makes a plan of a profile and a fleet.
        measures_all: Whether plans that are not needed for the choice are measured, too, for a picture of them.
        budget_s: Seconds of timing for each variant.
        progress: Called with the step and the share of it that is done.
    """

    graph: Graph
    fleet: Fleet
    items: Sequence[Tensors]
    labels: Sequence[int]
    limit: float
    planner: Planner
    measures_all: bool = False
    budget_s: float = BUDGET_S
    progress: Progress = field(default=lambda step, share: None, repr=False)


@dataclass(frozen=True)
class Tried:
    """A plan that was considered.

    Attributes:
        plan: The plan, with its runtimes; with its accuracy once that is measured.
        profile: The costs with which it was made.
        allowed: The variants that each device might use.
        variants: The variant of each device in use.
    """

    plan: Plan
    profile: Profile
    allowed: Allowed
    variants: Mapping[str, Variant]

    @property
    def name(self) -> str:
        """The variants in words, such as 'onnxruntime int8 on phone, tablet'."""
        each = dict.fromkeys(self.variants.values())
        devices = {one: ", ".join(name for name, own in self.variants.items() if own == one) for one in each}
        return "; ".join(f"{one} on {names}" for one, names in devices.items())

    @property
    def accuracy(self) -> MeasuredAccuracy:
        """What its variants cost; ConfigError before it was measured."""
        if self.plan.accuracy is None:
            raise ConfigError(f"the accuracy of {self.name} has not been measured")
        return self.plan.accuracy

    def is_same_as(self, other: Tried) -> bool:
        """Whether it runs the same nodes on the same devices in the same variants as another one."""
        return (self.plan.stages, self.variants) == (other.plan.stages, other.variants)

    @property
    def loss(self) -> float:
        """The share of answers that it loses."""
        return self.accuracy.loss

    def gain_s(self, device: str, other: Variant) -> float:
        """The seconds that a device saves for an item with its variant in place of another one."""
        cost = self.profile.spans.get(device)
        if not isinstance(cost, FastestSpans):
            return 0.0
        start, stop = held_nodes(self.profile, self.plan.stages)[device]
        return cost.way_s(self.allowed[device].index(other), start, stop) - cost.seconds(start, stop)
