"""Messages of workers."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from multiedge.backends.conversion.record import State
from multiedge.errors import NetworkError
from multiedge.serving.kubernetes.message import WorkerMessage, decode_message, encode_message
from multiedge.serving.kubernetes.status import Phase
from multiedge.serving.kubernetes.task import TaskInfo

TASK = TaskInfo(State.SUCCESS, 10.0, 11.5, "openvino", "2026.4", "float32", "/models/a.xml", "ab", 1e-6, 0.5)
FAILED = TaskInfo(State.FAILED, 10.0, 11.5, reason="wrong outputs", is_final=True)


@pytest.mark.parametrize("task", [None, TASK, FAILED, TaskInfo(State.RUNNING, 10.0)])
def test_a_message_is_read_as_it_was_written(task: TaskInfo | None) -> None:
    message = WorkerMessage("w", "default", "classify", Phase.COMPLETED, task)
    assert decode_message(encode_message(message)) == message


def given(**changes: Any) -> dict[str, Any]:
    """A message as the proposal of the resource shows it."""
    return {
        "name": "worker-name",
        "namespace": "default",
        "ownerName": "heteroinferenceservice-name",
        "ownerKind": "heteroinferenceservice",
        "kind": "inference",
        "status": "completed",
        "taskInfo": {
            "convesionState": "success",
            "startTime": "2020-11-03T08:39:22.517Z",
            "finishTime": "2020-11-03T08:50:22.517Z",
        },
        **changes,
    }


def test_the_message_of_the_proposal_is_read_in_its_spelling() -> None:
    message = decode_message(json.dumps(given()))
    assert message.status is Phase.COMPLETED
    assert message.task == TaskInfo(State.SUCCESS, 1604392762.517, 1604393422.517)


def test_a_message_has_the_fields_of_the_proposal() -> None:
    sent = json.loads(encode_message(WorkerMessage("w", "default", "classify", Phase.COMPLETED, TASK)))
    assert set(given()) == set(sent)
    assert set(given()["taskInfo"]) - {"convesionState"} < set(sent["taskInfo"])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"status": "done"}, "status: unknown value 'done'"),
        ({"ownerName": ""}, "ownerName: expected a name, got ''"),
        ({"taskInfo": {"startTime": "2020-11-03T08:39:22.517Z"}}, "taskInfo.conversionState: missing"),
    ],
)
def test_an_error_names_the_field(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(NetworkError, match=re.escape(f"message of a worker: {error}")):
        decode_message(json.dumps(given(**changes)))
