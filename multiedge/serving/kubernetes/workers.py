"""The pods of a service, as the controller sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from multiedge.formats.fields import Field
from multiedge.serving.kubernetes.names import (
    ATTEMPT_LABEL,
    KEY_LABEL,
    KIND_LABEL,
    OWNER_LABEL,
    REPLICA_LABEL,
    TARGET_LABEL,
    TOKEN_VARIABLE,
    Key,
)
from multiedge.serving.kubernetes.status import Phase
from multiedge.serving.kubernetes.times import read_time


class WorkerKind(str, Enum):
    """What a worker does."""

    CONVERSION = "conversion"
    SERVING = "inference"


@dataclass(frozen=True)
class Worker:
    """A pod of a service.

    Attributes:
        owner: Namespace and name of the service.
        name: Name of the pod.
        kind: What it does.
        target: Type of hardware.
        key: `Target.key` of the target that it was made for.
        replica: Which of the serving workers of its target it is.
        attempt: How many were there before it for the same purpose.
        phase: How far it is. A container that waits to be started again is failed.
        is_over: Whether it will never run again.
        is_ready: Whether it answers requests.
        is_ending: Whether it has been deleted, and is about to go.
        started_s: When its container started; None before, or where that is not known.
        finished_s: When it ended; None before, or where that is not known.
        node: The node that it is on; '' before it has one.
        reason: Why it is not running, in Kubernetes' words; '' where all is well.
        token: What proves that a message is from it.
    """

    owner: Key
    name: str
    kind: WorkerKind
    target: str
    key: str
    replica: int = 0
    attempt: int = 0
    phase: Phase = Phase.CREATED
    is_over: bool = False
    is_ready: bool = False
    is_ending: bool = False
    started_s: float | None = None
    finished_s: float | None = None
    node: str = ""
    reason: str = ""
    token: str = ""


_PHASES = {"Pending": Phase.CREATED, "Running": Phase.RUNNING, "Succeeded": Phase.COMPLETED, "Failed": Phase.FAILED}


def read_worker(body: Mapping[str, Any]) -> Worker:
    """The worker that a pod with this project's labels is; ConfigError if it is none."""
    data = Field(body, "pod")
    meta, labels, status = data["metadata"], data["metadata"]["labels"], data["status"]
    phase = status["phase"].value if status.given else None
    container = _container(status)
    waiting = container.waiting if phase in (None, "Pending", "Running") else ""
    return Worker(
        owner=(meta["namespace"].name(), labels[OWNER_LABEL].name()),
        name=meta["name"].name(),
        kind=labels[KIND_LABEL].enum(WorkerKind),
        target=labels[TARGET_LABEL].name(),
        key=labels[KEY_LABEL].name(),
        replica=_number(labels[REPLICA_LABEL]),
        attempt=_number(labels[ATTEMPT_LABEL]),
        phase=Phase.FAILED if container.is_crashing and waiting else _PHASES.get(str(phase), Phase.CREATED),
        is_over=phase in ("Succeeded", "Failed"),
        is_ready=phase == "Running" and _condition(status, "Ready")[0] == "True",
        is_ending=meta["deletionTimestamp"].given,
        started_s=container.started_s,
        finished_s=container.finished_s,
        node=data["spec"]["nodeName"].optional(Field.text, ""),
        reason=_reason(status, str(phase), container, waiting),
        token=_token(data["spec"]),
    )


@dataclass(frozen=True)
class _Container:
    """The state of a pod's only container."""

    waiting: str = ""
    is_crashing: bool = False
    started_s: float | None = None
    finished_s: float | None = None
    ended: str = ""


def _container(status: Field) -> _Container:
    listed = status["containerStatuses"].optional(Field.items, []) if status.given else []
    if not listed:
        return _Container()
    state = listed[0]["state"]
    waiting = _part(state, "waiting")
    running = _part(state, "running")
    ended = _part(state, "terminated") or _part(listed[0]["lastState"], "terminated")
    reason = waiting["reason"].optional(Field.text, "") if waiting else ""
    is_crashing = bool(waiting) and listed[0]["restartCount"].optional(Field.count, 0) > 0
    shown = running or ended
    return _Container(
        waiting="" if reason in ("ContainerCreating", "PodInitializing") else reason,
        is_crashing=is_crashing,
        started_s=shown["startedAt"].optional(read_time) if shown else None,
        finished_s=ended["finishedAt"].optional(read_time) if ended and not running else None,
        ended=_ending(ended) if ended else "",
    )


def _part(data: Field, key: str) -> Field | None:
    return data[key] if data.given and data[key].given else None


def _ending(ended: Field) -> str:
    reason, code = ended["reason"].optional(Field.text, ""), ended["exitCode"].optional(Field.integer, 0)
    return reason if reason and reason not in ("Error", "Completed") else f"ended with status {code}"


def _reason(status: Field, phase: str, container: _Container, waiting: str) -> str:
    if waiting:
        return f"{waiting}: {container.ended}" if container.ended else waiting
    if phase == "Failed":
        stated = status["reason"].optional(Field.text, "")
        message = status["message"].optional(Field.text, "")
        return (f"{stated}: {message}" if message else stated) or container.ended or "failed"
    if phase == "Succeeded" or not status.given:
        return ""
    placed, reason, message = _condition(status, "PodScheduled")
    return f"{reason}: {message}" if placed == "False" else ""


def _condition(status: Field, kind: str) -> tuple[str, str, str]:
    """Status, reason and message of a pod's condition; empty texts if it has none."""
    if not status.given:
        return "", "", ""
    for each in status["conditions"].optional(Field.items, []):
        if each["type"].value == kind:
            return each["status"].text(), each["reason"].optional(Field.text, ""), each["message"].optional(Field.text, "")
    return "", "", ""


def _number(label: Field) -> int:
    """A label's number; labels are texts."""
    if not label.given:
        return 0
    text = label.text()
    if not text.isdecimal():
        raise label.expected("a whole number")
    return int(text)


def _token(spec: Field) -> str:
    for container in spec["containers"].optional(Field.items, []):
        for variable in container["env"].optional(Field.items, []):
            if variable["name"].value == TOKEN_VARIABLE:
                return variable["value"].optional(Field.text, "")
    return ""
