"""From what a device declares to seconds for each node: the roofline model.

A node takes as long as its arithmetic or its memory traffic, whichever is longer, and the runtime's own time per node:

    seconds(v) = max( flops(v) / flops_per_s, moved_bytes(v) / memory_bytes_per_s ) + node_overhead_s

after S. Williams, A. Waterman, D. Patterson: Roofline (CACM 52(4), 2009).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from multiedge.errors import ProfileError
from multiedge.fleet import Device, Fleet
from multiedge.profile import Floats
from profilers.engine.macs import Work


@dataclass(frozen=True)
class Capability:
    """What a device or machine sustains. `source` is how it is known, for people."""

    flops_per_s: float
    memory_bytes_per_s: float
    node_overhead_s: float
    freq_hz: float
    source: str

    def node_seconds(self, work: Work) -> Floats:
        """Seconds of each node, (n,), by the equation at the top of this module."""
        seconds = np.maximum(work.flops / self.flops_per_s, work.moved_bytes / self.memory_bytes_per_s) + self.node_overhead_s
        return np.asarray(seconds, dtype=np.float64)

    @property
    def summary(self) -> str:
        """The source and the figures in one line."""
        rates = f"{self.flops_per_s / 1e9:.4g} GFLOP/s, {self.memory_bytes_per_s / 1e9:.3g} GB/s"
        return f"{self.source}: {rates}, {self.node_overhead_s * 1e6:.2g} us per node"

    def equals(self, other: Capability) -> bool:
        """Whether both sustain the same, wherever that is known from."""
        return replace(self, source="") == replace(other, source="")

    def times(self, ratio: float) -> Capability:
        """A machine that does everything `ratio` times as fast."""
        return Capability(
            self.flops_per_s * ratio,
            self.memory_bytes_per_s * ratio,
            self.node_overhead_s / ratio,
            self.freq_hz * ratio,
            self.source,
        )


REFERENCE = Capability(60e9, 10e9, 1e-6, 2.5e9, "declared, one thread of a 2.5 GHz server core")
"""What `speed: 1` stands for where this machine is not calibrated: round figures of one thread of a cloud server's core."""


MIXED = 0.2
"""Relative difference from which `flops` and `speed` of one device contradict each other."""


def has_speed(device: Device) -> bool:
    """Whether the device states anything that its times can be derived from."""
    return any(value is not None for value in (device.flops_per_s, device.speed, device.freq_hz))


def require_speeds(fleet: Fleet) -> None:
    """Raises ProfileError if some devices state how fast they are and others do not.

    If none does, all count as equal: then no device is taken for faster than another by mistake.
    """
    silent = [device.name for device in fleet.devices if not has_speed(device)]
    if silent and len(silent) < len(fleet.devices):
        raise ProfileError(
            f"{fleet.name}: device '{silent[0]}' states no speed, flops or freq, but others do; state one of them,"
            " or profile the model on that device and merge the two profiles"
        )


def speed_notes(fleet: Fleet, base: Capability) -> tuple[str, ...]:
    """One line if some devices state `flops` and others only `speed`: what a speed of 1 is taken for, and which device differs.

    `base` is what one thread sustains at speed 1.
    """
    with_flops = [device for device in fleet.devices if device.flops_per_s is not None]
    only_speed = [device.name for device in fleet.devices if device.flops_per_s is None and device.speed is not None]
    both = [device for device in with_flops if device.speed is not None]
    implied = [device.flops_per_s / (device.speed * device.threads) for device in both if device.flops_per_s and device.speed]
    differing = [number for number, each in enumerate(implied) if not math.isclose(each, base.flops_per_s, rel_tol=MIXED)]
    taken = f"speed 1 is taken as {base.flops_per_s / 1e9:.4g} GFLOP/s"
    if differing:
        device = both[differing[0]]
        stated = implied[differing[0]] / 1e9
        return (f"{fleet.name}: {taken}, but device '{device.name}' states flops and a speed with {stated:.4g}; state one",)
    if only_speed and with_flops and not both:
        names = f"{with_flops[0].name} states flops, {only_speed[0]} speed"
        return (f"{fleet.name}: {names}; {taken}; state the same for all devices",)
    return ()


def capability_of(device: Device, base: Capability) -> Capability:
    """What the device sustains, relative to `base`, the machine that times are known of (with the device's threads).

    The first of `flops`, `speed` and `freq` that is stated decides; without any it equals `base`.
    A stated memory bandwidth replaces the one that would follow.
    """
    ratio, stated = 1.0, []
    if device.flops_per_s is not None:
        ratio, stated = device.flops_per_s / base.flops_per_s, [f"flops {device.flops_per_s / 1e9:.4g} GFLOP/s"]
    elif device.speed is not None:
        ratio, stated = device.speed, [f"speed {device.speed:g}"]
    elif device.freq_hz is not None:
        ratio, stated = device.freq_hz / base.freq_hz, [f"freq {device.freq_hz / 1e9:.3g} GHz"]
    able = base.times(ratio)
    if device.memory_bytes_per_s is not None:
        stated.append(f"memory {device.memory_bytes_per_s / 1e9:.4g} GB/s")
        able = replace(able, memory_bytes_per_s=device.memory_bytes_per_s)
    return replace(able, source=", ".join(stated) or "no stated speed, taken as equal")


def with_threads(base: Capability, threads: int) -> Capability:
    """`base`, which is one thread, with several: their number multiplies arithmetic, but not memory traffic and overhead."""
    if threads == 1:
        return base
    source = f"{base.source} x {threads}"
    return Capability(base.flops_per_s * threads, base.memory_bytes_per_s, base.node_overhead_s, base.freq_hz, source)


def scaled(seconds: Floats, work: Work, base: Capability, target: Capability) -> Floats:
    """Times, (n,), known on `base` carried over to `target`: each node by the ratio of its rooflines.

    Where the target does everything as much faster, that ratio is the same for every node; otherwise it differs between
    nodes that compute and nodes that move data.
    """
    if math.isclose(target.flops_per_s * base.memory_bytes_per_s, target.memory_bytes_per_s * base.flops_per_s):
        return seconds * (base.flops_per_s / target.flops_per_s)
    return seconds * target.node_seconds(work) / base.node_seconds(work)
