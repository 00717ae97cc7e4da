"""Agents of nodes in threads of the test, at a hub of `tests.builders.hubs`; their workers are processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from multiedge.network.identity import Identity
from multiedge.serving.hub.joining import join
from multiedge.serving.node import agent as agent_module
from multiedge.serving.node.agent import Agent, NodeOptions
from multiedge.serving.node.limits import Limits
from multiedge.serving.node.speed import Speed
from tests.builders.hubs import TestHub

LIMITS = Limits(1 << 30, 1)


def without_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents neither measure their speed nor load a stage once to know what it takes."""
    monkeypatch.setattr(agent_module, "measure_speed", lambda threads, is_cancelled: Speed(threads, 5e9, 2e9))
    monkeypatch.setattr(agent_module, "load_once", lambda *_: 1 << 20)


@contextmanager
def running_agent(hub: TestHub, name: str, folder: Path, probe_bytes: int = 0) -> Iterator[Agent]:
    """The agent of a node on this machine, which joins if it has not yet."""
    identity = folder / name / "identity"
    if not identity.exists():
        join(hub.address, hub.token(), f"node:{name}", identity)
    options = NodeOptions(name, hub.address, folder / name, Identity(identity), LIMITS, "127.0.0.1", 0, 64 << 20, probe_bytes)
    agent = Agent(options)
    agent.start()
    try:
        yield agent
    finally:
        agent.close()
