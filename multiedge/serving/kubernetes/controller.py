"""The actor between the watches, the policy and the cluster: one look at a service at a time."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from multiedge.errors import NetworkError
from multiedge.serving.kubernetes.actions import Action, CreateAddress, CreateWorker, DeleteWorker, Notify
from multiedge.serving.kubernetes.cluster import Cluster
from multiedge.serving.kubernetes.manifests import Workplace, address_service, event_of, worker_pod
from multiedge.serving.kubernetes.message import OWNER_KIND, WorkerMessage
from multiedge.serving.kubernetes.names import Key
from multiedge.serving.kubernetes.reconcile import Decision, Observation, reconcile, wait_s
from multiedge.serving.kubernetes.spec import Service, Unreadable
from multiedge.serving.kubernetes.status import Status, status_to_json
from multiedge.serving.kubernetes.summary import events_between, refused
from multiedge.serving.kubernetes.workers import Worker

LOGGER = logging.getLogger("multiedge.kubernetes")


class Seen(Protocol):
    """What the watches have seen."""

    def service(self, key: Key) -> Service | Unreadable | None: ...

    def workers(self, owner: Key) -> tuple[Worker, ...]: ...

    def has_address(self, owner: Key) -> bool: ...


@dataclass(frozen=True)
class Refusal(Exception):
    """Why a worker's message is not accepted, and the status of HTTP that says so."""

    status: int
    reason: str


class Controller:
    """Carries out the policy for each service.

    Args:
        cluster: Where it creates and deletes.
        seen: What is there.
        report_url: Where workers reach this controller.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        cluster: Cluster,
        seen: Seen,
        report_url: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cluster, self._seen, self._url, self._clock = cluster, seen, report_url, clock
        self._messages: dict[Key, WorkerMessage] = {}
        self._written: dict[str, Status] = {}
        self._failures: dict[Key, int] = {}
        self._locks: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def look(self, key: Key) -> None:
        """Looks at a service and does what is to be done; what fails is tried again later."""
        async with self._locks[key]:
            self._cancel(key)
            try:
                again_s = await self._step(key)
            except NetworkError as error:
                self._failures[key] = self._failures.get(key, 0) + 1
                again_s = wait_s(self._failures[key])
                LOGGER.warning("%s/%s: %s; tried again in %.0f s", *key, error, again_s)
            else:
                self._failures.pop(key, None)
            if again_s is not None:
                self._timers[key] = asyncio.get_running_loop().call_later(again_s, self._begin, key)

    def receive(self, message: WorkerMessage, token: str) -> None:
        """Takes a message and looks at its service; Refusal for one that is not of a worker that is there."""
        owner = (message.namespace, message.owner_name)
        worker = next((each for each in self._seen.workers(owner) if each.name == message.name), None)
        if message.owner_kind.lower() != OWNER_KIND:
            raise Refusal(400, f"ownerKind: expected {OWNER_KIND}, got {message.owner_kind!r}")
        if worker is None:
            raise Refusal(404, f"{message.namespace}/{message.name}: no such worker of {message.owner_name}")
        if not worker.token or not hmac.compare_digest(worker.token.encode(), token.encode()):
            raise Refusal(401, f"{message.namespace}/{message.name}: expected the token of this worker")
        self._messages[message.namespace, message.name] = message
        self._begin(owner)

    def forget_worker(self, pod: Key) -> None:
        """Drops the message of a pod that is gone."""
        self._messages.pop(pod, None)

    def forget_service(self, key: Key, uid: str) -> None:
        """Drops what is known of a service that is gone."""
        self._cancel(key)
        self._written.pop(uid, None)
        self._failures.pop(key, None)

    async def close(self) -> None:
        """Ends what it is doing."""
        for key in list(self._timers):
            self._cancel(key)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _step(self, key: Key) -> float | None:
        service = self._seen.service(key)
        if service is None:
            return None
        before = self._written.get(service.uid, service.status)
        decision = self._decided(replace(service, status=before))
        for action in decision.actions:
            await self._carry_out(service, action)
        if decision.status != before:
            await self._cluster.set_status(key, status_to_json(decision.status))
        self._written[service.uid] = decision.status
        return decision.again_s

    def _decided(self, service: Service | Unreadable) -> Decision:
        now_s = self._clock()
        if isinstance(service, Unreadable):
            status = refused(service, now_s)
            return Decision(events_between(service.status, status), status)
        workers, messages = self._seen.workers(service.id), self._messages_in(service.namespace)
        return reconcile(service, Observation(workers, messages, self._seen.has_address(service.id), now_s))

    def _messages_in(self, namespace: str) -> Mapping[str, WorkerMessage]:
        return {name: message for (place, name), message in self._messages.items() if place == namespace}

    async def _carry_out(self, service: Service | Unreadable, action: Action) -> None:
        match action:
            case Notify():
                await self._tell(service, action)
            case CreateWorker() if isinstance(service, Service):
                LOGGER.info("%s/%s: creates %s", *service.id, action.name)
                workplace = Workplace(self._url, secrets.token_urlsafe(24))
                await self._cluster.create_pod(worker_pod(service, action, workplace))
            case DeleteWorker():
                LOGGER.info("%s/%s: deletes %s: %s", *service.id, action.name, action.reason)
                await self._cluster.delete_pod((service.namespace, action.name))
            case CreateAddress() if isinstance(service, Service):
                await self._cluster.create_service(address_service(service))

    async def _tell(self, service: Service | Unreadable, notice: Notify) -> None:
        """Adds an event to the resource. Without it the status says the same."""
        try:
            await self._cluster.create_event(event_of(service, notice, self._clock()))
        except NetworkError as error:
            LOGGER.warning("%s/%s: %s", *service.id, error)

    def _begin(self, key: Key) -> None:
        task = asyncio.get_running_loop().create_task(self.look(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
