"""A front end in front of a hub: alone on its device, and over a fleet whose nodes fail."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("cryptography")

import multiedge as me
from benchmarks import front
from benchmarks.front_client import Job
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.cli import main
from multiedge.fleet import Device, Fleet
from multiedge.network.client import HubClient
from multiedge.network.identity import ENVIRONMENT, Identity
from multiedge.network.records import NodeState
from multiedge.plan import Stage
from multiedge.serving.front.front import FrontEnd, FrontOptions
from multiedge.serving.front.offload import OffloadMode, OffloadRules
from multiedge.serving.front.openers import HubAccess, ThisDevice
from multiedge.serving.inference.contract import InferRequest
from multiedge.serving.inference.repository import ModelRepository
from multiedge.serving.node.folder import PlanFolders
from multiedge.serving.node.limits import Limits
from tests.builders.front import wait_until
from tests.builders.hubs import FakeNode, running_hub
from tests.builders.onnx_models import parsed, saved
from tests.builders.pipelines import small_model, vectors
from tests.builders.sandboxes import CLI, obstacle

SANDBOX = [pytest.mark.slow, pytest.mark.skipif(bool(reason := obstacle()), reason=reason)]
DESK = "desk"
START_S = 20.0


@contextmanager
def front_on_device(folder: Path, address: str, identity: Identity, silences: list[bool]) -> Iterator[FrontEnd]:
    """The front end of a device whose switch is off."""
    with PlanFolders(folder / "node", 1 << 30, lambda: HubClient(address, identity, timeout_s=0.5)) as folders:
        device = ThisDevice(DESK, folders, Limits.of(None, 1, 1.0))
        options = FrontOptions(folder / "front", offload=OffloadRules(OffloadMode.OFF))
        hub = HubAccess(address, identity, timeout_s=0.5)
        with FrontEnd(ModelRepository(), hub, options, device, set_silent=silences.append) as running:
            yield running


def test_a_device_whose_switch_is_off_answers_alone_also_after_a_restart_without_its_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (tensors,) = small_model(tmp_path / "small.onnx"), vectors(1)
    whole = OnnxRuntimeBackend().open(model)
    state = NodeState(DESK, "127.0.0.1:1", 1 << 30, 1 << 30, flops_per_s=1e9)
    silences: list[bool] = []

    def answer(running: FrontEnd) -> None:
        wait_until(lambda: bool(running.models) and running.models[0].is_ready, START_S)
        with running.repository.using("small") as loaded:
            request = InferRequest("small", tensors)
            loaded.model.check(request)
            reply = loaded.model.infer(request)
        np.testing.assert_array_equal(reply.outputs["y"], whole.run(tensors)["y"])

    with running_hub(tmp_path / "hub") as hub, FakeNode(hub.node(DESK), state):
        identity = Identity(hub.folder / "client")
        monkeypatch.setenv(ENVIRONMENT, str(identity.folder))
        assert main(["deploy", str(model), "--hub", hub.address, "--reference", "declared"]) == 0
        with front_on_device(tmp_path, hub.address, identity, silences) as running:
            answer(running)
            wait_until(lambda: silences == [True])
    with front_on_device(tmp_path, hub.address, identity, silences) as running:
        answer(running)
        wait_until(lambda: silences == [True, True])


@pytest.mark.parametrize("part", [pytest.param("faults", marks=SANDBOX), pytest.param("hung", marks=SANDBOX)])
def test_no_request_is_lost_answered_twice_or_wrong_while_nodes_fail(part: str) -> None:
    rows = front.measure(requests=40, toggles=10, seed=3, parts=[part])
    assert rows
    for row in rows:
        assert not row.failure
        assert {name: row.median(name) for name in ("lost", "twice", "wrong")} == {"lost": 0, "twice": 0, "wrong": 0}
        assert (row.median("hit_p99_s") or 0.0) < front.EXO_TIMEOUT_S
        assert row.median("differing") in (0, None)


@pytest.mark.parametrize("_", [pytest.param(None, marks=SANDBOX)])
def test_turning_the_switch_loses_nothing_and_not_one_byte_leaves_while_it_is_off(_: None) -> None:
    rows = front.measure(requests=0, toggles=20, seed=3, parts=["switch"])
    assert len(rows) > 1
    assert all(row.median("lost") == row.median("wrong") == 0 for row in rows)
    assert [row.median("left_bytes") for row in rows if row.median("left_bytes") is not None] == [0]


BRANCHES = """
forked (float[1, 64] x) => (float[1, 64] y) {
  stem = Tanh(x)
  left = MatMul(stem, a)
  right = MatMul(stem, b)
  y = Add(left, right)
}
"""


@pytest.mark.parametrize("_", [pytest.param(None, marks=SANDBOX)])
def test_one_branch_is_sent_to_another_node_and_joined_on_the_device(_: None, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(64, 64)).astype(np.float32) for name in "ab"}
    path = saved(parsed(BRANCHES, **weights), tmp_path / "forked.onnx")
    graph, fleet = me.read_graph(path), Fleet((Device("node-1", flops_per_s=1e9), Device("node-2", flops_per_s=1e9)))
    kinds = [node.outputs[0] for node in graph.nodes]
    placed = {"stem": "node-1", "left": "node-1", "right": "node-2", "y": "node-1"}
    stages = [Stage(placed[name], (kinds.index(name),)) for name in kinds]
    manifest = me.write_parts(graph, me.plan_by_hand(me.profile_model(graph, fleet), fleet, stages), tmp_path / "parts")
    with front.fleet(2) as (sandbox, folder):
        work = front.prepared(path, "forked", folder)
        where = ["--hub", sandbox.address, "--identity", str(sandbox.identity.folder)]
        subprocess.run([*CLI, "deploy", manifest.directory, "--name", "forked", *where], check=True)
        address = front.serve(sandbox, "node-1", "127.0.0.1", "--identity", str(sandbox.identity.folder))
        job = Job(address, work.model, str(work.inputs))
        front.await_answers(sandbox, job, "node-1")
        before = sandbox.network.sent_bytes()
        outcomes = front.clients(sandbox, [replace_requests(job, 40)], "node-1")
        time.sleep(0.5)
        after = sandbox.network.sent_bytes()
    assert all(each.is_right and not each.error for each in outcomes), json.dumps([each.error for each in outcomes])
    taken = {pair: after[pair] - before[pair] for pair in after}
    branch = 40 * 64 * 4
    assert taken["node-1", "node-2"] >= branch
    assert taken["node-2", "node-1"] >= branch


def replace_requests(job: Job, count: int) -> Job:
    return Job(**{**vars(job), "name": "forked", "requests": count})
