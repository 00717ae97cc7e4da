"""What a run records of the runtimes that really computed, and of the GPU memory of its workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from multiedge.executors import open_pipeline
from multiedge.fleet import Device, Fleet
from multiedge.measurements import Memory
from multiedge.metrics import compute
from tests.builders.pipelines import item, small_plan, synthetic_chain, vectors

FAKE_NVML = """
import os
from types import SimpleNamespace


class NVMLError(Exception):
    pass


def nvmlInit():
    pass


def nvmlShutdown():
    pass


def nvmlDeviceGetCount():
    return 1


def nvmlDeviceGetHandleByIndex(index):
    return index


def unsupported(handle):
    raise NVMLError("Not Supported")


nvmlDeviceGetTotalEnergyConsumption = nvmlDeviceGetPowerUsage = unsupported


def nvmlDeviceGetComputeRunningProcesses(handle):
    return [SimpleNamespace(pid=os.getpid(), usedGpuMemory=123 << 20), SimpleNamespace(pid=1, usedGpuMemory=999 << 20)]
"""


def gpu_memory(directory: Path) -> list[Memory]:
    """Of a pipeline on a GPU and a CPU."""
    fleet = Fleet((Device("d0", type="gpu", backend="synthetic"), Device("d1", backend="synthetic")))
    with open_pipeline(synthetic_chain(directory, stages=2), fleet) as pipeline:
        _, measured = pipeline.map([item(1)] * 3)
    figure = compute(measured, ["peak_gpu_memory_bytes"])["peak_gpu_memory_bytes"]
    assert figure.value == measured.memory[0].gpu_peak_bytes
    return list(measured.memory)


def test_a_workers_gpu_memory_is_its_own_and_of_devices_with_a_gpu_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pynvml.py").write_text(FAKE_NVML)
    monkeypatch.syspath_prepend(tmp_path / "site")
    gpu, cpu = gpu_memory(tmp_path)
    assert (gpu.gpu_peak_bytes, gpu.gpu_method) == (123 << 20, "largest reading of NVML")
    assert (cpu.gpu_peak_bytes, cpu.gpu_method) == (None, "")


def test_gpu_memory_that_nvml_does_not_list_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pynvml.py").write_text(FAKE_NVML.replace("os.getpid()", "2"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    gpu, _ = gpu_memory(tmp_path)
    assert (gpu.gpu_peak_bytes, gpu.gpu_method) == (None, "not measured: NVML lists no memory of this process")


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_the_provider_that_computed_each_device_is_recorded(tmp_path: Path, executor: str) -> None:
    manifest, fleet = small_plan(tmp_path, devices=2, spare=0)
    with open_pipeline(manifest, fleet, executor) as pipeline:
        _, measured = pipeline.map(vectors(2))
    assert measured.settings["providers"] == {"d0": "CPUExecutionProvider", "d1": "CPUExecutionProvider"}


def test_a_gpu_that_the_runtime_cannot_use_is_a_warning_and_the_fallback_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    manifest, _ = small_plan(tmp_path, devices=1, spare=0)
    with open_pipeline(manifest, Fleet((Device("d0", type="gpu"),)), "inline") as pipeline:
        _, measured = pipeline.map(vectors(1))
    assert measured.settings["providers"] == {"d0": "CPUExecutionProvider"}
    assert "device 'd0' is a GPU, but onnxruntime has none to use here: its stages run on the CPU" in caplog.text
