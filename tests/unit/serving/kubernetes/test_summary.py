"""What a user reads of a service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from multiedge.backends.conversion.record import State
from multiedge.serving.kubernetes.actions import Notify
from multiedge.serving.kubernetes.message import WorkerMessage
from multiedge.serving.kubernetes.spec import Service, unreadable
from multiedge.serving.kubernetes.status import Phase, Status
from multiedge.serving.kubernetes.summary import READY, events_between, refused
from multiedge.serving.kubernetes.workers import Worker
from tests.builders.services import (
    ARM,
    NOW_S,
    X86,
    body,
    conversion_worker,
    decide,
    ended,
    message,
    running,
    service,
    serving_worker,
)

CONVERTING = running(conversion_worker())
FAILED = message(CONVERTING, State.FAILED, reason="wrong outputs", is_final=True)

PHASES: dict[str, tuple[Service, Sequence[Worker], Sequence[WorkerMessage], Phase, str]] = {
    "new": (service(), [], [], Phase.CREATED, "Converting"),
    "a pod without a node": (service(), [conversion_worker()], [], Phase.CREATED, "Converting"),
    "a pod that runs": (service(), [CONVERTING], [], Phase.RUNNING, "Converting"),
    "a worker that says it runs": (
        service(),
        [conversion_worker()],
        [message(conversion_worker(), State.RUNNING)],
        Phase.RUNNING,
        "Converting",
    ),
    "one of two is converted": (
        service(X86, ARM),
        [CONVERTING, conversion_worker(ARM)],
        [message(CONVERTING)],
        Phase.RUNNING,
        "Converting",
    ),
    "converted, and starting": (service(), [CONVERTING, serving_worker()], [message(CONVERTING)], Phase.RUNNING, "Starting"),
    "serving": (
        service(),
        [ended(CONVERTING), running(serving_worker(), is_ready=True)],
        [message(CONVERTING)],
        Phase.RUNNING,
        "Serving",
    ),
    "converted, without replicas": (service(replicas=0), [CONVERTING], [message(CONVERTING)], Phase.COMPLETED, "NotServed"),
    "wrong outputs": (service(), [CONVERTING], [FAILED], Phase.FAILED, "ConversionFailed"),
    "waits for the next attempt": (
        service(),
        [ended(CONVERTING, Phase.FAILED, "OOMKilled")],
        [],
        Phase.RUNNING,
        "Converting",
    ),
    "a serving worker crashes": (
        service(),
        [CONVERTING, replace(serving_worker(), phase=Phase.FAILED, reason="CrashLoopBackOff")],
        [message(CONVERTING)],
        Phase.FAILED,
        "WorkerFailed",
    ),
}


@pytest.mark.parametrize(("of", "workers", "messages", "phase", "reason"), PHASES.values(), ids=PHASES)
def test_a_service_has_a_phase_and_says_why_it_is_not_ready(
    of: Service, workers: Sequence[Worker], messages: Sequence[WorkerMessage], phase: Phase, reason: str
) -> None:
    status = decide(of, *workers, messages=messages).status
    ready = status.condition(READY)
    assert ready is not None
    assert (status.phase, ready.reason, ready.is_true) == (phase, reason, reason == "Serving")


def test_a_condition_keeps_the_time_since_which_it_is_so() -> None:
    first = decide(service())
    later = decide(service(), CONVERTING, status=first.status, now_s=NOW_S + 60).status
    assert [each.since_s for each in later.conditions] == [NOW_S, NOW_S]
    done = decide(service(), CONVERTING, messages=[message(CONVERTING)], status=later, now_s=NOW_S + 90).status
    assert [each.since_s for each in done.conditions] == [NOW_S + 90, NOW_S]


def test_the_message_says_what_a_pod_waits_for() -> None:
    stuck = replace(conversion_worker(), reason="Unschedulable: 0/3 nodes are available")
    ready = decide(service(), stuck).status.condition(READY)
    assert ready is not None
    assert ready.message == "x86-cpu: Unschedulable: 0/3 nodes are available"


def told(before: Status, after: Status) -> list[tuple[str, bool]]:
    return [(event.reason, event.is_warning) for event in events_between(before, after)]


def test_each_step_is_told_once() -> None:
    states = [
        decide(service(), conversion_worker()).status,
        decide(service(), CONVERTING).status,
        decide(service(), CONVERTING, messages=[message(CONVERTING)]).status,
        decide(service(), running(serving_worker(), is_ready=True), messages=[message(CONVERTING)]).status,
    ]
    done = decide(service(), CONVERTING, running(serving_worker(), is_ready=True), messages=[message(CONVERTING)]).status
    assert told(Status(), states[0]) == []
    assert told(states[0], states[1]) == [("ConversionStarted", False)]
    assert told(states[1], states[2]) == [("ConversionSucceeded", False)]
    assert told(states[2], done) == [("Serving", False)]
    assert told(done, done) == []


def test_a_failure_is_told_as_a_warning_with_its_reason() -> None:
    failed = decide(service(), CONVERTING, messages=[FAILED], status=decide(service(), CONVERTING).status)
    assert failed.actions == (Notify("ConversionFailed", "x86-cpu: wrong outputs", is_warning=True),)


def test_a_spec_that_cannot_be_read_fails_with_the_error_and_is_told_once() -> None:
    wrong = unreadable(body(), "HeteroInferenceService: spec.model.path: missing")
    status = refused(wrong, NOW_S)
    ready = status.condition(READY)
    assert ready is not None
    assert (status.phase, ready.reason, ready.message) == (Phase.FAILED, "InvalidSpec", wrong.reason)
    assert told(Status(), status) == [("InvalidSpec", True)]
    assert told(status, refused(replace(wrong, status=status), NOW_S + 5)) == []
