"""What a user reads of a service: its phase, its conditions, and events where something has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from multiedge.backends.conversion.record import State
from multiedge.serving.kubernetes.actions import Notify
from multiedge.serving.kubernetes.spec import Service, Unreadable
from multiedge.serving.kubernetes.status import Condition, Conversion, Phase, Status, WorkerLine
from multiedge.serving.kubernetes.workers import Worker, WorkerKind

SERVING_PORT = 8081
"""Where serving workers, and the Service in front of them, listen for gRPC."""
CONVERTED, READY = "Converted", "Ready"
INVALID = "InvalidSpec"


def summarised(
    service: Service, conversions: tuple[Conversion, ...], workers: Sequence[Worker], has_address: bool, now_s: float
) -> Status:
    """The status for what is known of a service."""
    serving = _serving(service, workers)
    status = Status(
        phase=_phase(service, conversions, workers, serving),
        generation=service.generation,
        address=f"{service.address_name}.{service.namespace}.svc:{SERVING_PORT}" if service.replicas and has_address else "",
        ready_workers=sum(each.is_ready for each in serving),
        wanted_workers=service.replicas * len(service.targets),
        conversions=conversions,
        workers=tuple(_line(each) for each in sorted(workers, key=lambda each: each.name)),
    )
    conditions = [_converted(conversions), _ready(service, status, serving)]
    return replace(status, conditions=_dated(conditions, service.status, service.generation, now_s))


def refused(service: Unreadable, now_s: float) -> Status:
    """The status of a resource whose spec cannot be decoded."""
    conditions = [Condition(CONVERTED, None, INVALID, service.reason), Condition(READY, False, INVALID, service.reason)]
    dated = _dated(conditions, service.status, service.generation, now_s)
    return replace(service.status, phase=Phase.FAILED, generation=service.generation, conditions=dated)


def _serving(service: Service, workers: Sequence[Worker]) -> list[Worker]:
    """The serving workers that the current spec wants."""
    keys = {(target.type, target.key) for target in service.targets}
    return [
        each
        for each in workers
        if each.kind is WorkerKind.SERVING and (each.target, each.key) in keys and each.replica < service.replicas
    ]


def _phase(service: Service, conversions: Sequence[Conversion], workers: Sequence[Worker], serving: Sequence[Worker]) -> Phase:
    if any(each.task.is_final for each in conversions) or any(each.phase is Phase.FAILED for each in serving):
        return Phase.FAILED
    if not service.replicas and all(each.state is State.SUCCESS for each in conversions):
        return Phase.COMPLETED
    has_begun = any(each.state is not State.PENDING or each.attempts > 1 for each in conversions)
    return Phase.RUNNING if has_begun or any(each.phase is Phase.RUNNING for each in workers) else Phase.CREATED


def _line(worker: Worker) -> WorkerLine:
    return WorkerLine(worker.name, worker.kind.value, worker.target, worker.phase, worker.node, worker.reason)


def _converted(conversions: Sequence[Conversion]) -> Condition:
    failed = next((each for each in conversions if each.task.is_final), None)
    if failed is not None:
        return Condition(CONVERTED, False, "ConversionFailed", f"{failed.target}: {failed.task.reason}")
    left = [each for each in conversions if each.state is not State.SUCCESS]
    if not left:
        return Condition(CONVERTED, True, "Converted", "every conversion gave the outputs of the raw model")
    why = next((f"{each.target}: {each.task.reason}" for each in left if each.task.reason), "")
    return Condition(CONVERTED, False, "Converting", why or f"waits for {', '.join(each.target for each in left)}")


def _ready(service: Service, status: Status, serving: Sequence[Worker]) -> Condition:
    converted = _converted(status.conversions)
    if not service.replicas:
        return Condition(READY, False, "NotServed", "the spec asks for no replicas")
    if not converted.is_true:
        return Condition(READY, False, converted.reason, converted.message)
    if status.ready_workers >= status.wanted_workers:
        return Condition(READY, True, "Serving", f"{status.ready_workers} of {status.wanted_workers} workers are ready")
    failed = next((each for each in serving if each.phase is Phase.FAILED), None)
    if failed is not None:
        return Condition(READY, False, "WorkerFailed", f"{failed.name}: {failed.reason}")
    why = next((f"{each.name}: {each.reason}" for each in serving if each.reason), "")
    return Condition(READY, False, "Starting", why or f"{status.ready_workers} of {status.wanted_workers} workers are ready")


def _dated(conditions: Sequence[Condition], before: Status, generation: int, now_s: float) -> tuple[Condition, ...]:
    """Conditions with the time since which they are so."""
    dated = []
    for each in conditions:
        earlier = before.condition(each.type)
        since_s = earlier.since_s if earlier and earlier.is_true is each.is_true else now_s
        dated.append(replace(each, since_s=since_s, generation=generation))
    return tuple(dated)


_TITLES = {
    State.RUNNING: "ConversionStarted",
    State.SUCCESS: "ConversionSucceeded",
    State.FAILED: "ConversionFailed",
}


def events_between(before: Status, after: Status) -> tuple[Notify, ...]:
    """What `kubectl describe` is to show of the change."""
    events = [_event(each) for each in after.conversions if _is_news(before.conversion(each.target, each.key), each)]
    was, now = before.condition(READY), after.condition(READY)
    if now and (was.is_true if was else False) is not now.is_true:
        events.append(Notify(now.reason, now.message, is_warning=not now.is_true))
    if now and now.reason == INVALID and not (was and was.message == now.message):
        events.append(Notify(now.reason, now.message, is_warning=True))
    return tuple(events)


def _is_news(before: Conversion | None, after: Conversion) -> bool:
    earlier = (before.worker, before.state) if before else ("", State.PENDING)
    return after.state is not State.PENDING and earlier != (after.worker, after.state)


def _event(conversion: Conversion) -> Notify:
    task = conversion.task
    words = {
        State.RUNNING: f"{conversion.target}: {conversion.worker}",
        State.SUCCESS: f"{conversion.target}: {task.backend} {task.version}, {task.artefact}",
        State.FAILED: f"{conversion.target}: {task.reason}",
    }
    return Notify(_TITLES[conversion.state], words[conversion.state], is_warning=conversion.state is State.FAILED)
