"""Emulated devices and links act within 5 % of what was asked."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multiedge.commands.calibrate import runtime_bytes
from multiedge.executors import open_pipeline
from multiedge.executors.flow.scenarios import scenario
from multiedge.executors.workers.emulation import Pace
from multiedge.fleet import REFERENCE_BACKEND, Device, Fleet, Link
from multiedge.formats.devices import parse_fleet
from multiedge.graph import Graph
from multiedge.measurements import Measurements
from multiedge.onnx_io import read_graph, write_parts
from multiedge.plan import Plan
from multiedge.run import plan_model, profile_model
from tests.builders.onnx_models import layers, saved
from tests.builders.pipelines import item, synthetic_chain, synthetic_fleet

TOLERANCE = 0.05
WORK_S = 0.02


@pytest.mark.timing
@pytest.mark.parametrize("speed", [0.5, pytest.param(0.25, marks=pytest.mark.slow)])
def test_speed_factor(tmp_path: Path, speed: float, capsys: pytest.CaptureFixture[str]) -> None:
    """The same work on a device of full speed and on a slow one, in one run, so that a busy host meets both."""
    manifest = synthetic_chain(tmp_path, stages=2, work_seconds=WORK_S)
    with open_pipeline(
        manifest, Fleet((Device("d0", backend="synthetic"), Device("d1", backend="synthetic", speed=speed)))
    ) as pipeline:
        _, measured = pipeline.map([item(0)] * 40)
    acts = stage_seconds(measured, 0) / stage_seconds(measured, 1)
    with capsys.disabled():
        print(f"\nspeed {speed}: acts as {acts:.3f}")
    assert acts == pytest.approx(speed, rel=TOLERANCE)
    emulated = measured.settings["emulated"]["devices"]
    assert (emulated["d0"]["speed_by"], emulated["d1"]["speed_by"]) == ("none", "waiting")


def stage_seconds(measured: Measurements, stage: int) -> float:
    """The lower quartile of a stage's times: those of items that had their core to themselves."""
    times = sorted(event.seconds for event in measured.events if event.kind == "compute" and event.stage == stage)
    return times[len(times) // 4]


@pytest.mark.timing
def test_link_rate_and_latency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = synthetic_chain(tmp_path, stages=2)
    devices = synthetic_fleet(2).devices
    rate, latency, nbytes = 2_000_000.0, 0.03, 80_000
    fleet = Fleet(devices, {("d0", "d1"): Link(rate, latency)})
    feed = {"t0": np.zeros(nbytes // 4, dtype=np.float32)}
    with open_pipeline(manifest, fleet) as pipeline:
        results, full = pipeline.map([feed] * 30)
        _, single = pipeline.map([feed] * 5, scenario("singlestream"))
    done = [result.done_s for result in results]
    acts = nbytes * (len(done) - 1) / (done[-1] - done[0])
    alone = statistics.median(entry.done_s - entry.issued_s for entry in single.items)
    with capsys.disabled():
        print(f"\nlink of {rate:.0f} B/s: acts as {acts:.0f}; one message of {nbytes / rate + latency:.3f} s: {alone:.3f} s")
    assert acts == pytest.approx(rate, rel=TOLERANCE)
    assert alone == pytest.approx(nbytes / rate + latency, rel=0.15)
    assert full.settings["emulated"]["links"] == "in process"


@pytest.mark.timing
def test_pace_makes_up_for_oversleeping() -> None:
    pace, added, worked = Pace(0.5), 0.0, 0.0
    for _ in range(20):
        pace.begin()
        cpu = time.process_time()
        while time.process_time() - cpu < 0.005:
            pass
        worked += time.process_time() - cpu
        end = time.monotonic()
        pace.stretch()
        added += time.monotonic() - end
    assert added == pytest.approx(worked, rel=0.1)


def test_a_plan_that_just_fits_runs_under_its_limits(tmp_path: Path) -> None:
    """Without the runtime in the plan, workers of 90 MiB would be ended on devices with room for the weights alone.

    The runtime's memory is measured: the same library maps up to 10 MiB more where the page cache holds it in larger folios.
    """
    graph = read_graph(saved(layers(6, width=1024), tmp_path / "model.onnx"))
    runtime = runtime_bytes(1, REFERENCE_BACKEND)
    free = parse_fleet({"devices": [{"name": name, "speed": 1, "runtime_memory": f"{runtime}B"} for name in ("a", "b")]})
    needed = {stage.memory_bytes for stage in even_plan(graph, free).estimate.stages}
    tight = replace(
        free, devices=tuple(replace(device, memory_bytes=device.memory_for(max(needed))) for device in free.devices)
    )
    plan = even_plan(graph, tight)
    assert len(plan.stages) == 2
    manifest = write_parts(graph, plan, tmp_path / "parts")
    with open_pipeline(manifest, tight) as pipeline:
        results, measured = pipeline.map([{"x": np.ones((1, 1024), np.float32)}] * 30)
    assert all(result.tensors for result in results)
    assert measured.faults == ()


def even_plan(graph: Graph, fleet: Fleet) -> Plan:
    return plan_model(profile_model(graph, fleet), fleet, "equal_flops")
