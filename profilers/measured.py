"""Costs measured on this machine with each device's backend, scaled to each device by what devices.yaml states about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from multiedge.backends.stages import device_backend, resolved_fleet
from multiedge.backends.timing import Accuracy, Progress, silent
from multiedge.errors import ConfigError
from multiedge.fleet import REFERENCE_BACKEND, Device, Fleet
from multiedge.formats.profile import speed_data
from multiedge.graph import Graph
from multiedge.profile import Floats, Profile
from multiedge.quantity import Knowledge
from profilers.engine.calibration import Calibration, calibrate
from profilers.engine.composed import measure_composed
from profilers.engine.cutting import cut_cost_s
from profilers.engine.host import Host, HostTimes, measure_host, runtime_name
from profilers.engine.machine import machine_name
from profilers.engine.macs import Work, count_work
from profilers.engine.roofline import Capability, capability_of, require_speeds, scaled


class MeasuredProfiler:
    """Times the model on this machine once per backend, precision and number of threads in the fleet: single nodes where the
    backend can measure them, otherwise the whole model, whose time is shared among its nodes by their work. Of a workflow each
    model and each function is timed alone.

    `budget_s` is for timing all of them together. A latency counts as known at `relative_error`, which is half a 95 %
    confidence interval over the median. Inputs are random with `seed`.
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
        fleet = resolved_fleet(fleet, graph.path)
        require_speeds(fleet)
        hosts = sorted({Host.of(device) for device in fleet.devices})
        accuracy = replace(self.accuracy, budget_s=self.accuracy.budget_s / len(hosts))
        machine = {host: calibrate(host.threads, host.backend) for host in hosts}
        measured = {host: self._measure(graph, host, machine[host], accuracy) for host in hosts}
        seen = next((times.graph for times in measured.values() if times.nodes), graph)
        work = count_work(seen)
        profile = Profile(
            graph=seen,
            macs=work.macs,
            flops=work.flops,
            uncounted=work.uncounted,
            fused=frozenset[str]().union(*(times.fused for times in measured.values())),
            notes=tuple(dict.fromkeys(note for times in measured.values() for note in times.notes)),
            settings={
                "profiler": "measured",
                "machine": machine_name(),
                "runtime": " and ".join(dict.fromkeys(map(runtime_name, hosts))),
                "seed": self.seed,
                "devices": speed_data(fleet),
                "host": {_key(host): host_settings(times) for host, times in measured.items()},
            },
        )
        for host, times in measured.items():
            profile = _add(
                profile, host.name, times.seconds, times.spread_s, times.stage_overhead_s, "measured", Knowledge.MEASURED
            )
        for device in fleet.devices:
            host = Host.of(device)
            profile = carry_over(profile, device, work, measured[host], machine[host].capability)
        return profile

    def _measure(self, graph: Graph, host: Host, machine: Calibration, accuracy: Accuracy) -> HostTimes:
        if graph.composition:
            return measure_composed(graph, host, machine, accuracy, seed=self.seed, progress=self.progress)
        times = measure_host(graph, host, machine, accuracy, seed=self.seed, progress=self.progress)
        return replace(times, cut_cost_s=cut_cost_s(times, seed=self.seed, progress=self.progress))


def host_name(threads: int, backend: str = REFERENCE_BACKEND) -> str:
    """The name of a device under which a profile keeps what was measured here."""
    return Host(threads, backend).name


def _key(host: Host) -> str:
    """The host's key in a profile's settings."""
    return f"{host.threads} {host.runtime}".rstrip()


def carry_over(profile: Profile, device: Device, work: Work, times: HostTimes, machine: Capability) -> Profile:
    """The profile with the device's times, derived from those of this machine with the same backend and threads."""
    target = capability_of(device, machine)
    factor = machine.flops_per_s / target.flops_per_s
    source = f"measured with {times.host.label}"
    if times.nodes is None:
        source += ", shared among nodes by their work"
    if not target.equals(machine):
        source += f", scaled by {target.source}"
    seconds = scaled(times.seconds, work, machine, target)
    known = Knowledge.MEASURED if target.equals(machine) else Knowledge.DERIVED
    return _add(profile, device.name, seconds, times.spread_s * factor, times.stage_overhead_s * factor, source, known)


def host_settings(times: HostTimes) -> Mapping[str, Any]:
    """What a reader needs to judge the times: repeats, latencies, error, CPU time and, of single nodes, coverage."""
    found = {
        "threads": times.host.threads,
        "backend": times.host.backend,
        "precision": device_backend(times.host.device).numbers,
        "repeats": len(times.latency.wall_s),
        "latency_s": times.latency.median_s,
        "latency_error": times.latency.relative_error,
        "cpu_s": times.latency.cpu_median_s,
        "overhead_s": times.overhead_s,
        "cut_cost_s": times.cut_cost_s,
    }
    if times.nodes is None:
        return found
    return {
        **found,
        "profiled_latency_s": times.nodes.profiled.median_s,
        "kernel_sum_s": times.nodes.kernel_sum_s,
        "coverage": asdict(times.nodes.coverage),
    }


def _add(
    profile: Profile, name: str, seconds: Floats, spread_s: Floats, overhead_s: float, source: str, known: Knowledge
) -> Profile:
    return replace(
        profile,
        seconds={**profile.seconds, name: seconds},
        spread_s={**profile.spread_s, name: spread_s},
        overhead_s={**profile.overhead_s, name: overhead_s},
        sources={**profile.sources, name: source},
        known={**profile.known, name: known},
    )
