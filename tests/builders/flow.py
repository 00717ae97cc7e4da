"""What stands in for processes, transports and clocks in unit tests of pipelines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from multiedge.backends.contract import Provider
from multiedge.executors.flow.routes import Routes
from multiedge.plan import CALLER, Manifest, Part, Transfer
from multiedge.transports.message import Address, ArraySpec, Message

Tensors = Mapping[str, np.ndarray]


@dataclass
class FakeClock:
    """A clock that a test sets."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class FakeEndpoint:
    """Hands out what a test puts into `inbox`, and keeps what was sent. Waiting moves `clock` on."""

    clock: FakeClock = field(default_factory=FakeClock)
    inbox: list[Message] = field(default_factory=list)
    sent: list[tuple[str, Message]] = field(default_factory=list)
    released: list[Address] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    has_memory: bool = True
    reserved: dict[Address, tuple[np.ndarray, ...]] = field(default_factory=dict)

    def reserve(self, address: Address, source: str, specs: Sequence[ArraySpec]) -> tuple[np.ndarray, ...] | None:
        if not self.has_memory:
            return None
        places = self.reserved[address] = tuple(np.empty(spec.shape, spec.dtype) for spec in specs)
        return places

    def send(self, peer: str, message: Message) -> None:
        self.sent.append((peer, message))

    def receive(self, timeout_s: float) -> list[Message]:
        arrived, self.inbox = self.inbox, []
        if not arrived:
            self.clock.now_s += max(0.0, timeout_s)
        return arrived

    def release(self, address: Address) -> None:
        self.released.append(address)

    def wake(self) -> None:
        pass

    def forget(self, before_epoch: int) -> None:
        self.forgotten.append(before_epoch)

    def close(self) -> None:
        pass


@dataclass
class FakeMonitor:
    """What a stage loop has shown of itself."""

    sent: Counter[int] = field(default_factory=Counter)
    taken: Counter[int] = field(default_factory=Counter)
    busy: tuple[int, int, float] | None = None
    was_busy: list[tuple[int, int]] = field(default_factory=list)

    def begin_epoch(self, transfers: int) -> None:
        self.sent.clear()
        self.taken.clear()

    def count_taken(self, transfer: int) -> None:
        self.taken[transfer] += 1

    def count_sent(self, transfer: int) -> None:
        self.sent[transfer] += 1

    def show_busy(self, stage: int, sequences: Sequence[int], since_s: float) -> None:
        self.busy = (stage, sequences[0], since_s)
        self.was_busy.append((stage, *sequences))

    def show_computed(self) -> None:
        pass

    def show_idle(self) -> None:
        self.busy = None


@dataclass
class FakePace:
    """Full speed; counts how often it stretched."""

    clock: FakeClock
    stretched: int = 0

    def begin(self) -> float:
        return self.clock()

    def stretch(self) -> None:
        self.stretched += 1


@dataclass
class FakeSession:
    """A stage that answers with what `compute` makes of its inputs."""

    compute: Callable[[Tensors], dict[str, np.ndarray]]
    inputs: tuple[str, ...] = ("x",)
    outputs: tuple[str, ...] = ("y",)
    batch_is_free: bool = False
    provider: Provider = Provider("fake")  # noqa: RUF009
    closed: bool = False

    def run(self, tensors: Tensors) -> dict[str, np.ndarray]:
        return self.compute(tensors)

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeDirectSession(FakeSession):
    """A stage that writes the outputs of `fixed` where they are wanted."""

    fixed: Mapping[str, ArraySpec] = field(default_factory=dict)
    places: list[Tensors] = field(default_factory=list)

    def run_into(self, tensors: Tensors, places: Tensors) -> dict[str, np.ndarray]:
        self.places.append(places)
        outputs = self.compute(tensors)
        for name, place in places.items():
            place[...] = outputs[name]
        return {**outputs, **places}


def part(stage: int, device: str, replicas: tuple[str, ...] = ()) -> Part:
    return Part(stage, f"stage_{stage}.json", device, (f"t{stage}",), (f"t{stage + 1}",), {}, replicas)


def chain_manifest(*devices: str | tuple[str, ...], directory: str = "plan") -> Manifest:
    """A plan of one stage per device, or per group of devices that take turns, each of which feeds the next."""
    groups = [(each,) if isinstance(each, str) else each for each in devices]
    parts = tuple(part(stage, first, tuple(others)) for stage, (first, *others) in enumerate(groups))
    ends = [CALLER, *range(len(parts)), CALLER]
    moves = tuple(Transfer(a, b, (f"t{number}",), 16) for number, (a, b) in enumerate(pairwise(ends)))
    return Manifest("chain", "", ("t0",), (f"t{len(parts)}",), parts, moves, "none", directory)


def chain_routes(*devices: str | tuple[str, ...]) -> Routes:
    return Routes.of(chain_manifest(*devices))


def vector(value: float) -> np.ndarray:
    return np.full(4, value, dtype=np.float32)


def message(
    transfer: int,
    value: float | None,
    *,
    sequence: int = 0,
    ticket: int = 0,
    epoch: int = 1,
    source: str = "caller",
    **fields: object,
) -> Message:
    """A message that has arrived: one vector of `value`, or none."""
    arrays = () if value is None else (vector(value),)
    return Message(Address(epoch, transfer, ticket, sequence), source, arrays, **fields)
