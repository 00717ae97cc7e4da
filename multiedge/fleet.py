"""The devices at hand and the links between them.

All values are SI or bytes with the unit in the name. `multiedge.formats.devices` reads a Fleet from devices.yaml.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from multiedge.errors import ConfigError, did_you_mean

REFERENCE_BACKEND = "onnxruntime"
"""The runtime of devices that name no other one, and the one that others are compared with."""


@dataclass(frozen=True)
class Power:
    """Watts of a modelled device; `source` says where the figures come from."""

    idle_w: float
    busy_w: float
    source: str = "declared"


@dataclass(frozen=True)
class Device:
    """One computer that can hold a stage.

    `speed` is relative to the machine that made the profile (0.5: takes twice the time). `flops_per_s` and
    `memory_bytes_per_s` are absolute capabilities and, if given, used in place of `speed` by profilers that scale
    with a roofline. `bandwidth_bytes_per_s` and `latency_s` describe its network interface; a declared Link between a
    pair takes precedence. `joules_per_byte` is the energy to send one byte. `runtime_bytes` is what the runtime takes of
    `memory_bytes` before any model is loaded. None means not stated; a memory that is not stated has no limit.
    """

    name: str
    type: str = "cpu"
    memory_bytes: int | None = None
    speed: float | None = None
    flops_per_s: float | None = None
    memory_bytes_per_s: float | None = None
    freq_hz: float | None = None
    threads: int = 1
    bandwidth_bytes_per_s: float = math.inf
    latency_s: float = 0.0
    power: Power | None = None
    joules_per_byte: float = 0.0
    backend: str = REFERENCE_BACKEND
    runtime_bytes: int = 0
    battery_j: float | None = None

    @property
    def available_bytes(self) -> float:
        """What the runtime leaves of the memory for stages; inf without a limit."""
        return math.inf if self.memory_bytes is None else self.memory_bytes - self.runtime_bytes

    def with_memory_of(self, available_bytes: float) -> Device:
        """The device with so much memory for stages; inf lifts the limit."""
        limited = math.isfinite(available_bytes)
        return replace(self, memory_bytes=int(available_bytes) + self.runtime_bytes if limited else None)

    @property
    def gpu(self) -> int | None:
        """The card on which it computes: 0 for type 'gpu', N for 'gpu-N', None for other types."""
        kind, _, number = self.type.partition("-")
        if kind != "gpu" or (number and not number.isdecimal()):
            return None
        return int(number or 0)


@dataclass(frozen=True)
class Link:
    """A way from one device to another. `loss` is the share of messages lost (and sent again)."""

    bandwidth_bytes_per_s: float = math.inf
    latency_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0

    def transfer_s(self, nbytes: float) -> float:
        """Seconds until `nbytes` sent in one message have arrived."""
        return self.latency_s + self.occupancy_s(nbytes)

    def occupancy_s(self, nbytes: float) -> float:
        """Seconds that `nbytes` keep the link busy, lost messages sent again; latency does not keep others from using it."""
        return nbytes / self.bandwidth_bytes_per_s / (1.0 - self.loss)


@dataclass(frozen=True)
class PartitionPoint:
    """One hand-written part, in Ianvs's words: the tensors that enter it, those that leave it, and its device."""

    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    device_name: str


@dataclass(frozen=True)
class Fleet:
    """Devices in the order they were declared, links by (from, to) device names, and optional hand-written parts.

    A link declared one way holds for both ways unless the other way is declared too.
    """

    devices: tuple[Device, ...]
    links: Mapping[tuple[str, str], Link] = field(default_factory=dict)
    partition_points: tuple[PartitionPoint, ...] = ()
    name: str = "fleet"
    source: str | None = None

    def __post_init__(self) -> None:
        if not self.devices:
            raise ConfigError(f"{self.name}: expected at least one device, got none")
        if len(self.by_name) != len(self.devices):
            names = [device.name for device in self.devices]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ConfigError(f"{self.name}: device names must be unique, got {', '.join(twice)} more than once")
        for name in {name for pair in self.links for name in pair} | ({self.source} if self.source else set()):
            self.device(name)

    @cached_property
    def by_name(self) -> dict[str, Device]:
        return {device.name: device for device in self.devices}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(device.name for device in self.devices)

    def device(self, name: str) -> Device:
        """The device of that name; ConfigError if there is none."""
        if name not in self.by_name:
            raise ConfigError(f"device '{name}' is not in {self.name}{did_you_mean(name, self.by_name)}")
        return self.by_name[name]

    def link(self, source: str, target: str) -> Link:
        """How data goes from `source` to `target`: the declared link, else the slower of the two interfaces with
        both latencies added. Within one device it costs nothing."""
        if source == target:
            return Link()
        for pair in ((source, target), (target, source)):
            if pair in self.links:
                return self.links[pair]
        a, b = self.device(source), self.device(target)
        return Link(min(a.bandwidth_bytes_per_s, b.bandwidth_bytes_per_s), a.latency_s + b.latency_s)

    def least_memory_bytes(self, names: Iterable[str]) -> int | None:
        """The smallest memory of the devices of these names; None if none of them has a limit."""
        limits = [self.device(name).memory_bytes for name in names]
        return min((limit for limit in limits if limit is not None), default=None)

    def with_memory_cap(self, nbytes: int) -> Fleet:
        """The fleet with at most `nbytes` of memory on every device."""
        limits = [nbytes if device.memory_bytes is None else min(device.memory_bytes, nbytes) for device in self.devices]
        devices = (replace(device, memory_bytes=limit) for device, limit in zip(self.devices, limits, strict=True))
        return replace(self, devices=tuple(devices))

    def without(self, *names: str) -> Fleet:
        """The fleet after these devices have left."""
        keep = tuple(device for device in self.devices if device.name not in names)
        links = {pair: link for pair, link in self.links.items() if not set(pair) & set(names)}
        return replace(self, devices=keep, links=links)

    def with_link(self, source: str, target: str, link: Link) -> Fleet:
        """The fleet with the link between two devices changed, both ways."""
        links = {pair: old for pair, old in self.links.items() if set(pair) != {source, target}}
        return replace(self, links={**links, (source, target): link})
