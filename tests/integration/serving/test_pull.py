"""A hub that asks its nodes for their states."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

from multiedge.formats.records import encode_line
from multiedge.network.records import Deployment, NodeState, PlanPart, PlanRecord
from multiedge.serving.hub.registry import LOST_AFTER_S
from tests.builders.hubs import running_hub


@contextmanager
def _asked_node(name: str, asked: list[dict[str, object]]) -> Iterator[str]:
    """The address of a node that reports nothing by itself, and says that it is `name` when it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, connection.makefile("rwb") as lines, suppress(OSError):
                        for line in lines:
                            asked.append(json.loads(line))
                            lines.write(encode_line(NodeState(name, address, load=0.25)))
                            lines.flush()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield address
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_a_node_that_only_answers_is_alive_and_is_told_what_to_hold(tmp_path: Path) -> None:
    asked: list[dict[str, object]] = []
    with _asked_node("quiet", asked) as address, running_hub(tmp_path, tls=False, pulls=True) as hub:
        client = hub.client_of(None)
        client.heartbeat(NodeState("quiet", address))
        plan = PlanRecord("{}", (PlanPart(0, ("quiet",), ()),))
        client.put_plan(plan, {})
        client.deploy(Deployment("null", plan.digest))
        time.sleep(LOST_AFTER_S + 0.5)
        assert client.nodes() == (NodeState("quiet", address, load=0.25),)
    assert asked[-1]["type"] == "GetState"
    assert asked[-1]["assignments"] == [{"deployment": "null", "plan": plan.digest, "stages": [0]}]


def test_another_node_at_the_address_is_not_taken_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with _asked_node("other", []) as address, running_hub(tmp_path, tls=False, pulls=True) as hub:
        client = hub.client_of(None)
        client.heartbeat(NodeState("quiet", address))
        time.sleep(0.8)
        assert [state.name for state in client.nodes()] == ["quiet"]
    assert f"node 'quiet' at {address}: gave the state of 'other'" in [record.message for record in caplog.records]
