"""Carrying times of this machine over to devices, by backend and threads, with the runtime made up."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.contract import Coverage, NodeTimes
from multiedge.backends.timing import Accuracy, Timing
from multiedge.errors import ProfileError
from multiedge.fleet import Device, Fleet
from profilers import measured
from profilers.engine import host as hosts
from profilers.engine.calibration import Calibration
from profilers.engine.host import Host, HostTimes, measure_host
from profilers.engine.merge import profile_of_trace
from profilers.engine.roofline import Capability
from profilers.engine.summary import warnings
from profilers.measured import MeasuredProfiler, host_name
from tests.builders.graphs import chain_graph

COUNT = 4
GRAPH = chain_graph(COUNT)
ABLE = Capability(2e9, 1e9, 1e-6, 2e9, "this machine")


def timing(seconds: float) -> Timing:
    return Timing(np.full(9, seconds), np.full(9, seconds))


def times_of(host: Host, seconds: float) -> HostTimes:
    each = np.full(COUNT, seconds)
    coverage = Coverage(COUNT, 0, 0, 0)
    nodes = NodeTimes(GRAPH, each, each * 0.1, 0.5, timing(4.5), timing(5.0), 4.8, coverage)
    times = HostTimes(host, GRAPH, each, each * 0.1, 0.5, timing(4 * seconds + 0.5), nodes=nodes)
    return times if host.backend == "onnxruntime" else replace(times, nodes=None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Host]:
    """A machine on which nodes take 1 s in onnxruntime with a thread, 0.5 s with two, and 3 s in other backends."""
    measured_hosts: list[Host] = []

    def measure(graph: object, host: Host, *_: object, **__: object) -> HostTimes:
        measured_hosts.append(host)
        return times_of(host, (1.0 if host.backend == "onnxruntime" else 3.0) / host.threads)

    monkeypatch.setattr(measured, "measure_host", measure)
    monkeypatch.setattr(measured, "calibrate", lambda threads, backend: Calibration(threads, ABLE, 0.1, backend))
    monkeypatch.setattr(measured, "cut_cost_s", lambda *_, **__: 0.25)
    monkeypatch.setattr(measured, "runtime_name", lambda host: f"{host.backend} 1.0")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    return measured_hosts


def test_each_backend_and_number_of_threads_is_measured_once(asked: list[Host]) -> None:
    devices = [Device("a"), Device("b", threads=2), Device("c", threads=64), Device("d", backend="openvino"), Device("e")]
    profile = MeasuredProfiler().profile(GRAPH, Fleet(tuple(devices)))
    assert sorted(asked) == [Host(1), Host(1, "openvino"), Host(2)]
    found = {name: float(profile.seconds[name][0]) for name in profile.seconds}
    assert found == {
        "this machine, 1 thread": 1.0,
        "this machine, 1 thread of openvino": 3.0,
        "this machine, 2 threads": 0.5,
        "a": 1.0,
        "b": 0.5,
        "c": 0.5,
        "d": 3.0,
        "e": 1.0,
    }
    assert profile.overhead_s["d"] == 0.75
    assert profile.settings["runtime"] == "onnxruntime 1.0 and openvino 1.0"
    assert sorted(profile.settings["host"]) == ["1", "1 openvino", "2"]
    assert "coverage" in profile.settings["host"]["1"]
    assert "coverage" not in profile.settings["host"]["1 openvino"]


@pytest.mark.parametrize(
    ("device", "source"),
    [
        (Device("x"), "measured with 1 thread"),
        (Device("x", speed=1.0), "measured with 1 thread"),
        (Device("x", speed=0.5, threads=2), "measured with 2 threads, scaled by speed 0.5"),
        (Device("x", flops_per_s=1e9), "measured with 1 thread, scaled by flops 1 GFLOP/s"),
        (Device("x", memory_bytes_per_s=2e9), "measured with 1 thread, scaled by memory 2 GB/s"),
        (
            Device("x", backend="openvino", speed=2.0),
            "measured with 1 thread of openvino, shared among nodes by their work, scaled by speed 2",
        ),
    ],
)
def test_the_source_states_what_was_measured_and_how_it_was_scaled(asked: list[Host], device: Device, source: str) -> None:
    assert MeasuredProfiler().profile(GRAPH, Fleet((device,))).sources["x"] == source


def test_names_of_the_reference_backend_are_those_of_old_profiles() -> None:
    assert host_name(1) == "this machine, 1 thread"
    assert host_name(2, "openvino") == "this machine, 2 threads of openvino"


def test_a_runtime_without_node_times_shares_the_latency_by_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("")
    monkeypatch.setattr(hosts, "_time_whole", lambda *_: timing(2.5))
    monkeypatch.setattr(hosts, "random_feed", lambda graph, seed: {})
    graph = replace(GRAPH, path=str(tmp_path / "m.onnx"))
    found = measure_host(graph, Host(1, "synthetic"), Calibration(1, ABLE, 0.5), Accuracy())
    assert found.nodes is None
    assert found.seconds.sum() + found.overhead_s == pytest.approx(2.5)
    np.testing.assert_allclose(found.seconds, 0.5)


def test_a_busy_machine_is_reported_with_its_threads_and_backend(asked: list[Host]) -> None:
    profile = MeasuredProfiler().profile(GRAPH, Fleet((Device("d", backend="openvino"),)))
    assert warnings(profile) == []
    host = {**profile.settings["host"]["1 openvino"], "cpu_s": 1.0}
    (line,) = warnings(replace(profile, settings={"host": {"1 openvino": host}}))
    assert line.startswith("with 1 thread of openvino the model took 1.25e+04 ms but only 1000 ms of processor time")
    old = {"1": {"latency_s": 9.0, "cpu_s": 1.0}}
    assert warnings(replace(profile, settings={"host": old}))[0].startswith("with 1 thread the model took")


def test_a_trace_needs_a_backend_that_reads_traces() -> None:
    with pytest.raises(ProfileError, match=r"t\.json: backend 'synthetic' of device 'd' reads no profiles with times of nodes"):
        profile_of_trace(GRAPH, "t.json", Device("d", backend="synthetic"))
