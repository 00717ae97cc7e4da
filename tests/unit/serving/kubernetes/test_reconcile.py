"""The policy: situations, and what is decided in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from multiedge.backends.conversion.record import State
from multiedge.serving.kubernetes.actions import Action, CreateAddress, CreateWorker, DeleteWorker, Notify
from multiedge.serving.kubernetes.message import WorkerMessage
from multiedge.serving.kubernetes.reconcile import LONGEST_WAIT_S, UNREPORTED, Decision
from multiedge.serving.kubernetes.spec import Service, Target
from multiedge.serving.kubernetes.status import Conversion, Phase, Status
from multiedge.serving.kubernetes.task import TaskInfo
from multiedge.serving.kubernetes.workers import Worker, WorkerKind
from tests.builders.services import (
    ARM,
    MODEL,
    NOW_S,
    X86,
    conversion_worker,
    decide,
    ended,
    message,
    running,
    service,
    serving_worker,
)

CONVERTED = Conversion(X86.type, X86.key, "w", 1, "edge-1", TaskInfo(State.SUCCESS, NOW_S - 60, NOW_S - 2, "openvino"))
DONE = Status(conversions=(CONVERTED,))
WRONG = TaskInfo(State.FAILED, NOW_S - 60, NOW_S - 2, reason="wrong outputs", is_final=True)
FINAL = Conversion(X86.type, X86.key, "w", 1, task=WRONG)
NEW_MODEL = replace(X86, model=replace(MODEL, version="2"))
Created = list[tuple[WorkerKind, str, int, int]]
AUTO = replace(X86, hardware=replace(X86.hardware, backend="auto"))


def work(decision: Decision) -> list[Action]:
    """What is done, without what is told."""
    return [action for action in decision.actions if not isinstance(action, Notify)]


def created(decision: Decision) -> Created:
    """Kind, type of hardware, replica and attempt of each worker that is created."""
    actions = [action for action in decision.actions if isinstance(action, CreateWorker)]
    return [(action.kind, action.target.type, action.replica, action.attempt) for action in actions]


def deleted(decision: Decision) -> list[str]:
    return [action.name for action in decision.actions if isinstance(action, DeleteWorker)]


CONVERT, SERVE = WorkerKind.CONVERSION, WorkerKind.SERVING

SITUATIONS: dict[
    str, tuple[Service, Sequence[Worker], Sequence[WorkerMessage], Status, list[tuple[WorkerKind, str, int, int]]]
] = {
    "a new service is converted": (service(), [], [], Status(), [(CONVERT, "x86-cpu", 0, 0)]),
    "each type of hardware is converted for": (
        service(X86, ARM),
        [],
        [],
        Status(),
        [(CONVERT, "x86-cpu", 0, 0), (CONVERT, "arm-cpu", 0, 0)],
    ),
    "a created worker is waited for": (service(), [conversion_worker()], [], Status(), []),
    "a running worker is waited for": (service(), [running(conversion_worker())], [], Status(), []),
    "a success is served, also while its pod is ending": (
        service(),
        [running(conversion_worker())],
        [message(conversion_worker())],
        Status(),
        [(SERVE, "x86-cpu", 0, 0)],
    ),
    "every replica is served": (
        service(replicas=2),
        [],
        [],
        DONE,
        [(SERVE, "x86-cpu", 0, 0), (SERVE, "x86-cpu", 1, 0)],
    ),
    "a conversion that is recorded is not made again, although its pod is gone": (service(replicas=0), [], [], DONE, []),
    "without replicas nothing is served": (service(replicas=0), [], [message(conversion_worker())], DONE, []),
    "a failure that is final is not tried again": (
        service(),
        [ended(conversion_worker(), Phase.FAILED)],
        [message(conversion_worker(), State.FAILED, is_final=True)],
        Status(),
        [],
    ),
    "a final failure stays, although its pod is gone": (service(), [], [], Status(conversions=(FINAL,)), []),
    "a failure without a result is tried again after a time": (
        service(),
        [ended(conversion_worker(), Phase.FAILED, "OOMKilled", NOW_S - 11)],
        [],
        Status(),
        [(CONVERT, "x86-cpu", 0, 1)],
    ),
    "not before that time": (service(), [ended(conversion_worker(), Phase.FAILED, "OOMKilled", NOW_S - 9)], [], Status(), []),
    "the time doubles": (
        service(),
        [
            ended(conversion_worker(), Phase.FAILED, finished_s=NOW_S - 60),
            ended(conversion_worker(attempt=1), Phase.FAILED, finished_s=NOW_S - 19),
        ],
        [],
        Status(),
        [],
    ),
    "a failed worker that was deleted counts": (
        service(),
        [],
        [],
        Status(conversions=(replace(FINAL, attempts=2, task=replace(WRONG, is_final=False, finished_s=NOW_S - 21)),)),
        [(CONVERT, "x86-cpu", 0, 2)],
    ),
    "after the last retry none is made": (
        service(retries=1),
        [
            ended(conversion_worker(), Phase.FAILED, finished_s=NOW_S - 9999),
            ended(conversion_worker(attempt=1), Phase.FAILED, finished_s=NOW_S - 999),
        ],
        [],
        Status(),
        [],
    ),
    "a worker that was deleted while it ran has a successor at once": (
        service(),
        [replace(running(conversion_worker()), is_ending=True)],
        [],
        Status(),
        [(CONVERT, "x86-cpu", 0, 1)],
    ),
    "a pod that succeeded without a message is a success for a named backend": (
        service(),
        [ended(conversion_worker())],
        [],
        Status(),
        [(SERVE, "x86-cpu", 0, 0)],
    ),
    "for auto it is tried again, since the runtime is not known": (
        service(AUTO),
        [ended(conversion_worker(AUTO), finished_s=NOW_S - 11)],
        [],
        Status(),
        [(CONVERT, "x86-cpu", 0, 1)],
    ),
    "a changed model is converted again": (service(NEW_MODEL), [serving_worker()], [], DONE, [(CONVERT, "x86-cpu", 0, 0)]),
    "added hardware is converted for, and the rest stays": (
        service(X86, ARM),
        [running(serving_worker(), is_ready=True)],
        [],
        DONE,
        [(CONVERT, "arm-cpu", 0, 0)],
    ),
    "a serving worker that lives is left alone": (service(), [running(serving_worker())], [], DONE, []),
    "one that was deleted has a successor at once": (
        service(),
        [replace(running(serving_worker()), is_ending=True)],
        [],
        DONE,
        [(SERVE, "x86-cpu", 0, 1)],
    ),
    "one that was evicted has a successor after a time": (
        service(),
        [ended(serving_worker(), Phase.FAILED, "Evicted", NOW_S - 11)],
        [],
        DONE,
        [(SERVE, "x86-cpu", 0, 1)],
    ),
    "one that crashes is started again by its node": (service(), [replace(serving_worker(), phase=Phase.FAILED)], [], DONE, []),
    "a service that is deleted makes nothing": (service(is_ending=True), [], [], DONE, []),
}


@pytest.mark.parametrize(("of", "workers", "messages", "status", "expected"), SITUATIONS.values(), ids=SITUATIONS)
def test_workers_are_created(
    of: Service,
    workers: Sequence[Worker],
    messages: Sequence[WorkerMessage],
    status: Status,
    expected: Created,
) -> None:
    decision = decide(of, *workers, messages=messages, status=status)
    assert created(decision) == expected
    assert deleted(decision) == []


OLD = running(serving_worker(), is_ready=True)
NEW_DONE = Status(conversions=(replace(CONVERTED, key=NEW_MODEL.key),))

OBSOLETE: dict[str, tuple[Service, Sequence[Worker], Status, list[Worker]]] = {
    "a conversion of an earlier spec": (service(NEW_MODEL), [running(conversion_worker())], Status(), [conversion_worker()]),
    "hardware that is not asked for any more": (service(ARM), [OLD], Status(), [OLD]),
    "replicas above their number": (service(), [OLD, serving_worker(replica=1)], DONE, [serving_worker(replica=1)]),
    "no earlier serving worker while the new model is converted": (service(NEW_MODEL), [OLD], Status(), []),
    "none while the new workers start": (service(NEW_MODEL), [OLD, running(serving_worker(NEW_MODEL))], NEW_DONE, []),
    "earlier ones once the new are ready": (
        service(NEW_MODEL),
        [OLD, running(serving_worker(NEW_MODEL), is_ready=True)],
        NEW_DONE,
        [OLD],
    ),
    "a failed one that has a successor": (
        service(),
        [ended(serving_worker(), Phase.FAILED), running(serving_worker(attempt=1))],
        DONE,
        [serving_worker()],
    ),
    "none that is about to go": (service(ARM), [replace(OLD, is_ending=True)], Status(), []),
    "no conversion that has ended, for its log": (service(), [ended(conversion_worker()), OLD], DONE, []),
}


@pytest.mark.parametrize(("of", "workers", "status", "expected"), OBSOLETE.values(), ids=OBSOLETE)
def test_workers_are_deleted(of: Service, workers: Sequence[Worker], status: Status, expected: list[Worker]) -> None:
    assert deleted(decide(of, *workers, status=status)) == [worker.name for worker in expected]


def test_a_decision_does_not_change_while_nothing_else_does() -> None:
    """A second look, also of a controller that was started again and has the status alone, repeats no effect but a creation
    that the API server refuses, since the name is the same."""
    first = decide(service(), has_address=False)
    second = decide(service(), has_address=False, status=first.status, now_s=NOW_S + 5)
    assert work(first) == work(second)
    assert second.status == first.status
    seen = decide(service(), conversion_worker(), status=first.status, now_s=NOW_S + 5)
    assert seen.actions == ()


def test_a_wait_ends_with_another_look() -> None:
    waiting = decide(service(), ended(conversion_worker(), Phase.FAILED, finished_s=NOW_S - 4))
    assert waiting.again_s == pytest.approx(6)
    assert decide(service(), running(conversion_worker())).again_s is None


def test_a_failure_without_a_time_ends_when_it_is_first_seen() -> None:
    """An evicted pod has no state of its container."""
    evicted = replace(conversion_worker(), phase=Phase.FAILED, is_over=True, reason="Evicted")
    first = decide(service(), evicted)
    assert first.status.conversions[0].task.finished_s == NOW_S
    assert created(decide(service(), evicted, status=first.status, now_s=NOW_S + 9)) == []
    assert created(decide(service(), evicted, status=first.status, now_s=NOW_S + 10)) == [(CONVERT, "x86-cpu", 0, 1)]


def test_waits_of_a_serving_worker_are_bounded_and_short_after_a_long_run() -> None:
    often = ended(serving_worker(attempt=20), Phase.FAILED, finished_s=NOW_S)
    assert decide(service(), often, status=DONE).again_s == LONGEST_WAIT_S
    long_run = replace(often, started_s=NOW_S - 3600)
    assert decide(service(), long_run, status=DONE).again_s == 10


def test_a_serving_worker_has_the_runtime_and_prefers_the_node_of_its_conversion() -> None:
    worker = running(conversion_worker(AUTO))
    decision = decide(service(AUTO), worker, messages=[message(worker, backend="mnn")])
    (action,) = [each for each in decision.actions if isinstance(each, CreateWorker)]
    assert (action.backend, action.precision, action.near) == ("mnn", "float32", "edge-1")


def test_the_address_is_made_once_there_are_replicas() -> None:
    assert CreateAddress() in decide(service(), has_address=False).actions
    assert CreateAddress() not in decide(service(), has_address=True).actions
    assert CreateAddress() not in decide(service(replicas=0), has_address=False).actions


def test_the_status_has_what_the_message_tells() -> None:
    worker = running(conversion_worker())
    (known,) = decide(service(), worker, messages=[message(worker)]).status.conversions
    assert known == Conversion(
        "x86-cpu",
        X86.key,
        worker.name,
        attempts=1,
        node="edge-1",
        task=TaskInfo(
            State.SUCCESS,
            started_s=NOW_S - 60,
            finished_s=NOW_S - 2,
            backend="openvino",
            version="2026.4",
            precision="float32",
            artefact=".converted/net-1/net.xml",
            digest="ab" * 32,
            error=1e-6,
            latency_ratio=0.8,
        ),
    )


def test_the_status_of_a_killed_conversion_has_the_reason_of_its_pod() -> None:
    worker = ended(conversion_worker(), Phase.FAILED, "OOMKilled")
    (known,) = decide(service(), worker, messages=[message(worker, State.RUNNING)]).status.conversions
    assert (known.state, known.task.reason, known.task.is_final) == (State.FAILED, "OOMKilled", False)
    assert known.task.started_s == NOW_S - 60


def test_a_worker_without_a_message_about_its_result_has_failed() -> None:
    worker = ended(conversion_worker(AUTO))
    (known,) = decide(service(AUTO), worker).status.conversions
    assert (known.state, known.task.reason) == (State.FAILED, UNREPORTED)


def test_what_a_worker_has_told_is_kept_where_the_message_is_lost() -> None:
    """After a restart the controller has the status and the pods, and no messages."""
    worker = running(conversion_worker())
    told = decide(service(), worker, messages=[message(worker)]).status
    assert decide(service(), ended(worker), status=told).status.conversions == told.conversions


def conversion_of(target: Target, status: Status) -> Conversion | None:
    return status.conversion(target.type, target.key)


def test_only_the_conversion_of_what_has_changed_begins_anew() -> None:
    changed = replace(ARM, hardware=replace(ARM.hardware, precision="float16"))
    arm = Conversion(ARM.type, ARM.key, attempts=1, task=TaskInfo(State.SUCCESS, backend="mnn"))
    before = replace(DONE, conversions=(CONVERTED, arm))
    after = decide(service(X86, changed), status=before).status
    assert conversion_of(X86, after) == CONVERTED
    begun = conversion_of(changed, after)
    assert begun is not None
    assert (begun.state, begun.attempts) == (State.PENDING, 0)
    assert conversion_of(ARM, after) is None
