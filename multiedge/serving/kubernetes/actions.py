"""What the policy asks for: workers to create and delete, the address of a service, and events for its user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from multiedge.serving.kubernetes.spec import Target
from multiedge.serving.kubernetes.workers import WorkerKind


@dataclass(frozen=True)
class CreateWorker:
    """Create a pod.

    Attributes:
        name: Its name, which is the same for the same purpose and attempt: a second creation is refused by the API server.
        kind: What it does.
        target: For which target.
        replica: Which of the serving workers of the target it is.
        attempt: How many were there before it.
        backend: The runtime to serve with; '' for a conversion, which reads the target's.
        precision: What to compute with; '' for the runtime's own. Of a conversion, that of the target.
        near: The node to prefer; '' for any.
    """

    name: str
    kind: WorkerKind
    target: Target
    replica: int = 0
    attempt: int = 0
    backend: str = ""
    precision: str = ""
    near: str = ""


@dataclass(frozen=True)
class DeleteWorker:
    """Delete a pod; `reason` is for the log."""

    name: str
    reason: str


@dataclass(frozen=True)
class CreateAddress:
    """Create the Service of Kubernetes in front of the serving workers."""


@dataclass(frozen=True)
class Notify:
    """Add an event to the resource, as `kubectl describe` shows it."""

    reason: str
    message: str
    is_warning: bool = False


Action: TypeAlias = CreateWorker | DeleteWorker | CreateAddress | Notify
