"""The policy: from what a user wants and what is there to what to do next, and what to tell the user.

It reads no clock and sends no request: the same observation gives the same decision, also after a restart of the controller. A
worker that fails is replaced, after a time that doubles; one that the current spec does not want is deleted, a serving one only
when its successors are ready.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from multiedge.backends.conversion.record import State
from multiedge.serving.kubernetes.actions import Action, CreateAddress, CreateWorker, DeleteWorker
from multiedge.serving.kubernetes.message import WorkerMessage
from multiedge.serving.kubernetes.names import MODELS
from multiedge.serving.kubernetes.platforms import AUTO
from multiedge.serving.kubernetes.spec import Service, Target
from multiedge.serving.kubernetes.status import Conversion, Phase, Status
from multiedge.serving.kubernetes.summary import events_between, summarised
from multiedge.serving.kubernetes.task import TaskInfo
from multiedge.serving.kubernetes.workers import Worker, WorkerKind

FIRST_WAIT_S, LONGEST_WAIT_S = 10.0, 300.0
"""How long to wait before a failed worker is replaced: the first time, and at most."""
LONG_RUN_S = 600.0
"""A serving worker that ran so long before it failed is replaced as after a first failure."""
UNREPORTED = "the worker ended without a message about its result"


@dataclass(frozen=True)
class Observation:
    """One moment of a service: its pods, the last message of each by its name, whether the address is there, and the time."""

    workers: tuple[Worker, ...]
    messages: Mapping[str, WorkerMessage]
    has_address: bool
    now_s: float


@dataclass(frozen=True)
class Decision:
    """What to do, what to tell, and after how many seconds to look again although nothing has changed; None for never."""

    actions: tuple[Action, ...]
    status: Status
    again_s: float | None = None


@dataclass(frozen=True)
class _Step:
    """What one target, or one of its workers, asks for."""

    actions: tuple[Action, ...] = ()
    again_s: float | None = None


NOTHING = _Step()


def reconcile(service: Service, seen: Observation) -> Decision:
    """What is to be done for a service now. Nothing for one that is deleted: Kubernetes removes what it owns."""
    if service.is_ending:
        return Decision((), service.status)
    steps, conversions = [], []
    for target in service.targets:
        conversion, step = _convert(service, target, seen)
        conversions.append(conversion)
        steps.append(step)
        if conversion.state is State.SUCCESS:
            steps += [_serve(service, target, conversion, replica, seen) for replica in range(service.replicas)]
    if service.replicas and not seen.has_address:
        steps.append(_Step((CreateAddress(),)))
    actions = [action for step in steps for action in step.actions]
    waits = [step.again_s for step in steps if step.again_s is not None]
    status = summarised(service, tuple(conversions), seen.workers, seen.has_address, seen.now_s)
    told = events_between(service.status, status)
    return Decision((*actions, *_obsolete(service, seen), *told), status, min(waits, default=None))


def wait_s(failures: int) -> float:
    """How long after the end of a worker the next may start, where so many have failed one after another.

    >>> [wait_s(n) for n in (1, 2, 3, 9)]
    [10.0, 20.0, 40.0, 300.0]
    """
    return float(min(FIRST_WAIT_S * 2 ** min(failures - 1, 30), LONGEST_WAIT_S))


def _those(seen: Observation, target: Target, kind: WorkerKind, replica: int = 0) -> list[Worker]:
    """Workers for a target as it is now, earlier attempts first."""
    mine = (target.type, target.key, kind, replica)
    those = [each for each in seen.workers if (each.target, each.key, each.kind, each.replica) == mine]
    return sorted(those, key=lambda each: each.attempt)


def _lives(worker: Worker) -> bool:
    return not worker.is_over and not worker.is_ending


def _convert(service: Service, target: Target, seen: Observation) -> tuple[Conversion, _Step]:
    """What is known of a target's conversion, and what to do for it."""
    workers = _those(seen, target, WorkerKind.CONVERSION)
    known = service.status.conversion(target.type, target.key) or Conversion(target.type, target.key)
    if workers:
        message = seen.messages.get(workers[-1].name)
        known = _learned(known, target, workers[-1], message.task if message else None, seen.now_s)
    if known.state is State.FAILED and known.attempts > service.retries:
        known = replace(known, task=replace(known.task, is_final=True))
    if known.state is State.SUCCESS or known.task.is_final or any(map(_lives, workers)):
        return known, NOTHING
    if known.state is State.FAILED and known.task.finished_s is not None:
        left = known.task.finished_s + wait_s(known.attempts) - seen.now_s
        if left > 0:
            return known, _Step(again_s=left)
    return _attempted(service, target, known)


def _attempted(service: Service, target: Target, known: Conversion) -> tuple[Conversion, _Step]:
    """The next attempt at a conversion. It counts once its pod is seen."""
    name = f"{service.name}-{target.type}-{target.key}-convert-{known.attempts}"
    pending = Conversion(target.type, target.key, name, known.attempts, task=TaskInfo(reason=known.task.reason))
    return pending, _Step((CreateWorker(name, WorkerKind.CONVERSION, target, attempt=known.attempts),))


def _learned(known: Conversion, target: Target, worker: Worker, told: TaskInfo | None, now_s: float) -> Conversion:
    """What the latest worker and its message add to what is known."""
    is_recorded = known.worker == worker.name and known.state in (State.SUCCESS, State.FAILED)
    attempts = max(known.attempts, worker.attempt + 1)
    if told is None and is_recorded:
        return replace(known, attempts=attempts)
    task = replace(told, artefact=told.artefact.removeprefix(f"{MODELS}/")) if told else _looked(target, worker)
    if task.state not in (State.SUCCESS, State.FAILED) and worker.is_over:
        reason = worker.reason if worker.phase is Phase.FAILED else UNREPORTED
        task = replace(task, state=State.FAILED, reason=reason)
    if task.state is State.FAILED and task.finished_s is None:
        task = replace(task, finished_s=worker.finished_s or known.task.finished_s or now_s)
    return Conversion(target.type, target.key, worker.name, attempts, worker.node, task)


def _looked(target: Target, worker: Worker) -> TaskInfo:
    """What the pod alone shows, where its messages were lost: its result, if it could only be one."""
    times = TaskInfo(started_s=worker.started_s, finished_s=worker.finished_s, reason=worker.reason)
    if worker.phase is Phase.COMPLETED and target.hardware.backend != AUTO:
        return replace(times, state=State.SUCCESS, backend=target.hardware.backend)
    return replace(times, state=State.RUNNING if worker.phase is Phase.RUNNING else State.PENDING)


def _serve(service: Service, target: Target, conversion: Conversion, replica: int, seen: Observation) -> _Step:
    """What one serving worker asks for."""
    workers = _those(seen, target, WorkerKind.SERVING, replica)
    if any(map(_lives, workers)):
        return NOTHING
    attempt = workers[-1].attempt + 1 if workers else 0
    left = _left_s(workers[-1], seen.now_s) if workers else 0.0
    if left > 0:
        return _Step(again_s=left)
    name = f"{service.name}-{target.type}-{target.key}-serve-{replica}-{attempt}"
    runtime = conversion.task.backend, conversion.task.precision or target.hardware.precision
    return _Step((CreateWorker(name, WorkerKind.SERVING, target, replica, attempt, *runtime, conversion.node),))


def _left_s(last: Worker, now_s: float) -> float:
    """How long the successor of a serving worker has to wait."""
    if not last.is_over or last.finished_s is None:
        return 0.0
    ran_long = last.started_s is not None and last.finished_s - last.started_s >= LONG_RUN_S
    return last.finished_s + wait_s(1 if ran_long else last.attempt + 1) - now_s


def _obsolete(service: Service, seen: Observation) -> list[DeleteWorker]:
    """Workers that the current spec does not want, and failed ones that have a successor."""
    targets = {target.type: target for target in service.targets}
    deletions = [(each, _why_obsolete(service, targets.get(each.target), each, seen)) for each in seen.workers]
    return [DeleteWorker(worker.name, why) for worker, why in deletions if why and not worker.is_ending]


def _why_obsolete(service: Service, target: Target | None, worker: Worker, seen: Observation) -> str:
    """Why a worker is to be deleted; '' if it stays."""
    if target is None:
        return "its hardware is not asked for any more"
    is_current = worker.key == target.key
    if worker.kind is WorkerKind.CONVERSION:
        return "" if is_current else "the spec has changed"
    if worker.replica >= service.replicas:
        return "fewer replicas are asked for"
    if is_current:
        later = _those(seen, target, WorkerKind.SERVING, worker.replica)[-1]
        return "has a successor" if worker.is_over and later.attempt > worker.attempt else ""
    return "its successors are ready" if _is_served(service, target, seen.workers) else ""


def _is_served(service: Service, target: Target, workers: Sequence[Worker]) -> bool:
    """Whether all replicas of a target as it is now are ready."""
    ready = {each.replica for each in workers if each.is_ready and (each.target, each.key) == (target.type, target.key)}
    return ready.issuperset(range(service.replicas))
