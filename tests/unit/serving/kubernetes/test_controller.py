"""The actor between watches, policy and cluster, with a cluster that remembers what it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from multiedge.backends.conversion.record import State
from multiedge.errors import NetworkError
from multiedge.serving.kubernetes.controller import Controller, Refusal
from multiedge.serving.kubernetes.names import Key
from multiedge.serving.kubernetes.spec import Service, Unreadable, unreadable
from multiedge.serving.kubernetes.workers import Worker, read_worker
from tests.builders.services import NOW_S, OWNER, TOKEN, body, conversion_worker, message, running, service


@dataclass
class FakeCluster:
    """Keeps what it is asked for; `refusals` requests are refused first."""

    pods: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    services: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    statuses: list[Mapping[str, Any]] = field(default_factory=list)
    refusals: int = 0

    async def create_pod(self, pod: Mapping[str, Any]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise NetworkError("kubernetes: POST pods: 403 exceeded quota", status=403)
        self.pods[pod["metadata"]["name"]] = pod

    async def delete_pod(self, pod: Key) -> None:
        self.pods.pop(pod[1])

    async def create_service(self, service: Mapping[str, Any]) -> None:
        self.services.append(service["metadata"]["name"])

    async def create_event(self, event: Mapping[str, Any]) -> None:
        self.events.append(event["reason"])

    async def set_status(self, resource: Key, status: Mapping[str, Any]) -> None:
        self.statuses.append(status)


@dataclass
class Seen:
    """What the watches have seen: a resource, and the pods of a cluster."""

    cluster: FakeCluster
    resource: Service | Unreadable | None = field(default_factory=service)
    more: tuple[Worker, ...] = ()

    def service(self, key: Key) -> Service | Unreadable | None:
        return self.resource

    def workers(self, owner: Key) -> tuple[Worker, ...]:
        return (*map(read_worker, self.cluster.pods.values()), *self.more)

    def has_address(self, owner: Key) -> bool:
        return bool(self.cluster.services)


@dataclass
class Stand:
    """A controller, its cluster and what it sees."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    now_s: float = NOW_S

    def __post_init__(self) -> None:
        self.seen = Seen(self.cluster)
        self.controller = Controller(self.cluster, self.seen, "http://controller:8480", lambda: self.now_s)

    async def look(self) -> None:
        await self.controller.look(OWNER)


def run(scenario: Any) -> None:
    """Runs a coroutine with a stand, and ends its controller."""

    async def whole() -> None:
        stand = Stand()
        await scenario(stand)
        await stand.controller.close()

    asyncio.run(whole())


def test_a_new_service_gets_its_worker_its_address_and_its_status() -> None:
    async def scenario(stand: Stand) -> None:
        await stand.look()
        assert len(stand.cluster.pods) == 1
        assert stand.cluster.services == ["classify-inference"]
        assert [status["phase"] for status in stand.cluster.statuses] == ["created"]

    run(scenario)


def test_nothing_is_written_while_nothing_has_changed() -> None:
    async def scenario(stand: Stand) -> None:
        for _ in range(3):
            await stand.look()
        assert len(stand.cluster.statuses) == 3 - 1  # the second look sees the pod and the address

    run(scenario)


def test_a_refused_creation_is_tried_again_and_does_not_count_as_an_attempt() -> None:
    async def scenario(stand: Stand) -> None:
        stand.cluster.refusals = 2
        for _ in range(3):
            await stand.look()
        (name,) = stand.cluster.pods
        assert name.endswith("-convert-0")

    run(scenario)


def test_each_worker_has_a_token_of_its_own() -> None:
    async def scenario(stand: Stand) -> None:
        await stand.look()
        (first,) = stand.seen.workers(OWNER)
        stand.cluster.pods.clear()
        stand.seen.resource = service(uid="uid-2")
        await stand.look()
        (second,) = stand.seen.workers(OWNER)
        assert first.token
        assert first.token != second.token

    run(scenario)


WORKER = running(conversion_worker())


@pytest.mark.parametrize(
    ("changes", "token", "status", "reason"),
    [
        ({}, "another", 401, "expected the token of this worker"),
        ({}, "", 401, "expected the token of this worker"),
        ({"name": "other"}, TOKEN, 404, "no such worker"),
        ({"owner_kind": "jointinferenceservice"}, TOKEN, 400, "ownerKind"),
    ],
)
def test_a_message_of_anybody_else_is_refused(changes: dict[str, str], token: str, status: int, reason: str) -> None:
    async def scenario(stand: Stand) -> None:
        stand.seen.more = (WORKER,)
        with pytest.raises(Refusal) as refusal:
            stand.controller.receive(replace(message(WORKER), **changes), token)
        assert refusal.value.status == status
        assert reason in refusal.value.reason

    run(scenario)


def test_a_message_changes_the_status() -> None:
    async def scenario(stand: Stand) -> None:
        stand.seen.more = (WORKER,)
        await stand.look()
        stand.controller.receive(message(WORKER), TOKEN)
        await asyncio.sleep(0)  # the look that it begins takes the lock
        await stand.look()
        (conversion,) = stand.cluster.statuses[-1]["conversions"]
        assert conversion["state"] == State.SUCCESS.value
        assert "ConversionSucceeded" in stand.cluster.events

    run(scenario)


def test_a_spec_that_cannot_be_read_gets_a_status_and_no_worker() -> None:
    async def scenario(stand: Stand) -> None:
        stand.seen.resource = unreadable(body(), "spec.replicas: expected a whole number from 0, got -1")
        await stand.look()
        assert stand.cluster.statuses[-1]["phase"] == "failed"
        assert stand.cluster.pods == {}

    run(scenario)


def test_a_service_that_is_gone_is_not_looked_at() -> None:
    async def scenario(stand: Stand) -> None:
        stand.seen.resource = None
        await stand.look()
        assert (stand.cluster.pods, stand.cluster.statuses) == ({}, [])

    run(scenario)


def test_a_controller_that_is_started_again_repeats_nothing() -> None:
    async def scenario(stand: Stand) -> None:
        stand.seen.more = (WORKER,)
        stand.cluster.services.append("classify-inference")
        await stand.look()
        status = stand.controller._written["uid-1"]
        before = len(stand.cluster.statuses), len(stand.cluster.events), len(stand.cluster.pods)
        stand.seen.resource = service(status=status)
        again = Controller(stand.cluster, stand.seen, "http://controller:8480", lambda: NOW_S + 60)
        await again.look(OWNER)
        assert (len(stand.cluster.statuses), len(stand.cluster.events), len(stand.cluster.pods)) == before

    run(scenario)
