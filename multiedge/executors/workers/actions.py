"""What a supervisor decides to do, as values; `multiedge.executors.workers.supervisor` carries them out."""

from __future__ import annotations

from dataclasses import dataclass

from multiedge.executors.flow.routes import Routes
from multiedge.executors.workers.messages import Configure, Prepare
from multiedge.fleet import Fleet, Link
from multiedge.measurements import Event, Fault, RanStage
from multiedge.plan import Manifest


@dataclass(frozen=True)
class StartWorker:
    """A new worker for the device; it is started, and not yet loaded."""

    device: str


@dataclass(frozen=True)
class StopWorker:
    """Ends the device's worker by force: it may hang, or have ended."""

    device: str


@dataclass(frozen=True)
class Send:
    """A command to the device's worker."""

    device: str
    command: Prepare | Configure


@dataclass(frozen=True)
class SetSpeed:
    """The device runs at `factor` times its speed, whether it has a worker or will get one."""

    device: str
    factor: float


@dataclass(frozen=True)
class SetLink:
    """The link from device `source` to device `target` is `link` from now on."""

    source: str
    target: str
    link: Link


@dataclass(frozen=True)
class EnterEpoch:
    """Every worker of the epoch is ready: earlier messages are void, and every unanswered item is sent again. Those that are
    `suspected` of having ended workers wait until the others are answered, since they may end another one."""

    epoch: int
    manifest: Manifest
    routes: Routes
    suspected: frozenset[int] = frozenset()


@dataclass(frozen=True)
class DoubleLimit:
    """The stage may take twice as long from now on: if every device is slower than expected, one must still finish."""

    stage: int


@dataclass(frozen=True)
class FailItem:
    """The item gets no further try; its answer is `error`."""

    sequence: int
    error: str


@dataclass(frozen=True)
class RequestPlan:
    """A plan for the fleet as it is now is wanted; the answer is a PlanReady or PlanFailed of a later observation."""

    fleet: Fleet


@dataclass(frozen=True)
class RecordFault:
    """Adds to the record of the run."""

    fault: Fault


@dataclass(frozen=True)
class RecordRecovery:
    """An item was answered at `recovered_s`, after whatever the fault had stopped."""

    fault: Fault
    recovered_s: float


@dataclass(frozen=True)
class RecordEvent:
    """Adds to the record of the run."""

    event: Event


@dataclass(frozen=True)
class RecordRuntime:
    """What computes a stage on a device."""

    ran: RanStage


@dataclass(frozen=True)
class EndRun:
    """The run cannot go on."""

    error: str


Action = (
    StartWorker
    | StopWorker
    | Send
    | SetSpeed
    | SetLink
    | EnterEpoch
    | DoubleLimit
    | FailItem
    | RequestPlan
    | RecordFault
    | RecordRecovery
    | RecordEvent
    | RecordRuntime
    | EndRun
)
