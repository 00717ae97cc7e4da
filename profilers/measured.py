"""Costs measured with onnxruntime on this machine, and carried over to each device by what it states about itself."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet
from multiedge.formats.profile import speed_data
from multiedge.graph import Graph
from multiedge.profile import Floats, Profile
from profilers.engine.calibration import Calibration, calibrate
from profilers.engine.contract import Progress, silent
from profilers.engine.cutting import cut_cost_s
from profilers.engine.host import HostTimes, measure_host, runtime_name
from profilers.engine.macs import Work, count_work
from profilers.engine.roofline import Capability, capability_of, require_speeds, scaled
from profilers.engine.stopwatch import Accuracy


class MeasuredProfiler:
    """Times the model on this machine once per number of threads in the fleet.

    `budget_s` is for timing all of them together, `relative_error` is when a latency counts as known (half a 95 %
    confidence interval over its median). Inputs are random with `seed`.
    """

    def __init__(
        self,
        budget_s: float = 8.0,
        relative_error: float = 0.01,
        repeats: int = 300,
        warmup: int = 2,
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        if budget_s <= 0:
            raise ConfigError(f"budget_s: expected more than 0 seconds, got {budget_s}")
        self.accuracy = Accuracy(relative_error, budget_s, least=5, most=max(repeats, 5), warmup=max(warmup, 1))
        self.seed = seed
        self.progress = progress

    def profile(self, graph: Graph, fleet: Fleet) -> Profile:
        require_speeds(fleet)
        counts = sorted({host_threads(device) for device in fleet.devices})
        accuracy = replace(self.accuracy, budget_s=self.accuracy.budget_s / len(counts))
        machine = {threads: calibrate(threads) for threads in counts}
        measured = {threads: self._measure(graph, machine[threads], accuracy) for threads in counts}
        seen = next(iter(measured.values())).graph
        work = count_work(seen)
        profile = Profile(
            graph=seen,
            macs=work.macs,
            flops=work.flops,
            uncounted=work.uncounted,
            fused=frozenset[str]().union(*(times.fused for times in measured.values())),
            settings={
                "profiler": "measured",
                "machine": machine_name(),
                "runtime": runtime_name(),
                "seed": self.seed,
                "devices": speed_data(fleet),
                "host": {str(threads): host_settings(times) for threads, times in measured.items()},
            },
        )
        for threads, times in measured.items():
            profile = _add(profile, host_name(threads), times.seconds, times.spread_s, times.stage_overhead_s, "measured")
        for device in fleet.devices:
            threads = host_threads(device)
            profile = carry_over(profile, device, work, measured[threads], machine[threads].capability)
        return profile

    def _measure(self, graph: Graph, machine: Calibration, accuracy: Accuracy) -> HostTimes:
        times = measure_host(graph, machine.threads, accuracy, machine.stage_overhead_s, seed=self.seed, progress=self.progress)
        return replace(times, cut_cost_s=cut_cost_s(times, seed=self.seed, progress=self.progress))


def host_name(threads: int) -> str:
    """Under which name of device a profile keeps what was measured here."""
    return f"this machine, {threads} thread{'s' if threads > 1 else ''}"


def host_threads(device: Device) -> int:
    """With how many threads this machine stands in for the device."""
    return max(1, min(device.threads, os.cpu_count() or 1))


def machine_name() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, {cpu_model()}"


def cpu_model() -> str:
    """The processor's name where the operating system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "processor unknown"


def carry_over(profile: Profile, device: Device, work: Work, times: HostTimes, machine: Capability) -> Profile:
    """The profile with the device's times, derived from what was measured here with as many threads."""
    seconds, word = scaled(times.seconds, work, machine, device)
    factor = machine.flops_per_s / capability_of(device, machine).flops_per_s
    source = f"measured with {times.threads} thread{'s' if times.threads > 1 else ''}, scaled by {word}"
    if word.startswith("no stated speed") or (device.speed == 1.0 and word == "speed 1"):
        source = f"measured with {times.threads} thread{'s' if times.threads > 1 else ''}"
    return _add(profile, device.name, seconds, times.spread_s * factor, times.stage_overhead_s * factor, source)


def host_settings(times: HostTimes) -> Mapping[str, Any]:
    """What a reader needs to judge the times: repeats, latencies, error, CPU time, coverage."""
    return {
        "repeats": len(times.plain.wall_s),
        "latency_s": times.plain.median_s,
        "latency_error": times.plain.relative_error,
        "cpu_s": times.plain.cpu_median_s,
        "profiled_latency_s": times.profiled.median_s,
        "kernel_sum_s": times.kernel_sum_s,
        "overhead_s": times.overhead_s,
        "cut_cost_s": times.cut_cost_s,
        "coverage": asdict(times.coverage),
    }


def _add(profile: Profile, name: str, seconds: Floats, spread_s: Floats, overhead_s: float, source: str) -> Profile:
    return replace(
        profile,
        seconds={**profile.seconds, name: seconds},
        spread_s={**profile.spread_s, name: spread_s},
        overhead_s={**profile.overhead_s, name: overhead_s},
        sources={**profile.sources, name: source},
    )
