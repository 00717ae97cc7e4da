"""What the controller tells a user: the `status` of a HeteroInferenceService as values.

The status is also the memory of the controller: what a worker has told, once, is found there after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from multiedge.backends.conversion.record import State
from multiedge.formats.fields import Field
from multiedge.serving.kubernetes.task import UNKNOWN, TaskInfo, given, read_task, task_to_json
from multiedge.serving.kubernetes.times import read_time, time_text


class Phase(str, Enum):
    """How far a service, or one of its workers, is."""

    CREATED = "created"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True)
class Condition:
    """A statement about the service, with Kubernetes' fields; `is_true` is None where it is not known."""

    type: str
    is_true: bool | None
    reason: str
    message: str = ""
    since_s: float = 0.0
    generation: int = 0


@dataclass(frozen=True)
class Conversion:
    """The conversion for one target.

    Attributes:
        target: Type of hardware.
        key: `Target.key`.
        worker: Name of the pod that converts, or did so last; '' before there is one.
        attempts: Pods that were started for it.
        node: The node on which it ran; '' where that is not known.
        task: How far it is, and what came of it.
    """

    target: str
    key: str
    worker: str = ""
    attempts: int = 0
    node: str = ""
    task: TaskInfo = UNKNOWN

    @property
    def state(self) -> State:
        return self.task.state


@dataclass(frozen=True)
class WorkerLine:
    """A pod of the service, as the status lists it."""

    name: str
    kind: str
    target: str
    phase: Phase
    node: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Status:
    """The status of a service. `phase` is None before the controller has seen it."""

    phase: Phase | None = None
    generation: int = 0
    address: str = ""
    ready_workers: int = 0
    wanted_workers: int = 0
    conversions: tuple[Conversion, ...] = ()
    conditions: tuple[Condition, ...] = ()
    workers: tuple[WorkerLine, ...] = ()

    def conversion(self, target: str, key: str) -> Conversion | None:
        """What is known of a target's conversion; None if nothing is."""
        return next((each for each in self.conversions if (each.target, each.key) == (target, key)), None)

    def condition(self, kind: str) -> Condition | None:
        return next((each for each in self.conditions if each.type == kind), None)


def status_to_json(status: Status) -> dict[str, Any]:
    """The status as JSON data; every key is given, so that a merge patch with it leaves nothing of an earlier one."""
    done = sum(each.state is State.SUCCESS for each in status.conversions)
    backends = dict.fromkeys(each.task.backend for each in status.conversions if each.task.backend)
    return {
        "phase": status.phase.value if status.phase else None,
        "observedGeneration": status.generation,
        "address": status.address or None,
        "converted": f"{done}/{len(status.conversions)}",
        "ready": f"{status.ready_workers}/{status.wanted_workers}",
        "readyWorkers": status.ready_workers,
        "wantedWorkers": status.wanted_workers,
        "backends": ",".join(backends),
        "conditions": [_condition_to_json(each) for each in status.conditions],
        "conversions": [_conversion_to_json(each) for each in status.conversions],
        "workers": [_worker_to_json(each) for each in status.workers],
    }


_TRUTH = {True: "True", False: "False", None: "Unknown"}


def _condition_to_json(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": _TRUTH[condition.is_true],
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": time_text(condition.since_s),
        "observedGeneration": condition.generation,
    }


def _conversion_to_json(conversion: Conversion) -> dict[str, Any]:
    known = {
        "hardware": conversion.target,
        "key": conversion.key,
        "worker": conversion.worker,
        "state": conversion.state.value,
        "attempts": conversion.attempts,
        "node": conversion.node,
    }
    return {**given(known), **task_to_json(conversion.task)}


def _worker_to_json(worker: WorkerLine) -> dict[str, Any]:
    return given(
        {
            "name": worker.name,
            "kind": worker.kind,
            "hardware": worker.target,
            "phase": worker.phase.value,
            "node": worker.node,
            "reason": worker.reason,
        }
    )


def read_status(data: Field) -> Status:
    """The status in a resource, which may be missing or of another release: what it lacks is not known."""
    if not data.given:
        return Status()
    return Status(
        phase=data["phase"].optional(lambda each: each.enum(Phase)),
        generation=data["observedGeneration"].optional(Field.count, 0),
        address=data["address"].optional(Field.text, ""),
        ready_workers=data["readyWorkers"].optional(Field.count, 0),
        wanted_workers=data["wantedWorkers"].optional(Field.count, 0),
        conversions=data["conversions"].optional(lambda each: each.list_of(_read_conversion), ()),
        conditions=data["conditions"].optional(lambda each: each.list_of(_read_condition), ()),
        workers=data["workers"].optional(lambda each: each.list_of(_read_worker), ()),
    )


def _read_condition(data: Field) -> Condition:
    truth = {text: value for value, text in _TRUTH.items()}
    return Condition(
        type=data["type"].name(),
        is_true=truth[data["status"].choice(truth)],
        reason=data["reason"].text(),
        message=data["message"].optional(Field.text, ""),
        since_s=data["lastTransitionTime"].optional(read_time, 0.0),
        generation=data["observedGeneration"].optional(Field.count, 0),
    )


def _read_conversion(data: Field) -> Conversion:
    return Conversion(
        target=data["hardware"].name(),
        key=data["key"].name(),
        worker=data["worker"].optional(Field.text, ""),
        attempts=data["attempts"].optional(Field.count, 0),
        node=data["node"].optional(Field.text, ""),
        task=read_task(data, data["state"]),
    )


def _read_worker(data: Field) -> WorkerLine:
    return WorkerLine(
        name=data["name"].name(),
        kind=data["kind"].name(),
        target=data["hardware"].name(),
        phase=data["phase"].enum(Phase),
        node=data["node"].optional(Field.text, ""),
        reason=data["reason"].optional(Field.text, ""),
    )
