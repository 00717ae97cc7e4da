"""The endpoint to which workers report."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from multiedge.serving.kubernetes.controller import Refusal
from multiedge.serving.kubernetes.message import WorkerMessage, encode_message
from multiedge.serving.kubernetes.names import info_path
from tests.builders.services import TOKEN, conversion_worker, message

pytest.importorskip("aiohttp", reason="pip install 'multi-edge-bench[fleet]'")

MESSAGE = message(conversion_worker())


class Receiver:
    """In place of a controller: takes messages with the token, as the controller does."""

    def __init__(self) -> None:
        self.received: list[WorkerMessage] = []

    def receive(self, message: WorkerMessage, token: str) -> None:
        if token != TOKEN:
            raise Refusal(401, "expected the token of this worker")
        self.received.append(message)


def ask(request: Callable[[Any], Any]) -> tuple[int, Any, list[WorkerMessage]]:
    """Status and body of the answer to one request, and the messages that were received."""
    from aiohttp.test_utils import TestClient, TestServer

    from multiedge.serving.kubernetes.reports import application

    async def whole() -> tuple[int, Any, list[WorkerMessage]]:
        receiver: Any = Receiver()
        async with TestClient(TestServer(application(receiver))) as client:
            answer = await request(client)
            return answer.status, await answer.json(), receiver.received

    return asyncio.run(whole())


def post(path: str, body: bytes, token: str = TOKEN) -> tuple[int, Any, list[WorkerMessage]]:
    return ask(lambda client: client.post(path, data=body, headers={"Authorization": f"Bearer {token}"}))


def test_a_message_is_received() -> None:
    assert post(info_path(MESSAGE.name), encode_message(MESSAGE)) == (200, {}, [MESSAGE])


@pytest.mark.parametrize(
    ("worker", "body", "token", "status", "error"),
    [
        (MESSAGE.name, encode_message(MESSAGE), "another", 401, "expected the token of this worker"),
        ("other", encode_message(MESSAGE), TOKEN, 400, "name: expected 'other', got"),
        (MESSAGE.name, b"{", TOKEN, 400, "message of a worker"),
        (MESSAGE.name, json.dumps({"name": MESSAGE.name}).encode(), TOKEN, 400, "missing"),
    ],
)
def test_what_is_refused_has_a_status_and_a_reason(worker: str, body: bytes, token: str, status: int, error: str) -> None:
    got, answer, received = post(info_path(worker), body, token)
    assert (got, received) == (status, [])
    assert error in answer["error"]


def test_it_says_that_it_is_alive() -> None:
    assert ask(lambda client: client.get("/healthz"))[:2] == (200, {})
