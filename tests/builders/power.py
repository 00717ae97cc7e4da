"""Sources of power figures for tests: a made-up NVML, sysfs trees as the kernel lays them out, and a scripted provider."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

from multiedge.meters.provider import Reading


class FakeNvml:
    """nvidia-ml-py's names and units: millijoules, milliwatts, bytes, NVMLError."""

    class NVMLError(Exception):
        pass

    def __init__(
        self, *, energy_mj=None, power_mw=40_000, processes=((7, 1 << 30),), gpus=1, driver=True, name="Test GPU"
    ) -> None:
        self.energy_mj, self.power_mw, self.processes, self.gpus, self.driver = energy_mj, power_mw, processes, gpus, driver
        self.gpu_name = name
        self.closed = 0

    def nvmlInit(self):  # noqa: N802
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlShutdown(self):  # noqa: N802
        self.closed += 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        if index >= self.gpus:
            raise self.NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return f"{self.gpu_name} {handle}" if isinstance(self.gpu_name, str) else self.gpu_name

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        return self._answer(self.energy_mj)

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        return self._answer(self.power_mw)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self._answer(self.processes)]

    def _answer(self, value):
        if value is None:
            raise self.NVMLError("Not Supported")
        return value


class FakeProvider:
    """Gives one of `readings` at each look."""

    source, domain = "fake counter", "bench"

    def __init__(self, readings: Iterable[Reading]) -> None:
        self.readings, self.closed = iter(readings), False

    def read(self) -> Reading:
        return next(self.readings)

    def close(self) -> None:
        self.closed = True


def write_files(folder: Path, **texts: object) -> Path:
    """Files of these names and texts, each ended by a newline, as sysfs has them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(f"{text}\n", encoding="ascii")
    return folder


def hwmon_chip(sys: Path, number: int, name: str, **files: object) -> Path:
    """The folder of a sensor chip, with files such as `power1_input`."""
    return write_files(sys / f"class/hwmon/hwmon{number}", name=name, **files)


def rapl_zone(sys: Path, zone: str, name: str, energy_uj: object, max_energy_range_uj: object = 9_000_000) -> Path:
    """A zone of powercap such as '0' or '0:1'."""
    folder = sys / f"class/powercap/intel-rapl:{zone}"
    return write_files(folder, name=name, energy_uj=energy_uj, max_energy_range_uj=max_energy_range_uj)
