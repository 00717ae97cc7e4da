"""Power over a run: the first available provider, sampled by a thread.

The order is NVML's energy counter, the board's sensor, RAPL. Where none is available, or where several emulated devices
share one machine, whose reading is that of no single device, `multiedge.meters.modelled` computes the energy from declared
watts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from multiedge.measurements import Energy
from multiedge.meters.nvml import Nvml, NvmlEnergy
from multiedge.meters.provider import PowerProvider, Unavailable
from multiedge.meters.sysfs import BoardSensor, Rapl
from multiedge.meters.windows import integrate_watts, largest_average_w

RATE_HZ = 10.0
WINDOW_S = 1.0

CPU_CHAIN: Mapping[str, Callable[[], PowerProvider]] = {"hwmon": BoardSensor, "RAPL": Rapl}


def gpu_chain(gpu: int = 0, nvml: Any = None) -> dict[str, Callable[[], PowerProvider]]:
    """The providers for a device that computes on GPU number `gpu`; `nvml` stands in for the pynvml module."""
    return {"NVML": lambda: NvmlEnergy(Nvml(nvml), gpu)}


def open_provider(chain: Mapping[str, Callable[[], PowerProvider]]) -> PowerProvider:
    """The first available provider of `chain`; `Unavailable` with every reason if there is none."""
    reasons = []
    for name, make in chain.items():
        try:
            return make()
        except Unavailable as reason:
            reasons.append(f"{name}: {reason}")
    raise Unavailable("; ".join(reasons))


class PowerMeter:
    """Samples one provider from `start` to `stop`, and computes the Energy of that time.

    Use it as a context manager, or call `start` and `stop`; call `energy` after `stop`. Samples have times of the monotonic
    clock, so that they can be drawn beside the events: see `samples`.
    """

    def __init__(
        self,
        provider: PowerProvider,
        device: str,
        rate_hz: float = RATE_HZ,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._device = device
        self._rate_hz = rate_hz
        self._window_s = window_s
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_stopped, name=f"power-{device}", daemon=True)
        # one append per sample, so that another thread never reads an incomplete one
        self._joules: list[tuple[float, float]] = []
        self._watts: list[tuple[float, float]] = []

    def __enter__(self) -> PowerMeter:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        self.sample()
        self._thread.start()

    def stop(self) -> None:
        """Ends sampling and closes the provider. Waits for the thread, at most a few sample periods."""
        self._stopping.set()
        self._thread.join(timeout=10.0)
        self.sample()
        self._provider.close()

    def sample(self) -> None:
        """Reads the source once. A source without a reading adds no sample: a gap is not zero."""
        reading, now = self._provider.read(), self._clock()
        if reading.joules is not None:
            self._joules.append((now, reading.joules))
        elif reading.watts is not None:
            self._watts.append((now, reading.watts))

    @property
    def samples(self) -> list[tuple[float, float]]:
        """(monotonic seconds, joules since the first sample)."""
        counted, drawn = list(self._joules), list(self._watts)
        if counted:
            return [(at, joules - counted[0][1]) for at, joules in counted]
        at_s = [at for at, _ in drawn]
        return list(zip(at_s, integrate_watts(at_s, [watts for _, watts in drawn]), strict=True))

    def energy(self) -> Energy:
        """Joules, mean and peak of the sampled time; method 'none' if the source gave fewer than two readings."""
        samples, source, domain = self.samples, self._provider.source, self._provider.domain
        if len(samples) < 2 or samples[-1][0] <= samples[0][0]:
            return Energy(self._device, None, None, None, "none", f"{source} gave fewer than two samples", domain)
        at_s, joules = [at for at, _ in samples], [total for _, total in samples]
        wall_s = at_s[-1] - at_s[0]
        return Energy(
            self._device,
            joules[-1],
            largest_average_w(at_s, joules, self._window_s),
            joules[-1] / wall_s,
            "measured",
            source,
            domain,
            (len(samples) - 1) / wall_s,
            min(self._window_s, wall_s),
        )

    def _sample_until_stopped(self) -> None:
        while not self._stopping.wait(1.0 / self._rate_hz):
            self.sample()


def open_meter(device: str, *, gpu: int | None = None, whole_machine: bool = False) -> PowerMeter:
    """A meter for `device`: of GPU number `gpu`, or of the machine if the device is the `whole_machine`.

    Raises Unavailable with the reasons if that device cannot be measured here.
    """
    chain: dict[str, Callable[[], PowerProvider]] = gpu_chain(gpu) if gpu is not None else {}
    if whole_machine:
        chain |= CPU_CHAIN
    if not chain:
        raise Unavailable("several devices share the machine, so its power is not that of one device")
    return PowerMeter(open_provider(chain), device)
