"""What a node tells of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from multiedge import __version__
from multiedge.backends import BACKENDS
from multiedge.backends.automatic import installed_version
from multiedge.network.records import HeldStage, LinkState, NodeState
from multiedge.serving.node.limits import Limits
from multiedge.serving.node.speed import Speed


@dataclass(frozen=True)
class Machine:
    """What is read of the machine at one moment; None is not known."""

    free_bytes: int
    load: float | None
    battery: float | None

    @classmethod
    def read(cls, limits: Limits, taken_bytes: int = 0) -> Machine:
        """The machine now: `free_bytes` within the limits, of which workers take `taken_bytes`; `load` since the last time."""
        free_bytes = min(int(psutil.virtual_memory().available), limits.memory_bytes - taken_bytes)
        return cls(max(0, free_bytes), psutil.cpu_percent(interval=None) / 100, battery())


@dataclass(frozen=True)
class Description:
    """What of a node does not change while it runs."""

    name: str
    address: str
    limits: Limits
    started_s: float
    backends: tuple[str, ...]

    def state(
        self, machine: Machine, speed: Speed | None, stages: Sequence[HeldStage] = (), links: Sequence[LinkState] = ()
    ) -> NodeState:
        """The node as it describes itself now. `speed` is that of all its threads for all of their time."""
        share = self.limits.cpu_share
        return NodeState(
            name=self.name,
            address=self.address,
            memory_bytes=self.limits.memory_bytes,
            free_bytes=machine.free_bytes,
            threads=self.limits.threads,
            cpu_share=share,
            load=machine.load,
            battery=machine.battery,
            backends=self.backends,
            flops_per_s=speed.flops_per_s * share if speed else None,
            memory_bytes_per_s=speed.memory_bytes_per_s * share if speed else None,
            stages=tuple(stages),
            links=tuple(links),
            version=__version__,
            started_s=self.started_s,
        )


def battery() -> float | None:
    """Share of the charge; None without a battery, or where the system does not tell."""
    read = getattr(psutil, "sensors_battery", None)  # not on every system
    try:
        sensor = read() if read else None
    except (OSError, RuntimeError):
        return None
    return sensor.percent / 100 if sensor else None


def installed_backends() -> tuple[str, ...]:
    """Names of the backends whose runtime is installed."""
    return tuple(name for name in BACKENDS.names() if installed_version(name))
