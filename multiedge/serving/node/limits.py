"""What a node may take of its machine."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from multiedge.errors import ConfigError
from multiedge.executors.workers.messages import Hello
from multiedge.fleet import Device
from multiedge.meters.cpu import own_processors

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Limits:
    """What all workers of a node may take.

    Attributes:
        memory_bytes: Memory.
        threads: Threads of a worker.
        cpu_share: Share of their time: a worker waits after it has computed.
    """

    memory_bytes: int
    threads: int
    cpu_share: float = 1.0

    @classmethod
    def of(cls, memory_bytes: int | None, threads: int | None, cpu_share: float) -> Limits:
        """These limits; None is all that the machine has. ConfigError for more than that."""
        memory, processors = machine_memory_bytes(), len(own_processors())
        if memory_bytes is not None and not 0 < memory_bytes <= memory:
            raise ConfigError(f"--memory: expected more than 0 and at most {memory >> 20}MiB, which this machine has")
        if threads is not None and not 1 <= threads <= processors:
            raise ConfigError(f"--threads: expected 1 to {processors} (processors of this machine), got {threads}")
        if not 0 < cpu_share <= 1:
            raise ConfigError(f"--cpu-share: expected more than 0 and at most 1, got {cpu_share:g}")
        return cls(memory_bytes or memory, threads or processors, cpu_share)

    def applied(self, hello: Hello) -> Hello:
        """What a worker is told, within these limits."""
        memory_bytes = (
            self.memory_bytes if hello.memory_limit_bytes is None else min(self.memory_bytes, hello.memory_limit_bytes)
        )
        speed = min(hello.speed, self.cpu_share)
        return replace(hello, device=self.device(hello.device), speed=speed, memory_limit_bytes=memory_bytes)

    def device(self, device: Device) -> Device:
        """The device with no more memory and threads than these."""
        memory_bytes = self.memory_bytes if device.memory_bytes is None else min(self.memory_bytes, device.memory_bytes)
        return replace(device, memory_bytes=memory_bytes, threads=min(self.threads, device.threads))


def machine_memory_bytes(limit: Path = CGROUP_LIMIT) -> int:
    """Memory of this machine, or of the container in which this process is."""
    total = int(psutil.virtual_memory().total)
    try:
        text = limit.read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(text)) if text.isdecimal() else total


def children_bytes() -> int:
    """What the processes that this one started take now. It looks at every process of the machine, which takes milliseconds."""
    taken = 0
    for child in psutil.Process(os.getpid()).children(recursive=True):
        try:
            taken += int(child.memory_info().rss)
        except psutil.Error:
            continue  # it has ended meanwhile
    return taken
