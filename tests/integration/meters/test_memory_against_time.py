"""The peak that a spawned worker reads of itself, against what /usr/bin/time says of the same worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import psutil
import pytest

import multiedge as me
from multiedge.executors import open_pipeline
from multiedge.meters.memory import read_memory
from tests.builders.onnx_models import LIGHT

TIME = "/usr/bin/time"

WORKER = """
import sys
from multiedge.meters.memory import read_memory
block = bytearray(int(sys.argv[1]))
block[::4096] = b"x" * len(block[::4096])
del block
print(read_memory().peak_bytes)
"""


@pytest.mark.skipif(not os.path.exists(TIME), reason="GNU time is not installed (apt-get install time)")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
@pytest.mark.parametrize("mebibytes", [32, 160])
def test_worker_peak_is_within_five_percent_of_gnu_time(mebibytes):
    done = subprocess.run(
        [TIME, "-v", sys.executable, "-c", WORKER, str(mebibytes << 20)], capture_output=True, text=True, timeout=60, check=True
    )
    own = int(done.stdout)
    outside = int(re.search(r"Maximum resident set size \(kbytes\): (\d+)", done.stderr).group(1)) * 1024
    assert own > mebibytes << 20
    assert own == pytest.approx(outside, rel=0.05)


@pytest.mark.skipif(not os.path.exists(TIME), reason="GNU time is not installed (apt-get install time)")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
def test_each_worker_of_a_pipeline_reports_what_gnu_time_sees(tmp_path, monkeypatch):
    """The pipeline's own workers, each started under `time -v`."""
    light = LIGHT / "light_squeezenet.onnx"
    fleet = me.Fleet((me.Device("a", speed=1.0), me.Device("b", speed=1.0)), name="two")
    graph = me.read_graph(light)
    half = len(graph.nodes) // 2
    stages = [me.Stage.span("a", 0, half), me.Stage.span("b", half, len(graph.nodes))]
    manifest = me.write_parts(graph, me.plan_by_hand(me.profile_model(graph, fleet), fleet, stages), tmp_path / "parts")
    timed = tmp_path / "python"
    timed.write_text(f'#!/bin/sh\nexec {TIME} -v -o {tmp_path}/time-$$ {sys.executable} "$@"\n', encoding="utf-8")
    timed.chmod(0o755)
    monkeypatch.setattr("multiedge.executors.workers.process.sys.executable", str(timed))
    # The process that was started is now `time`; the worker is its child.
    monkeypatch.setattr("multiedge.executors.workers.process.read_memory", lambda pid: read_memory(child_of(pid)))
    with open_pipeline(manifest, fleet) as pipeline:
        _, measurements = pipeline.map(me.random_inputs(graph, seed=seed) for seed in range(10))
    files = wait_for(lambda: [path for path in tmp_path.glob("time-*") if "Maximum" in path.read_text()], count=2)
    seen = [re.search(r"Maximum resident set size \(kbytes\): (\d+)", path.read_text()) for path in files]
    outside = sorted(int(found.group(1)) * 1024 for found in seen if found)
    reported = sorted(memory.peak_bytes or 0 for memory in measurements.memory)
    assert reported == pytest.approx(outside, rel=0.05)


def child_of(pid):
    return next((child.pid for child in psutil.Process(pid).children()), pid)


def wait_for(look, count, seconds=10.0):
    until = time.monotonic() + seconds
    while len(look()) < count and time.monotonic() < until:
        time.sleep(0.05)
    return look()
