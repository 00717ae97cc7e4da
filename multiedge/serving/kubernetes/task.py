"""What is known of a conversion. A worker posts it in its messages, and the status of a service keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multiedge.backends.conversion.record import State
from multiedge.formats.fields import Field
from multiedge.serving.kubernetes.times import read_time, time_text


@dataclass(frozen=True)
class TaskInfo:
    """What is known of a conversion.

    Attributes:
        state: How far it is.
        started_s: When it began, in seconds since 1970; None before.
        finished_s: When it ended; None before.
        backend: The runtime that is converted for.
        version: Its version.
        precision: What it computes with.
        artefact: The converted file: in a message its path as the worker sees it, in a status relative to the claim.
        digest: Digest of that file.
        error: Largest relative error against the reference; None if not known.
        latency_ratio: Time of one run over that of the reference; None if not measured.
        reason: Why it failed, or why it waits.
        is_final: Whether it has failed, and would fail again.
    """

    state: State = State.PENDING
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


UNKNOWN = TaskInfo()


def task_to_json(task: TaskInfo) -> dict[str, Any]:
    """All but the state, whose key is not the same everywhere. What is not known is left out."""
    return given(
        {
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
    )


def read_task(data: Field, state: Field) -> TaskInfo:
    """What a mapping holds of a conversion, whose state is in the field `state`."""

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


def given(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is known: a key that is left out is gone, since lists are replaced as wholes."""
    return {key: value for key, value in data.items() if value not in (None, "")}


def _short(value: float | None) -> float | None:
    """The value with the digits that say something; what is not finite is not known."""
    return float(f"{value:.3g}") if value is not None and math.isfinite(value) else None
