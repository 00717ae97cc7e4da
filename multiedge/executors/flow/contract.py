"""What every way to run a pipeline looks like: a stage, the options of a run, a result, an executor.

A new executor is one class as `Executor` says. Everything else (scenarios, warm-up, the command
line, results files) is written against this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from multiedge.errors import ConfigError, StageError, did_you_mean
from multiedge.fleet import Fleet
from multiedge.measurements import Event, Fault, Memory
from multiedge.plan import Manifest
from multiedge.trace import Trace

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]


class StageRunner(Protocol):
    """One stage, wherever it lives: named tensors in, named tensors out. A session, an actor or a remote server."""

    def run(self, tensors: Tensors) -> dict[str, Array]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Emulation:
    """How far this machine pretends to be the fleet. What was acted on is recorded in the results.

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
class Deadlines:
    """When something counts as failed.

    A stage may take `factor` times its 99th percentile, at least `floor_s`; until one is known, `first_s`. A worker
    that shows no sign of life for `heartbeat_s` hangs. Messages that nobody takes for `link_s` mean that a link is
    down. A model may take `load_s` to load. A device that failed may come back after `cooldown_s`, twice as long after
    each further failure, unless `rejoin` is off.
    """

    factor: float = 10.0
    floor_s: float = 2.0
    first_s: float = 60.0
    heartbeat_s: float = 2.0
    link_s: float = 1.0
    load_s: float = 300.0
    cooldown_s: float = 2.0
    rejoin: bool = True


@dataclass(frozen=True)
class RunOptions:
    """How to run a pipeline; the defaults suit most.

    `depth` is how many items may be under way at once (None: enough to keep every stage busy). `micro_batch` joins up
    to that many waiting items along their first axis, where the model leaves it free. `fallbacks` lists, by stage
    number, devices to use in turn if the stage's own is lost. `replan` is asked for a plan whenever the fleet has changed
    (`multiedge.replanning.replanner.Replanner`); without it the stages stay as they were cut. `session` holds options for the
    backend's `open`.
    """

    depth: int | None = None
    micro_batch: int = 1
    transport: str = "auto"
    seed: int = 0
    warmup_items: int = 2
    record_events: bool = True
    emulation: Emulation = field(default_factory=Emulation)
    deadlines: Deadlines = field(default_factory=Deadlines)
    trace: Trace | None = None
    fallbacks: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    replan: Callable[[Fleet], Manifest] | None = None
    session: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in (("depth", 1), ("micro_batch", 1), ("warmup_items", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}: expected {least} or more, got {value}")

    def with_values(self, **values: Any) -> RunOptions:
        """These options with some changed; ConfigError for an option that does not exist."""
        known = self.__dataclass_fields__
        for name in values:
            if name not in known:
                raise ConfigError(f"unknown option '{name}' of a run{did_you_mean(name, known)}")
        return replace(self, **values)

    def as_settings(self) -> dict[str, Any]:
        """The options as JSON data for the results."""
        settings = {**asdict(replace(self, trace=None, replan=None)), "trace": self.trace.name if self.trace else None}
        settings["replan"] = self.replan is not None
        settings["fallbacks"] = {str(stage): list(names) for stage, names in self.fallbacks.items()}
        return settings


@dataclass(frozen=True)
class Result:
    """The answer to one item: `tensors` by name, or None and an `error`. Times are on CLOCK_MONOTONIC.

    The arrays belong to the caller.
    """

    item: int
    tensors: dict[str, Array] | None
    error: str = ""
    issued_s: float = 0.0
    done_s: float = 0.0
    attempts: int = 1

    def require(self) -> dict[str, Array]:
        """The tensors; StageError if the item failed."""
        if self.tensors is None:
            raise StageError(f"item {self.item}: {self.error}", item=self.item)
        return self.tensors


@dataclass(frozen=True)
class Record:
    """What an executor noted down since the last `mark`. Times are on CLOCK_MONOTONIC."""

    events: tuple[Event, ...] = ()
    faults: tuple[Fault, ...] = ()
    memory: tuple[Memory, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    duplicates_dropped: int = 0


class Executor(Protocol):
    """A running pipeline. Not safe for use from several threads at once.

    `submit` takes an item under a number of the caller's choice and waits while the pipeline is full; `poll` gives the
    results that are ready, in the order of submission, and waits up to `timeout_s` for the first. Every submitted item
    is answered exactly once. Unless its devices are `on_this_machine`, this machine's power meters say nothing of them.
    """

    on_this_machine: bool

    def __init__(self, manifest: Manifest, fleet: Fleet, options: RunOptions) -> None: ...

    def start(self) -> None:
        """Loads every stage. Raises PipelineError that names what could not start; nothing is left running then."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether `submit` would return without waiting."""
        ...

    @property
    def unanswered(self) -> int:
        """Items submitted and not yet handed out by `poll`."""
        ...

    def submit(self, item: int, tensors: Tensors) -> None: ...

    def poll(self, timeout_s: float) -> list[Result]: ...

    def mark(self) -> None:
        """Forgets what was recorded so far, and starts the clock of the trace: the timed window begins here."""
        ...

    def record(self) -> Record: ...

    def close(self) -> None:
        """Ends everything within two seconds and leaves nothing behind. May be called twice."""
        ...


class Closing:
    """`with executor:` starts on entry and closes on the way out."""

    on_this_machine = True

    def start(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def refuse_namespaces(options: RunOptions, executor: str) -> None:
    """ConfigError if the options ask for network namespaces, which this executor has no use for."""
    if options.emulation.namespaces:
        raise ConfigError(
            f"the {executor} executor has no links to put into network namespaces; use 'processes', or leave them off"
        )


def require_inputs(manifest: Manifest, item: int, tensors: Tensors) -> dict[str, Array]:
    """The model's inputs as arrays; StageError that names a missing or unknown one."""
    for name in manifest.inputs:
        if name not in tensors:
            raise StageError(f"item {item}: input '{name}' is missing{did_you_mean(name, tensors)}", item=item)
    for name in tensors:
        if name not in manifest.inputs:
            raise StageError(f"item {item}: unknown input '{name}'{did_you_mean(name, manifest.inputs)}", item=item)
    return {name: np.asarray(tensors[name]) for name in manifest.inputs}
