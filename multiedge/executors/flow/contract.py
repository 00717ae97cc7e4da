"""What every way to run a pipeline looks like: a stage, the options of a run, a result, an executor.

A new executor is one class as `Executor` says. Everything else (scenarios, warm-up, the command
line, results files) is written against this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from multiedge.composed import is_void
from multiedge.errors import ConfigError, MultiedgeError, StageError, did_you_mean, one_line, require_least
from multiedge.fleet import Fleet
from multiedge.measurements import Event, Fault, Measurements, Memory, RanStage
from multiedge.plan import Manifest

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]
Source = Iterable[Tensors | MultiedgeError]
"""Items to run; an error stands for one that could not be read, which fails alone."""


@dataclass(frozen=True)
class RunOptions:
    """Options that every executor has; its `options_type` adds its own fields to these.

    Attributes:
        seed: Seed of the arrivals of items.
        warmup_items: How many items are run before the first timed one.

    Raises:
        ConfigError: If `warmup_items` is negative.
    """

    sends_encoded: ClassVar[bool] = False
    """Whether the executor sends tensors in the encoding of their transfer; plans that need it are refused otherwise."""

    seed: int = 0
    warmup_items: int = 2

    def __post_init__(self) -> None:
        require_least("warmup_items", self.warmup_items, 0)

    def as_settings(self) -> dict[str, Any]:
        """The options for the results.

        Returns:
            JSON data by name of the option.
        """
        return asdict(self)


@dataclass(frozen=True)
class Result:
    """The answer to one item. Times are on CLOCK_MONOTONIC.

    Attributes:
        item: Number of the item.
        tensors: Outputs of the model by name, arrays that belong to the caller, without those that a condition of a workflow
            kept from the item; None if the item failed.
        error: Why it failed; '' if it did not.
        issued_s: When it was issued.
        done_s: When it was answered.
        attempts: How often it was sent.
    """

    item: int
    tensors: dict[str, Array] | None
    error: str = ""
    issued_s: float = 0.0
    done_s: float = 0.0
    attempts: int = 1

    def require(self) -> dict[str, Array]:
        """The tensors of an item that must not have failed.

        Returns:
            Outputs of the model by name.

        Raises:
            StageError: If the item failed.
        """
        if self.tensors is None:
            raise StageError(f"item {self.item}: {self.error}", item=self.item)
        return self.tensors


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C during a run.

    Attributes:
        results: What was answered until then; items under way have that as their error.
        measurements: What was recorded until then.
    """

    def __init__(self, results: Sequence[Result], measurements: Measurements) -> None:
        super().__init__("the run was interrupted")
        self.results, self.measurements = list(results), measurements


@dataclass(frozen=True)
class Record:
    """What an executor noted down since the last `mark`. Times are on CLOCK_MONOTONIC."""

    events: tuple[Event, ...] = ()
    faults: tuple[Fault, ...] = ()
    memory: tuple[Memory, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    duplicates_dropped: int = 0
    workers_cpu_s: Mapping[str, float] = field(default_factory=dict)
    """Processor time of each device's worker process on this machine."""
    by_caller: tuple[tuple[int, int], ...] = ()
    """The (source, target) stages of transfers that go by way of the caller; all others go directly."""
    runtimes: tuple[RanStage, ...] = ()
    """What computes each stage on each of its devices, as far as it is known."""


class Executor(Protocol):
    """A running pipeline. Not safe for use from several threads at the same time.

    `submit` takes an item under a number of the caller's choice and waits while the pipeline is full; `poll` gives the
    results that are ready, in the order of submission unless an option says otherwise, and waits up to `timeout_s` for the
    first. Every submitted item is answered exactly once. This machine's power meters measure a device only if it is
    `on_this_machine` and the executor does not slow it down (`slows_down`).

    The constructor takes `(manifest, fleet, options)`, the last one an instance of `options_type`: a frozen dataclass,
    a subclass of RunOptions, with a field for each option that the executor acts on.
    """

    options_type: ClassVar[type[RunOptions]]
    on_this_machine: bool

    @property
    def slows_down(self) -> bool: ...

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

    def wake(self) -> None:
        """Lets `poll` return soon, also without results; may be called from another thread."""
        ...

    @property
    def ended(self) -> str:
        """Why the pipeline has ended for good, so that every item fails; '' while it goes on."""
        ...

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
    slows_down = False
    ended = ""

    def start(self) -> None:
        raise NotImplementedError

    def wake(self) -> None:
        """Nothing to do where `poll` does not wait for long."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def failure(stage: int, device: str, error: Exception) -> str:
    """The line for an item that a stage could not handle."""
    return f"stage {stage} on '{device}' failed: {type(error).__name__}: {one_line(error)}"


def _as_it_is(array: Array) -> Array:
    return array


def answer_of(
    outputs: Iterable[str], made: Mapping[str, Array], copied: Callable[[Array], Array] = _as_it_is
) -> dict[str, Array]:
    """The outputs of the model that were made of an item; one that a condition of a workflow kept from it is absent."""
    return {name: copied(made[name]) for name in outputs if name in made and not _is_absent(made[name])}


def has_nothing(arrays: Iterable[object]) -> bool:
    """Whether there are tensors, and the item has none of them: then nothing is computed for it."""
    given = list(arrays)
    return bool(given) and all(map(_is_absent, given))


def _is_absent(value: object) -> bool:
    return isinstance(value, np.ndarray) and is_void(value)


def require_fallbacks(manifest: Manifest, fleet: Fleet, fallbacks: Mapping[int, tuple[str, ...]]) -> None:
    """ConfigError for a stage that the plan does not have and for a device that the fleet does not have."""
    for stage, names in fallbacks.items():
        if not 0 <= stage < len(manifest.parts):
            raise ConfigError(f"fallbacks: expected a stage from 0 to {len(manifest.parts) - 1}, got {stage}")
        for name in names:
            fleet.device(name)


def require_inputs(manifest: Manifest, item: int, tensors: Tensors) -> dict[str, Array]:
    """The model's inputs as arrays; StageError that names a missing or unknown one."""
    for name in manifest.inputs:
        if name not in tensors:
            raise StageError(f"item {item}: input '{name}' is missing{did_you_mean(name, tensors)}", item=item)
    for name in tensors:
        if name not in manifest.inputs:
            raise StageError(f"item {item}: unknown input '{name}'{did_you_mean(name, manifest.inputs)}", item=item)
    return {name: np.asarray(tensors[name]) for name in manifest.inputs}
