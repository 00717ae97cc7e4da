"""What a user can set for workers: deadlines, emulation where they are on this machine, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from multiedge.backends.stages import BackendOptions
from multiedge.errors import ConfigError, describe, require_least
from multiedge.executors.flow.contract import RunOptions
from multiedge.executors.flow.stage_clock import StageDeadlines
from multiedge.fleet import Fleet
from multiedge.network.identity import Identity
from multiedge.plan import Manifest
from multiedge.trace import Trace


@dataclass(frozen=True)
class Emulation:
    """What this machine emulates of the fleet. What had an effect is recorded in the results.

    Attributes:
        speed: Stages wait, so that they take as long as with the device's `speed`.
        links: Messages are delayed by bandwidth, latency, jitter and loss.
        memory: A device that uses more than its memory fails.
        affinity: Each device has its own cores, if there are enough.
        quota: `speed` is emulated by the kernel's CPU bandwidth control instead of waiting, where cgroups are writable.
        namespaces: Links are sockets between network namespaces, and the kernel limits their bandwidth; needs root.

    Raises:
        ConfigError: If `namespaces` is set without `links`.
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
        """No emulation.

        Returns:
            An Emulation with nothing switched on.
        """
        return cls(speed=False, links=False, memory=False, affinity=False)


@dataclass(frozen=True)
class Deadlines(StageDeadlines):
    """When a stage, a worker, a device or a link counts as failed.

    Attributes:
        heartbeat_s: A worker without a heartbeat and without progress on the processor for so long hangs.
        inactive_s: The same for one that is stopped, or that sleeps although it neither computes nor loads a stage: it does not
            wait for a processor, as it might on a busy host. Known on Linux.
        link_s: A link is down if its messages wait for so long while their receiver is idle.
        load_s: How long a model may take to load.
        start_s: How long a worker that is started during the run and does not progress on the processor may take until its
            first heartbeat; 60 s at the start of the run, if that is longer.
        cooldown_s: When a device that failed may return; twice as long after each further failure, until it answers an item. A
            device without which nothing runs waits no longer than this.
        give_up_s: How long the run tries to get a device that holds its stages while it has none; then the items left fail.
        rejoin: Whether a device that failed may return at all.
    """

    heartbeat_s: float = 2.0
    inactive_s: float = 0.5
    link_s: float = 1.0
    load_s: float = 300.0
    start_s: float = 10.0
    cooldown_s: float = 2.0
    give_up_s: float = 60.0
    rejoin: bool = True


@dataclass(frozen=True)
class WorkersOptions(RunOptions):
    """Options of executors that have one worker per device.

    Attributes:
        depth: How many items may be in the pipeline at the same time; None: enough to keep every stage busy.
        in_order: Whether results come in the order of submission. Otherwise a late item delays no others.
        micro_batch: How many waiting items are joined along their first axis, if the model allows it.
        record_events: Whether each action of a stage or link is recorded.
        deadlines: When a stage, a worker, a device or a link counts as failed.
        trace: Events that change the fleet during the run.
        fallbacks: By stage number, the devices to use, in this order, if the stage's own is lost.
        replan: Called for a new plan when the fleet has changed, such as `multiedge.replanning.replanner.Replanner`;
            without it the cut of the model does not change.
        backends: Options of backends, by name of the backend.
        otel: Whether each item, and each stage and transfer of it, becomes a span of OpenTelemetry (extra 'otel').

    Raises:
        ConfigError: If `depth`, `micro_batch` or `warmup_items` is too small.
    """

    sends_encoded: ClassVar[bool] = True
    depth: int | None = None
    in_order: bool = True
    micro_batch: int = 1
    record_events: bool = True
    deadlines: Deadlines = field(default_factory=Deadlines)
    trace: Trace | None = None
    fallbacks: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    replan: Callable[[Fleet], Manifest] | None = None
    backends: BackendOptions = field(default_factory=dict)
    otel: bool = False

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


@dataclass(frozen=True)
class ProcessesOptions(WorkersOptions):
    """Options of the executor `processes`; its `seed` is also that of the links' jitter.

    Attributes:
        transport: A name of `multiedge.transports`, or 'auto'.
        emulation: What is emulated of the fleet.
        identities: The certificate of each device's worker, and the caller's, by name: messages then go over TLS, as they do
            between nodes. Without them, the transport 'tls' is refused.
        registered_functions: Whether transforms of workflows call only functions that installed packages register: for plans
            that come from elsewhere.

    Raises:
        ConfigError: If an identity is none.
    """

    transport: str = "auto"
    emulation: Emulation = field(default_factory=Emulation)
    identities: Mapping[str, Identity] = field(default_factory=dict)
    registered_functions: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, identity in self.identities.items():
            if not isinstance(identity, Identity):
                raise ConfigError(f"identities: {name}: expected an Identity of Python, got {describe(identity)}")

    def as_settings(self) -> dict[str, Any]:
        return {**super().as_settings(), "identities": bool(self.identities)}
