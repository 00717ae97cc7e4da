"""What a supervisor knows between two looks, as values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from multiedge.executors.flow.routes import Routes
from multiedge.executors.workers.options import Deadlines
from multiedge.fleet import Fleet
from multiedge.measurements import Fault
from multiedge.plan import Manifest
from multiedge.trace import FleetState


@dataclass(frozen=True)
class Rules:
    """What stays the same during a run. `shapes_links` and `limits_memory` say whether links and memory are emulated."""

    fleet: Fleet
    manifest: Manifest
    deadlines: Deadlines = field(default_factory=Deadlines)
    fallbacks: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    shapes_links: bool = True
    limits_memory: bool = True
    can_replan: bool = False


class Presence(Enum):
    """Whether a device can hold stages."""

    READY = auto()
    """It can; its worker is started when it gets the first."""
    OUT = auto()
    """It was lost, and waits until it may be started again."""
    RETURNING = auto()
    """Its worker loads its stages again; it holds none yet."""
    ABSENT = auto()
    """It has left by the trace."""


@dataclass(frozen=True)
class Progress:
    """When a silent worker was last seen to use the processor, and how much it had used by then. Since `inactive_since_s` every
    look has found it inactive without a reason; None if the last one has not."""

    at_s: float
    cpu_s: float
    inactive_since_s: float | None = None


@dataclass(frozen=True)
class DeviceState:
    """What is known about a device.

    `losses` counts how often it was lost since it last answered an item; they decide when it may return: at `retry_s`, inf
    for never. `charged` is the item during which it was lost last. Its worker has owed a reply since `asked_s`; it has been
    READY since `since_s`. `progress` is None while signs of life come.
    """

    presence: Presence = Presence.READY
    since_s: float = -math.inf
    losses: int = 0
    retry_s: float = 0.0
    charged: int | None = None
    asked_s: float | None = None
    progress: Progress | None = None

    def forgiven(self) -> DeviceState:
        """With all losses forgotten."""
        return replace(self, losses=0, charged=None)


@dataclass(frozen=True)
class New:
    """No worker was started."""


@dataclass(frozen=True)
class Entering:
    """Workers enter the epoch; those in `awaited` have not replied. A fault while the first is entered ends the run."""

    awaited: frozenset[str]
    began_s: float
    is_first: bool = False


@dataclass(frozen=True)
class Running:
    """Items flow."""


@dataclass(frozen=True)
class Planning:
    """Items stand still until a plan is there."""

    began_s: float


@dataclass(frozen=True)
class Waiting:
    """No device is left, but one may come back."""


@dataclass(frozen=True)
class Ended:
    """The run cannot go on."""

    error: str


Phase = New | Entering | Running | Planning | Waiting | Ended


@dataclass(frozen=True)
class OpenFault:
    """A fault of this epoch; it is over with the first answer in a later one."""

    fault: Fault
    epoch: int


@dataclass(frozen=True)
class Stuck:
    """A transfer that has taken no message since then, and how many it had taken before."""

    since_s: float
    taken: float


@dataclass(frozen=True)
class State:
    """`planned` is the plan in force, `placed` where its stages are in this epoch, `requested` the fleet for which a plan
    was requested that is not there yet. `charges` counts, by item, the workers that ended while they computed it; those in
    `alone` were in a batch when its worker ended: joined no more, each is charged for itself. `waiting_since_s` is when the run
    had no device left; None once items flow again, so that a device which is lost again while it enters ends no wait."""

    planned: Manifest
    placed: Manifest
    routes: Routes
    phase: Phase = field(default_factory=New)
    epoch: int = 0
    devices: Mapping[str, DeviceState] = field(default_factory=dict)
    conditions: FleetState = field(default_factory=FleetState)
    requested: Fleet | None = None
    open_faults: tuple[OpenFault, ...] = ()
    charges: Mapping[int, int] = field(default_factory=dict)
    alone: frozenset[int] = frozenset()
    stuck: Mapping[int, Stuck] = field(default_factory=dict)
    waiting_since_s: float | None = None

    @property
    def is_running(self) -> bool:
        return isinstance(self.phase, Running)

    @property
    def is_starting(self) -> bool:
        """Whether nothing has run yet."""
        return isinstance(self.phase, New) or (isinstance(self.phase, Entering) and self.phase.is_first)

    @property
    def away(self) -> frozenset[str]:
        """Devices that cannot hold stages now."""
        return frozenset(name for name, device in self.devices.items() if device.presence is not Presence.READY)


def first_state(rules: Rules) -> State:
    manifest = rules.manifest
    devices = {name: DeviceState() for name in rules.fleet.names}
    return State(planned=manifest, placed=manifest, routes=Routes.of(manifest), devices=devices)
