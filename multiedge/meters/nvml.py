"""NVIDIA GPUs over NVML: memory of one process, energy counter, power.

The package is nvidia-ml-py, its module pynvml; neither is needed without a GPU. Process memory is listed by process id.
Inside a container NVML may list the host's ids: the memory is then unknown (None). The memory of the whole GPU is never
reported as that of one process.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from multiedge.fleet import Device
from multiedge.meters.provider import Reading, Unavailable

log = logging.getLogger(__name__)


class Nvml:
    """An initialised NVML. Raises `Unavailable` with the reason: no package, no driver, no GPU."""

    def __init__(self, module: ModuleType | Any | None = None) -> None:
        try:
            self._nvml: Any = module or import_module("pynvml")
        except ImportError as error:
            raise Unavailable("nvidia-ml-py is not installed") from error
        try:
            self._nvml.nvmlInit()
            self.count = int(self._nvml.nvmlDeviceGetCount())
        except self._nvml.NVMLError as error:
            raise Unavailable(f"NVML: {error}") from error
        if not self.count:
            self.close()
            raise Unavailable("NVML: no GPU")

    def name(self, gpu: int) -> str:
        name = self._nvml.nvmlDeviceGetName(self._handle(gpu))
        return name.decode() if isinstance(name, bytes) else str(name)

    def energy_j(self, gpu: int) -> float | None:
        """Joules since the driver was loaded; None on GPUs older than Volta, which do not count them."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle(gpu))) / 1000.0
        except self._nvml.NVMLError:
            return None

    def power_w(self, gpu: int) -> float | None:
        """Watts now, as the driver averages them."""
        try:
            return float(self._nvml.nvmlDeviceGetPowerUsage(self._handle(gpu))) / 1000.0
        except self._nvml.NVMLError:
            return None

    def process_bytes(self, pid: int | None = None) -> int | None:
        """Memory that the process holds on all GPUs now; None if NVML does not list the process or its memory."""
        pid = os.getpid() if pid is None else pid
        readings = [
            process.usedGpuMemory for gpu in range(self.count) for process in self._processes(gpu) if int(process.pid) == pid
        ]
        known = [int(used) for used in readings if used is not None]
        return sum(known) if known and len(known) == len(readings) else None

    def close(self) -> None:
        self._nvml.nvmlShutdown()

    def _handle(self, gpu: int) -> Any:
        return self._nvml.nvmlDeviceGetHandleByIndex(gpu)

    def _processes(self, gpu: int) -> list[Any]:
        try:
            return list(self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle(gpu)))
        except self._nvml.NVMLError:
            return []


class GpuMemory:
    """GPU memory of one process, on all GPUs. NVML counts no peak: `peak_bytes` is the largest reading so far, or None."""

    def __init__(self, nvml: Nvml, pid: int | None = None) -> None:
        self._nvml, self._pid = nvml, pid
        self.peak_bytes: int | None = None

    def sample(self) -> int | None:
        """Reads the memory. Returns the peak so far, None as long as NVML does not list the process."""
        now = self._nvml.process_bytes(self._pid)
        if now is not None:
            self.peak_bytes = max(now, self.peak_bytes or 0)
        return self.peak_bytes


def gpu_memory_of(device: Device) -> GpuMemory | None:
    """This process's GPU memory; None if the device declares no GPU, or where NVML is absent."""
    if device.gpu is None:
        return None
    try:
        return GpuMemory(Nvml())
    except Unavailable as reason:
        log.debug("GPU memory of '%s' is not measured: %s", device.name, reason)
        return None


@dataclass
class NvmlEnergy:
    """One GPU's energy counter, or its power where there is no counter."""

    nvml: Nvml
    gpu: int = 0

    def __post_init__(self) -> None:
        if self.nvml.energy_j(self.gpu) is not None:
            self.source = "NVML energy counter"
        elif self.nvml.power_w(self.gpu) is not None:
            self.source = "NVML power"
        else:
            self.nvml.close()
            raise Unavailable(f"NVML: GPU {self.gpu} reports neither energy nor power")
        self.domain = f"GPU {self.gpu}: {self.nvml.name(self.gpu)}"

    def read(self) -> Reading:
        if self.source == "NVML energy counter":
            return Reading(joules=self.nvml.energy_j(self.gpu))
        return Reading(watts=self.nvml.power_w(self.gpu))

    def close(self) -> None:
        self.nvml.close()
