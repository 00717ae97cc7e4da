"""This machine in place of a device."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from multiedge.errors import ProfileError
from multiedge.fleet import Device
from profilers.engine.host import Host, model_path, require_memory
from profilers.engine.machine import cpu_model, machine_name
from tests.builders.graphs import chain_graph


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        pytest.param(Device("d"), Host(1), id="one thread"),
        pytest.param(Device("d", threads=3), Host(3), id="three"),
        pytest.param(Device("d", threads=64), Host(4), id="more than this machine has"),
        pytest.param(Device("d", threads=0), Host(1), id="none stands for one"),
        pytest.param(Device("d", threads=2, backend="openvino"), Host(2, "openvino"), id="another backend"),
    ],
)
def test_a_device_is_stood_for_by_its_backend_and_the_threads_there_are(
    monkeypatch: pytest.MonkeyPatch, device: Device, expected: Host
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert Host.of(device) == expected
    assert Host.of(expected.device) == expected


@pytest.mark.parametrize(
    ("host", "label"),
    [(Host(1), "1 thread"), (Host(2), "2 threads"), (Host(1, "openvino"), "1 thread of openvino")],
)
def test_hosts_have_names_of_their_own(host: Host, label: str) -> None:
    assert host.label == label
    assert host.name == f"this machine, {label}"


def test_hosts_are_ordered_by_threads_then_backend() -> None:
    assert sorted([Host(2), Host(1, "b"), Host(1, "a")]) == [Host(1, "a"), Host(1, "b"), Host(2)]


def test_timing_needs_the_file(tmp_path: Path) -> None:
    graph = chain_graph(1)
    with pytest.raises(ProfileError, match="chain: timing needs the model file, which this graph does not name"):
        model_path(graph)
    with pytest.raises(ProfileError, match=r"timing needs the model file, .*gone\.onnx"):
        model_path(replace(graph, path=str(tmp_path / "gone.onnx")))
    (tmp_path / "m.onnx").touch()
    assert model_path(replace(graph, path=str(tmp_path / "m.onnx"))) == tmp_path / "m.onnx"


@pytest.mark.parametrize(("free", "fits"), [(2048, True), (2047, False)])
def test_activations_that_do_not_fit_are_refused_before_anything_is_run(
    monkeypatch: pytest.MonkeyPatch, free: int, fits: bool
) -> None:
    class Memory:
        available = free

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    graph = chain_graph(3, sizes=[10, 2048, 10, 10])
    if fits:
        require_memory(graph)
    else:
        with pytest.raises(
            ProfileError, match=r"chain: activations take 2\.0 KiB together with these input shapes, this machine has"
        ):
            require_memory(graph)


def test_the_machine_has_a_name_with_its_processor() -> None:
    assert cpu_model()
    assert machine_name().endswith(cpu_model())
    assert "CPUs" in machine_name()
