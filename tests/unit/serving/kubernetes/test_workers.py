"""Pods as workers."""

from __future__ import annotations

from typing import Any

import pytest

from multiedge.errors import ConfigError
from multiedge.serving.kubernetes.actions import CreateWorker
from multiedge.serving.kubernetes.names import ATTEMPT_LABEL
from multiedge.serving.kubernetes.status import Phase
from multiedge.serving.kubernetes.workers import WorkerKind, read_worker
from tests.builders.services import OWNER, TOKEN, X86, pod

START, END = "2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z"


def container(state: dict[str, Any], restarts: int = 0, last: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "worker", "state": state, "lastState": last or {}, "restartCount": restarts}]}


def test_a_pod_says_which_worker_it_is() -> None:
    worker = read_worker(pod(CreateWorker("w", WorkerKind.SERVING, X86, replica=1, attempt=2)))
    assert (worker.owner, worker.name, worker.kind) == (OWNER, "w", WorkerKind.SERVING)
    assert (worker.target, worker.key, worker.replica, worker.attempt) == (X86.type, X86.key, 1, 2)


def test_a_conversion_has_the_token_of_its_messages() -> None:
    assert read_worker(pod()).token == TOKEN


ENDED = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "startedAt": START, "finishedAt": END}}
STATES = {
    "new": (None, Phase.CREATED, False, ""),
    "accepted": ({"phase": "Pending"}, Phase.CREATED, False, ""),
    "no node fits": (
        {
            "phase": "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
            ],
        },
        Phase.CREATED,
        False,
        "Unschedulable: 0/3 nodes are available",
    ),
    "starting": ({"phase": "Pending", **container({"waiting": {"reason": "ContainerCreating"}})}, Phase.CREATED, False, ""),
    "no image": (
        {"phase": "Pending", **container({"waiting": {"reason": "ImagePullBackOff"}})},
        Phase.CREATED,
        False,
        "ImagePullBackOff",
    ),
    "running": ({"phase": "Running", **container({"running": {"startedAt": START}})}, Phase.RUNNING, False, ""),
    "crashing": (
        {"phase": "Running", **container({"waiting": {"reason": "CrashLoopBackOff"}}, 3, ENDED)},
        Phase.FAILED,
        False,
        "CrashLoopBackOff: OOMKilled",
    ),
    "started again": (
        {"phase": "Running", **container({"running": {"startedAt": START}}, 3, ENDED)},
        Phase.RUNNING,
        False,
        "",
    ),
    "succeeded": (
        {"phase": "Succeeded", **container({"terminated": {"reason": "Completed", "exitCode": 0, "finishedAt": END}})},
        Phase.COMPLETED,
        True,
        "",
    ),
    "out of memory": ({"phase": "Failed", **container(ENDED)}, Phase.FAILED, True, "OOMKilled"),
    "error": (
        {"phase": "Failed", **container({"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": END}})},
        Phase.FAILED,
        True,
        "ended with status 1",
    ),
    "evicted": (
        {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
        Phase.FAILED,
        True,
        "Evicted: The node was low on resource: memory.",
    ),
}


@pytest.mark.parametrize(("status", "phase", "is_over", "reason"), STATES.values(), ids=STATES)
def test_a_pod_has_a_phase_and_a_reason(status: dict[str, Any] | None, phase: Phase, is_over: bool, reason: str) -> None:
    worker = read_worker(pod(status=status))
    assert (worker.phase, worker.is_over, worker.reason) == (phase, is_over, reason)


def test_times_are_those_of_the_container() -> None:
    worker = read_worker(pod(status={"phase": "Failed", **container(ENDED)}))
    assert (worker.started_s, worker.finished_s) == (1_700_000_000.0, 1_700_000_060.0)


def test_a_running_pod_is_ready_when_its_condition_says_so() -> None:
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert read_worker(pod(status=ready)).is_ready
    assert not read_worker(pod(status={"phase": "Running"})).is_ready


def test_a_deleted_pod_is_about_to_go() -> None:
    assert read_worker(pod(deletionTimestamp=END)).is_ending


def test_a_pod_with_a_damaged_label_is_no_worker() -> None:
    made = pod()
    made["metadata"]["labels"][ATTEMPT_LABEL] = "first"
    with pytest.raises(ConfigError, match="expected a whole number, got 'first'"):
        read_worker(made)
