"""What a runtime is to the rest of the library: a Backend, and the Sessions that it opens.

A backend is a frozen dataclass. Its fields are its options, each with a default; its class attributes declare what it can do.
A new one states its formats and version and opens a file; the rest has defaults:

    @dataclass(frozen=True)
    class MyBackend(Backend):
        formats = (".onnx",)
        fast: bool = True

        @property
        def version(self) -> str:
            return "1.0"

        def open(self, path, device=None):
            return MySession(path, self.fast)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy.typing as npt

from multiedge.backends.timing import Accuracy, Progress, Timing
from multiedge.errors import ModelError
from multiedge.fleet import Device
from multiedge.graph import Graph
from multiedge.profile import Floats, MemoryUse
from multiedge.transports.message import ArraySpec

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]


@dataclass(frozen=True)
class Provider:
    """What computes a session: `name` in the runtime's own words, `processor` as backends declare it ('cpu', 'gpu')."""

    name: str
    processor: str = "cpu"


class Session(Protocol):
    """A loaded stage. `inputs` and `outputs` are tensor names in the model's order."""

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def batch_is_free(self) -> bool:
        """Whether items may be joined along the first axis of every input, and every output split along its first."""
        ...

    @property
    def provider(self) -> Provider:
        """What really computes. Some runtimes fall back to another provider without an error."""
        ...

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Every output by name. Inputs are only read, never kept: they may be views of memory that is used again."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class DirectSession(Session, Protocol):
    """A session that can write outputs where they are needed, such as into the memory of a message, in place of new memory."""

    @property
    def fixed(self) -> Mapping[str, ArraySpec]:
        """dtype and shape of each output that has the same in every run."""
        ...

    def run_into(self, tensors: Tensors, places: Mapping[str, Array]) -> dict[str, Array]:
        """As `run`. Each output of `fixed` that `places` names is written to its array there, which is then the output in what
        comes back; one that cannot be written there comes back as another array."""
        ...


@dataclass(frozen=True)
class Batching:
    """How items are computed together: up to `most` of them, for which the first one waits for up to `wait_s`."""

    most: int = 1
    wait_s: float = 0.0


@runtime_checkable
class ItemsSession(Session, Protocol):
    """A session that takes several items, and itself decides which of them it joins and which need no computation."""

    @property
    def batching(self) -> Batching:
        """How many items it wants."""
        ...

    def computes(self, tensors: Tensors) -> bool:
        """Whether something is computed for an item with these inputs; otherwise `run` only passes on what is there."""
        ...

    def run_items(self, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        """As `run`, for each item. An output that an item does not have is multiedge.composed.VOID; such inputs are allowed."""
        ...


Held = Any
"""A tensor that stays in the runtime, as the runtime has it."""


@runtime_checkable
class HoldingSession(Session, Protocol):
    """A session that can keep tensors in the runtime from one run to the next, without a copy."""

    @property
    def holds_arrays(self) -> bool:
        """Whether a tensor of the runtime is the memory of the array that it was made of, and not a copy."""
        ...

    def held(self, array: Array) -> Held:
        """The tensor in the runtime."""
        ...

    def array(self, held: Held) -> Array:
        """The values of a tensor of the runtime; a view of them where the runtime has that."""
        ...

    def run_held(
        self, tensors: Tensors, held: Mapping[str, Held], kept: Mapping[str, Held | None]
    ) -> tuple[dict[str, Array], dict[str, Held]]:
        """As `run`, with the inputs `held` from the runtime. The outputs that `kept` names stay there: each is written to the
        tensor that it names, which may be one of `held`, or to new memory. Returns the other outputs, and these."""
        ...


@runtime_checkable
class ShapedSession(Session, Protocol):
    """A session that knows the shapes of its tensors."""

    @property
    def shapes(self) -> Mapping[str, tuple[int | str | None, ...]]:
        """The shape of each input and output as the file declares it, with the names of open dimensions."""
        ...


@runtime_checkable
class SequenceSession(Session, Protocol):
    """A session whose items are steps of sequences, of which it keeps the states and what it made at each step."""

    def repeats(self, tensors: Tensors) -> bool:
        """Whether the step was computed before, so that `run` gives what was made then."""
        ...

    @property
    def joins(self) -> bool:
        """Whether it may compute steps of several sequences in one run."""
        ...

    def run_together(self, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        """As `run` for each item; those that can be joined are computed together. Raises what the first that fails raises; what
        the others made is given when they come again."""
        ...


@dataclass(frozen=True)
class Coverage:
    """How nodes got their times: numbers of nodes that were found by name, by an output tensor of a node that ran, as part of
    a fused node, and folded into constants, which take no time. They add up to all nodes. `attributed` is the share of the
    measured time that was assigned to particular nodes; the rest was spread over all of them."""

    by_name: int
    by_tensor: int
    fused: int
    folded: int
    attributed: float = 1.0

    @property
    def total(self) -> int:
        return self.by_name + self.by_tensor + self.fused + self.folded


@dataclass(frozen=True)
class NodeTimes:
    """What each node of a model takes, as measured by its runtime.

    `seconds` and `spread_s` are (n,), the latter half a 95 % confidence interval. `overhead_s` is the call itself:
    `seconds.sum() + overhead_s` is `plain.median_s`, the latency without the runtime's profiler; `profiled` is the latency
    with it and `kernel_sum_s` the sum of the times that it gave. `graph` is the model with the shapes that were seen;
    `fused` are the tensors that exist inside fused nodes only. `blocked_share` is the share of the time in nodes whose
    tensors are laid out in blocks: cutting such a model costs changes of layout.
    """

    graph: Graph
    seconds: Floats = field(repr=False)
    spread_s: Floats = field(repr=False)
    overhead_s: float
    plain: Timing
    profiled: Timing
    kernel_sum_s: float
    coverage: Coverage
    fused: frozenset[str] = frozenset()
    blocked_share: float = 0.0


class NodeTimer(Protocol):
    """The part of a runtime that knows how long single nodes take."""

    def measure(
        self, graph: Graph, path: Path, feed: Tensors, device: Device, accuracy: Accuracy, overhead_s: float, progress: Progress
    ) -> NodeTimes:
        """Times of `graph`'s nodes, whose model is at `path`, when it runs on `feed` with the device's threads.

        `overhead_s` is what a call takes that does nothing. ProfileError or ModelError if the model cannot run here.
        """
        ...

    def read(self, graph: Graph, path: Path) -> Floats:
        """Seconds of each node, (n,), from the profile that the runtime wrote to `path` on another machine.

        ProfileError if the file is no such profile, or is of another model.
        """
        ...


@dataclass(frozen=True)
class Backend(ABC):
    """A runtime and its options. A subclass is a frozen dataclass; its fields, all with defaults, are the options."""

    formats: ClassVar[tuple[str, ...]]
    """Suffixes of the files that it opens, with the dot. Parts of models are '.onnx' files; `convert` writes the first."""
    processors: ClassVar[tuple[str, ...]] = ("cpu",)
    """Where it can compute: 'cpu', 'gpu'."""
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    """Types of numbers that it computes with. One with several has an option `precision`."""
    tolerances: ClassVar[Mapping[str, float]] = {}
    """The largest relative error against the reference backend that passes, for each of `precisions`. What it converts is
    opened only if it has passed the comparison (`multiedge.backends.conversion`). Without tolerances nothing is compared."""
    approximate: ClassVar[tuple[str, ...]] = ()
    """Those of `precisions` whose outputs differ from the reference by more than rounding, such as int8. No error is the right
    one: outputs must have the types and shapes of the reference's and an error below the values themselves, and the agreement
    with the reference is measured and recorded."""
    offline_only: ClassVar[bool] = False
    """Whether `convert` is refused where the system has no processes without a network, since the converter would use it."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The version of the runtime, as its package states it."""

    @property
    def is_set_up(self) -> bool:
        """Whether the runtime is here. One in an environment of its own is not before its first use, although its version is
        known: it is not chosen, and not measured, without being named."""
        return True

    @property
    def numbers(self) -> str:
        """The one of `precisions` that these options choose."""
        return str(asdict(self).get("precision", self.precisions[0]))

    @property
    def selectable(self) -> tuple[str, ...]:
        """Those of `precisions` that options can choose."""
        return self.precisions if "precision" in asdict(self) else (self.numbers,)

    @property
    def is_approximate(self) -> bool:
        """Whether these options choose one of the `approximate` precisions."""
        return self.numbers in self.approximate

    def opens(self, path: Path) -> bool:
        """Whether it opens the file as it is with these options; otherwise it is converted first."""
        return path.suffix in self.formats

    @abstractmethod
    def open(self, path: Path, device: Device | None = None) -> Session:
        """A session on the file, with the threads and the processor of `device`; without one, a single thread of the CPU.

        Raises ModelError for a file that is missing, damaged or of another format.
        """

    def prepare(self) -> None:  # noqa: B027  # most have nothing to prepare
        """Sets up what `convert` needs and takes from a network, such as a converter's own environment; done once, and kept.

        Raises ConfigError or ModelError in one line with the remedy if it cannot be set up.
        """

    def convert(self, source: Path, target: Path) -> None:
        """Writes the model in `source` to `target`, whose suffix is the first of `formats`; files beside it may belong to it.

        Raises ModelError if it cannot be converted.
        """
        raise ModelError(f"{source}: {type(self).__name__} opens {' and '.join(self.formats)} files and converts no others")

    def convert_calibrated(self, source: Path, target: Path, inputs: Sequence[Tensors]) -> None:
        """As `convert`, for a precision that depends on the values that the model sees: those of `inputs`, at least one.

        The default is `convert` itself, for conversions that need no values.
        """
        self.convert(source, target)

    def for_growing(self) -> Backend:
        """The same backend with the settings for a part whose tensors have other sizes in each run; by default these."""
        return self

    def exact(self) -> Backend:
        """The same runtime without optimisations that round differently at a cut: parts then equal the whole to the bit."""
        return self

    def memory_use(self) -> MemoryUse:
        """How a session holds its stage in memory, as the cost model counts it; no runtime is imported for it."""
        return MemoryUse()

    def provider(self, device: Device) -> Provider:
        """What sessions of the device are computed by on this machine."""
        return Provider("CPU")

    def node_timer(self) -> NodeTimer | None:
        """What measures single nodes; None if this runtime cannot, and whole stages are timed."""
        return None
