"""What a worker posts to the controller: how far it is, and what came of its conversion.

The fields are those of Sedna's workers, in its spelling; `taskInfo` has more than the state and the times that it asks for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field
from multiedge.network.encoding import MESSAGE
from multiedge.serving.kubernetes.names import KIND
from multiedge.serving.kubernetes.status import Phase
from multiedge.serving.kubernetes.task import TaskInfo, read_task, task_to_json

OWNER_KIND = KIND.lower()
WORKER_KIND = "inference"
SYNONYMS = {"convesionState": "conversionState"}
"""The proposal of the resource spells it so."""


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
        data["taskInfo"] = {"conversionState": message.task.state.value, **task_to_json(message.task)}
    return json.dumps(data).encode()


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
    return read_task(data, content.get("conversionState", data["conversionState"]))
