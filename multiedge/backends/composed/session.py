"""A composed file, or a part of one, as a session."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from multiedge.backends.contract import Array, Batching, ItemsSession, Provider, Tensors
from multiedge.composed import VOID, is_void
from multiedge.errors import ModelError, did_you_mean

PYTHON = Provider("Python")


class Operation(Protocol):
    """What is computed between two steps of a composed file: a model, a function, a condition, a join."""

    takes_void: ClassVar[bool]
    """Whether it computes for an item that lacks some of its inputs; otherwise its outputs are void for that item."""

    @property
    def name(self) -> str:
        """The name of its segment."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def batching(self) -> Batching: ...

    @property
    def provider(self) -> Provider | None:
        """What computes it; None for what is no computation."""
        ...

    def compute(self, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        """The outputs for each of at least one item."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Computed:
    """That an operation was computed.

    Attributes:
        name: The name of its segment.
        outputs: What it makes.
        made: For each item that came together, whether what the operation makes is there.
        seconds: How long it took for all of them.
    """

    name: str
    outputs: tuple[str, ...]
    made: tuple[bool, ...]
    seconds: float


class ComposedSession:
    """The operations of a composed file, one after the other. `observe` is told of each, also where no item has its inputs."""

    batch_is_free = False

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str], operations: Sequence[Operation]) -> None:
        self.inputs, self.outputs, self._operations = tuple(inputs), tuple(outputs), tuple(operations)
        self.observe: Callable[[Computed], None] | None = None

    @property
    def provider(self) -> Provider:
        return next((each.provider for each in self._operations if each.provider), PYTHON)

    @property
    def batching(self) -> Batching:
        """As many items as one of the operations takes, for as long as one of them waits."""
        wishes = [each.batching for each in self._operations]
        return Batching(max((each.most for each in wishes), default=1), max((each.wait_s for each in wishes), default=0.0))

    def run(self, tensors: Tensors) -> dict[str, Array]:
        return self.run_items([tensors])[0]

    def computes(self, tensors: Tensors) -> bool:
        """Conditions before the first model or function are looked at: what they keep back computes nothing."""
        known = {name: tensors.get(name, VOID) for name in self.inputs}
        for operation in self._operations:
            if operation.provider is not None and not any(is_void(known[name]) for name in operation.inputs):
                return True
            try:
                _compute(operation, [known])
            except Exception:  # whatever a condition raises of these values, `run` raises as the item's failure
                return True
        return False

    def run_items(self, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        """The outputs of each item; what is void for an item is VOID. An error of one item is raised for all."""
        known = [dict(zip(self.inputs, self._given(item), strict=True)) for item in items]
        for operation in self._operations:
            begin = time.perf_counter()
            _compute(operation, known)
            if self.observe:
                made = tuple(not all(is_void(values[name]) for name in operation.outputs) for values in known)
                self.observe(Computed(operation.name, operation.outputs, made, time.perf_counter() - begin))
        return [{name: values[name] for name in self.outputs} for values in known]

    def close(self) -> None:
        for operation in self._operations:
            operation.close()

    def _given(self, item: Tensors) -> list[Array]:
        missing = [name for name in self.inputs if name not in item]
        if missing:
            raise ModelError(f"input '{missing[0]}' was not given{did_you_mean(missing[0], item)}")
        return [item[name] for name in self.inputs]


def _compute(operation: Operation, items: Sequence[dict[str, Array]]) -> None:
    """Adds to each item what the operation makes of it; VOID where the item lacks an input."""
    present = [item for item in items if operation.takes_void or not any(is_void(item[name]) for name in operation.inputs)]
    for item in items if len(present) < len(items) else ():
        item.update(dict.fromkeys(operation.outputs, VOID))
    if present:
        made = operation.compute([{name: item[name] for name in operation.inputs} for item in present])
        for item, outputs in zip(present, made, strict=True):
            item.update(outputs)


def _check(session: ComposedSession) -> ItemsSession:
    """For the type checker: the class satisfies the contract."""
    return session
