"""The devices and the links between them.

All values are in SI units or bytes, with the unit in the name. `multiedge.formats.devices` reads a Fleet from devices.yaml.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from functools import cached_property

from multiedge.errors import ConfigError, did_you_mean

REFERENCE_BACKEND = "onnxruntime"
"""The runtime that others are compared with."""

AUTO_BACKEND = "auto"
"""In place of a backend's name: what was measured to be the fastest for a stage, otherwise what suits the hardware."""

PRECISIONS = ("float32", "bfloat16", "float16", "int8", "int4")
"""Types of numbers that a device may be told to compute with."""

CPU = "cpu"
"""The `type` of a device where none is stated."""

CALLER_NAME = "caller"
"""Who sends items and gets results, in place of a device's name."""


DEFAULT_RUNTIME_BYTES = 66 << 20
"""What a worker with onnxruntime takes before it loads weights: measured on Linux, x86-64, with Python 3.11. A devices.yaml
without `runtime_memory` gets this value; `multiedge calibrate` measures it."""

RUNTIME_BYTES = {"litert": 58 << 20, "mnn": 47 << 20, "ncnn": 65 << 20, "openvino": 118 << 20}
"""The same of workers with other runtimes, with the code that models of any size make them load."""

DEFAULT_MEMORY_MARGIN = 0.15
"""A devices.yaml without `memory_margin` gets this value. Of the parts in docs/benchmarks.md, the largest peak is 12 % above
its plan; the rest is for what differs from run to run."""


def default_runtime_bytes(backend: str) -> int:
    """What a worker with this backend takes before it loads weights, where nothing is stated.

    Args:
        backend: Its name.

    Returns:
        Bytes, as measured; those of the reference backend for a runtime that was not measured.
    """
    return RUNTIME_BYTES.get(backend, DEFAULT_RUNTIME_BYTES)


@dataclass(frozen=True)
class Power:
    """Power of a device whose energy is modelled.

    Attributes:
        idle_w: Watts while it waits.
        busy_w: Watts while it computes.
        source: Where the two values come from.
    """

    idle_w: float
    busy_w: float
    source: str = "declared"


@dataclass(frozen=True)
class Device:
    """One computer that can run stages. None means not stated.

    Attributes:
        name: Unique in its fleet.
        type: 'cpu', 'gpu', 'gpu-N' for one of several cards, or any other word.
        memory_bytes: Limit for the stages and the runtime; None is no limit.
        memory_margin: A plan fits if its memory times (1 + memory_margin) is at most `memory_bytes`.
        speed: Relative to the machine that made the profile; 0.5 takes twice the time.
        flops_per_s: Sustained floating-point rate. Profilers that scale with a roofline use it in place of `speed`.
        memory_bytes_per_s: Sustained memory bandwidth, for the roofline.
        freq_hz: Clock rate; used only where neither `speed` nor `flops_per_s` is stated.
        threads: Threads of the runtime.
        bandwidth_bytes_per_s: Of its network interface; a declared Link takes precedence.
        latency_s: Of its network interface; a declared Link takes precedence.
        power: Watts for modelled energy.
        joules_per_byte: Energy to send one byte.
        backend: Name of the runtime of its stages, or AUTO_BACKEND.
        precision: One of PRECISIONS, that its runtime computes with; '' for the runtime's own default.
        runtime_bytes: What the worker and its runtime use of `memory_bytes` before any model is loaded.
        battery_j: Energy that is left.
    """

    name: str
    type: str = CPU
    memory_bytes: int | None = None
    memory_margin: float = 0.0
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
    precision: str = ""
    runtime_bytes: int = 0
    battery_j: float | None = None

    @cached_property
    def plannable_bytes(self) -> int | None:
        """The most that a plan may take on it, the runtime included: `memory_bytes` less the margin; None without a limit."""
        return None if self.memory_bytes is None else int(self.memory_bytes // self._reserve)

    @property
    def available_bytes(self) -> float:
        """The most that the stages of a plan may take: without the runtime; inf without a limit."""
        return math.inf if self.plannable_bytes is None else self.plannable_bytes - self.runtime_bytes

    def memory_for(self, planned_bytes: int) -> int:
        """The least `memory_bytes` with which a plan fits.

        Args:
            planned_bytes: What the plan takes on the device, the runtime included.

        Returns:
            Bytes, with the margin.
        """
        return math.ceil(int(planned_bytes) * self._reserve)

    @cached_property
    def _reserve(self) -> Fraction:
        """Memory over the largest plan that fits: exact, so that `memory_for` and `plannable_bytes` are inverse."""
        return 1 + Fraction(str(self.memory_margin))

    def with_memory_of(self, available_bytes: float) -> Device:
        """This device with another amount of memory for stages.

        Args:
            available_bytes: The memory for stages; inf removes the limit.

        Returns:
            A new Device.
        """
        limited = math.isfinite(available_bytes)
        return replace(self, memory_bytes=self.memory_for(int(available_bytes) + self.runtime_bytes) if limited else None)

    @property
    def gpu(self) -> int | None:
        """The card on which it computes: 0 for type 'gpu', N for 'gpu-N', None for other types."""
        kind, _, number = self.type.partition("-")
        if kind != "gpu" or (number and not number.isdecimal()):
            return None
        return int(number or 0)


class Encoding(str, Enum):
    """How tensors are sent over a link: as they are, float32 rounded to float16, or compressed."""

    NONE = ""
    FLOAT16 = "float16"
    ZSTD = "zstd"

    @property
    def sent_share(self) -> float:
        """Bytes on the link for each byte of float32; 1 for zstd, whose ratio is not known before."""
        return 0.5 if self is Encoding.FLOAT16 else 1.0


@dataclass(frozen=True)
class Link:
    """The connection from one device to another.

    Attributes:
        bandwidth_bytes_per_s: inf is no limit.
        latency_s: Delay of each message.
        jitter_s: Variation of the delay.
        loss: Share of messages that are lost and sent again.
        encoding: How tensors are sent.
    """

    bandwidth_bytes_per_s: float = math.inf
    latency_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    encoding: Encoding = Encoding.NONE

    @property
    def tensor_bytes_per_s(self) -> float:
        """Bytes of tensors, as they are before they are encoded, that arrive per second."""
        return self.bandwidth_bytes_per_s * (1.0 - self.loss) / self.encoding.sent_share

    def transfer_s(self, nbytes: float) -> float:
        """The time from sending a message to its arrival.

        Args:
            nbytes: Size of the tensors in the message, before they are encoded.

        Returns:
            Seconds, latency included.
        """
        return self.latency_s + self.occupancy_s(nbytes)

    def occupancy_s(self, nbytes: float) -> float:
        """The time for which a message occupies the link, including messages that are sent again.

        Args:
            nbytes: Size of the tensors in the message, before they are encoded.

        Returns:
            Seconds without latency, since other messages can use the link in the meantime.
        """
        return nbytes * self.encoding.sent_share / self.bandwidth_bytes_per_s / (1.0 - self.loss)


@dataclass(frozen=True)
class PartitionPoint:
    """One part that is cut by hand, with the field names of Ianvs.

    Attributes:
        input_names: Tensors that enter the part.
        output_names: Tensors that leave it.
        device_name: The device that runs it.
    """

    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    device_name: str


@dataclass(frozen=True)
class Fleet:
    """Devices and links.

    Attributes:
        devices: At least one, in the order of the file; names are unique.
        links: By (from, to) device names. A link that is declared in one direction is used for both, unless the other
            direction is declared, too.
        partition_points: Parts that are cut by hand, for the strategy 'manual'.
        name: For tables and errors.
        source: The device where items start and results return; None if their transfer costs nothing.

    Raises:
        ConfigError: If there is no device, a name is not unique or is 'caller', or a link or `source` names an unknown device.
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
        if CALLER_NAME in self.by_name:
            raise ConfigError(
                f"{self.name}: expected another name for device '{CALLER_NAME}': this one stands for the program that"
                " sends items"
            )
        for name in {name for pair in self.links for name in pair} | ({self.source} if self.source else set()):
            self.device(name)

    @cached_property
    def by_name(self) -> dict[str, Device]:
        """The devices by name."""
        return {device.name: device for device in self.devices}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the devices, in order."""
        return tuple(device.name for device in self.devices)

    def device(self, name: str) -> Device:
        """The device of this name.

        Args:
            name: Name of a device.

        Returns:
            The Device.

        Raises:
            ConfigError: If there is none; it suggests a similar name.
        """
        if name not in self.by_name:
            raise ConfigError(f"device '{name}' is not in {self.name}{did_you_mean(name, self.by_name)}")
        return self.by_name[name]

    def link(self, source: str, target: str) -> Link:
        """The connection between two devices.

        Args:
            source: Name of the sending device.
            target: Name of the receiving device.

        Returns:
            The declared link, otherwise the slower of the two interfaces with both latencies added. Within one device it
            costs nothing.

        Raises:
            ConfigError: If there is no such device.
        """
        if source == target:
            return Link()
        for pair in ((source, target), (target, source)):
            if pair in self.links:
                return self.links[pair]
        a, b = self.device(source), self.device(target)
        return Link(min(a.bandwidth_bytes_per_s, b.bandwidth_bytes_per_s), a.latency_s + b.latency_s)

    def least_memory_bytes(self, names: Iterable[str]) -> int | None:
        """The smallest memory of some devices.

        Args:
            names: Names of devices.

        Returns:
            Bytes; None if none of the devices has a limit.
        """
        limits = [self.device(name).memory_bytes for name in names]
        return min((limit for limit in limits if limit is not None), default=None)

    def with_memory_cap(self, nbytes: int) -> Fleet:
        """This fleet with a limit for the memory of every device.

        Args:
            nbytes: The limit; a smaller limit of a device stays.

        Returns:
            A new Fleet.
        """
        limits = [nbytes if device.memory_bytes is None else min(device.memory_bytes, nbytes) for device in self.devices]
        devices = (replace(device, memory_bytes=limit) for device, limit in zip(self.devices, limits, strict=True))
        return replace(self, devices=tuple(devices))

    def without(self, *names: str) -> Fleet:
        """This fleet without some devices and their links.

        Args:
            *names: Names of devices.

        Returns:
            A new Fleet.
        """
        keep = tuple(device for device in self.devices if device.name not in names)
        links = {pair: link for pair, link in self.links.items() if not set(pair) & set(names)}
        return replace(self, devices=keep, links=links)

    def with_link(self, source: str, target: str, link: Link) -> Fleet:
        """This fleet with another link between two devices, in both directions.

        Args:
            source: Name of one device.
            target: Name of the other device.
            link: The new link.

        Returns:
            A new Fleet.
        """
        links = {pair: old for pair, old in self.links.items() if set(pair) != {source, target}}
        return replace(self, links={**links, (source, target): link})
