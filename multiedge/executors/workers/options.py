"""What a user can set for workers on this machine: emulation, deadlines, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from multiedge.backends.stages import BackendOptions
from multiedge.errors import ConfigError, require_least
from multiedge.executors.flow.contract import RunOptions
from multiedge.executors.flow.stage_clock import StageDeadlines
from multiedge.fleet import Fleet
from multiedge.plan import Manifest
from multiedge.trace import Trace


@dataclass(frozen=True)
class Emulation:
    """How far this machine emulates the fleet. What had an effect is recorded in the results.

    `speed` stretches compute to the device's `speed` by waiting; with `quota` it is held down by the kernel's CPU
    bandwidth control instead, where cgroups are writable. `links` delays messages, `memory` fails a device that
    takes more than it has, `affinity` pins each device to cores of its own while there are enough. With `namespaces` the
    links are real sockets between network namespaces, and the kernel holds them to their bandwidth; as root.
    """

    speed: bool = True
    links: bool = True
    memory: bool = True
    affinity: bool = True
    quota: bool = False
    namespaces: bool = False

    def __post_init__(self) -> None:
        if self.namespaces and not self.links:
            raise ConfigError(
                "namespaces: expected links to be emulated, got links=False; emulate them, or leave namespaces off"
            )

    @classmethod
    def none(cls) -> Emulation:
        """The machine as it is."""
        return cls(speed=False, links=False, memory=False, affinity=False)


@dataclass(frozen=True)
class Deadlines(StageDeadlines):
    """When a stage, a worker, a device or a link counts as failed.

    A worker that shows no sign of life for `heartbeat_s` hangs. Messages that no stage takes for `link_s` mean that a link
    is down. A model may take `load_s` to load. A device that failed may come back after `cooldown_s`, twice as long after
    each further failure, unless `rejoin` is off.
    """

    heartbeat_s: float = 2.0
    link_s: float = 1.0
    load_s: float = 300.0
    cooldown_s: float = 2.0
    rejoin: bool = True


@dataclass(frozen=True)
class ProcessesOptions(RunOptions):
    """Options of the executor `processes`; the defaults suit most runs.

    `depth` is how many items may be under way (None: enough to keep every stage busy). `micro_batch` joins up to that many
    waiting items along their first axis, where the model leaves it free. `transport` is a name of `multiedge.transports`,
    or 'auto'. `seed` also is that of the links' jitter. `record_events` keeps what each stage and link did with each item.
    `trace` is what happens to the fleet meanwhile. `fallbacks` lists, by stage number, devices to use in turn if the
    stage's own is lost. `replan` is called for a new plan whenever the fleet has changed
    (`multiedge.replanning.replanner.Replanner`); without it the stages stay as they were cut. `backends` holds options
    of backends by the backend's name.
    """

    depth: int | None = None
    micro_batch: int = 1
    transport: str = "auto"
    record_events: bool = True
    emulation: Emulation = field(default_factory=Emulation)
    deadlines: Deadlines = field(default_factory=Deadlines)
    trace: Trace | None = None
    fallbacks: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    replan: Callable[[Fleet], Manifest] | None = None
    backends: BackendOptions = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_least("micro_batch", self.micro_batch, 1)
        if self.depth is not None:
            require_least("depth", self.depth, 1)

    def as_settings(self) -> dict[str, Any]:
        settings = {**asdict(replace(self, trace=None, replan=None)), "trace": self.trace.name if self.trace else None}
        settings["replan"] = self.replan is not None
        settings["fallbacks"] = {str(stage): list(names) for stage, names in self.fallbacks.items()}
        return settings
