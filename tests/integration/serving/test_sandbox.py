"""A hub and nodes in network namespaces of this machine: a model runs over them, and nothing is left, whatever ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import numpy as np
import psutil
import pytest

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.executors import open_pipeline
from multiedge.network.identity import HUB
from multiedge.onnx_io import read_runnable
from multiedge.serving.sandbox import Sandbox, sandbox_fleet
from multiedge.transports.namespaces import NAMESPACES, remove_orphans
from tests.builders.pipelines import small_model, vectors
from tests.builders.sandboxes import CLI, command, obstacle
from tests.builders.stage_hosts import ended

pytestmark = pytest.mark.skipif(bool(reason := obstacle()), reason=reason)


def processes_in(folder) -> list[int]:
    """Processes whose command names the folder."""
    return [
        each.pid for each in psutil.process_iter(["cmdline"]) if any(str(folder) in word for word in each.info["cmdline"] or ())
    ]


@pytest.mark.slow
def test_a_model_is_deployed_and_run_by_one_command_each_while_the_hub_is_away_and_back(tmp_path):
    folder, model = tmp_path / "fleet", small_model(tmp_path / "small.onnx")
    whole, items = OnnxRuntimeBackend().open(model), vectors(20)
    with Sandbox(sandbox_fleet(2), folder) as sandbox:
        command(sandbox, "deploy", model, "-o", tmp_path / "parts")
        options = {"hub": sandbox.address, "identity": str(sandbox.identity.folder)}
        with open_pipeline(read_runnable(tmp_path / "parts"), sandbox.fleet, "fleet", **options) as pipeline:
            sandbox.kill(HUB)
            results, _ = pipeline.map(items)
        sandbox.start(HUB)
        sandbox.wait_alive()
        listed = command(sandbox, "fleet", "--json")
    assert [result.item for result in results] == list(range(20))
    assert all(np.array_equal(result.require()["y"], whole.run(each)["y"]) for result, each in zip(results, items, strict=True))
    assert '"small"' in listed
    assert processes_in(folder) == []


def test_a_sandbox_that_is_killed_leaves_no_process_and_its_networks_are_removed_by_the_next(tmp_path):
    command_line = [*CLI, "sandbox", "--nodes", "1", "--data", str(tmp_path / "fleet")]
    with ended(command_line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline().startswith("export MULTIEDGE_IDENTITY=")
        assert processes_in(tmp_path)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
        until = time.monotonic() + 10.0
        while processes_in(tmp_path) and time.monotonic() < until:
            time.sleep(0.05)
    assert processes_in(tmp_path) == []
    remove_orphans()
    assert [path.name for path in NAMESPACES.glob(f"multiedge-{process.pid}.*")] == []
