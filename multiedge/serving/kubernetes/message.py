"""What a worker posts to the controller: how far it is, and what came of its conversion.

The fields are those of Sedna's workers, in its spelling; `taskInfo` has more than the state and the times that it asks for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multiedge.backends.conversion.record import State
from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field
from multiedge.network.encoding import MESSAGE
from multiedge.serving.kubernetes.names import KIND
from multiedge.serving.kubernetes.status import Phase, read_time, time_text

OWNER_KIND = KIND.lower()
WORKER_KIND = "inference"
SYNONYMS = {"convesionState": "conversionState"}
"""The proposal of the resource spells it so."""


@dataclass(frozen=True)
class TaskInfo:
    """What is known of a conversion.

    Attributes:
        state: How far it is.
        started_s: When it began, in seconds since 1970.
        finished_s: When it ended; None before.
        backend: The runtime that is converted for.
        version: Its version.
        precision: What it computes with.
        artefact: The converted file, a path as the worker sees it.
        digest: Digest of that file.
        error: Largest relative error against the reference; None if not known.
        latency_ratio: Time of one run over that of the reference; None if not measured.
        reason: Why it failed.
        is_final: Whether it would fail again.
    """

    state: State
    started_s: float | None = None
    finished_s: float | None = None
    backend: str = ""
    version: str = ""
    precision: str = ""
    artefact: str = ""
    digest: str = ""
    error: float | None = None
    latency_ratio: float | None = None
    reason: str = ""
    is_final: bool = False


@dataclass(frozen=True)
class WorkerMessage:
    """A message of a worker: who it is, whose, how far, and its conversion."""

    name: str
    namespace: str
    owner_name: str
    status: Phase
    task: TaskInfo | None = None
    owner_kind: str = OWNER_KIND
    kind: str = WORKER_KIND


def encode_message(message: WorkerMessage) -> bytes:
    """The message as JSON."""
    data: dict[str, Any] = {
        "name": message.name,
        "namespace": message.namespace,
        "ownerName": message.owner_name,
        "ownerKind": message.owner_kind,
        "kind": message.kind,
        "status": message.status.value,
    }
    if message.task is not None:
        data["taskInfo"] = _task_to_json(message.task)
    return json.dumps(data).encode()


def _task_to_json(task: TaskInfo) -> Mapping[str, Any]:
    data = {
        "conversionState": task.state.value,
        "startTime": time_text(task.started_s),
        "finishTime": time_text(task.finished_s),
        "backend": task.backend,
        "version": task.version,
        "precision": task.precision,
        "artefact": task.artefact,
        "digest": task.digest,
        "error": _short(task.error),
        "latencyRatio": _short(task.latency_ratio),
        "reason": task.reason,
        "isFinal": task.is_final or None,
    }
    return {key: value for key, value in data.items() if value not in (None, "")}


def _short(value: float | None) -> float | None:
    """The value with the digits that say something; what is not finite is not known."""
    return float(f"{value:.3g}") if value is not None and math.isfinite(value) else None


def decode_message(text: bytes | str) -> WorkerMessage:
    """The message in a JSON text; NetworkError that names the field if it is none. Keys that are not known are left out."""
    data = parse_json(text, "message of a worker", MESSAGE)
    return WorkerMessage(
        name=data["name"].name(),
        namespace=data["namespace"].name(),
        owner_name=data["ownerName"].name(),
        status=data["status"].enum(Phase),
        task=data["taskInfo"].optional(_read_task),
        owner_kind=data["ownerKind"].name(),
        kind=data["kind"].name(),
    )


def _read_task(data: Field) -> TaskInfo:
    content = {SYNONYMS.get(key, key): field for key, field in data.mapping().items()}
    state = content.get("conversionState", data["conversionState"])

    def text(key: str) -> str:
        return data[key].optional(Field.text, "")

    return TaskInfo(
        state=state.enum(State),
        started_s=data["startTime"].optional(read_time),
        finished_s=data["finishTime"].optional(read_time),
        backend=text("backend"),
        version=text("version"),
        precision=text("precision"),
        artefact=text("artefact"),
        digest=text("digest"),
        error=data["error"].optional(Field.number),
        latency_ratio=data["latencyRatio"].optional(Field.number),
        reason=text("reason"),
        is_final=data["isFinal"].optional(Field.boolean, False),
    )
