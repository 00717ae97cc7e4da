"""What a composed file computes: models, functions, conditions and joins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from multiedge.backends.composed.session import PYTHON
from multiedge.backends.contract import Array, Batching, Provider, Session, Tensors
from multiedge.backends.items import run_joined
from multiedge.composed import VOID, Call, Condition, is_void
from multiedge.errors import MultiedgeError, StageError, one_line, shape_text
from multiedge.graph import Dim, Tensor

ONE = Batching()


@dataclass(frozen=True)
class ModelRun:
    """A model, or a piece of one. Items are joined as `batching` says; one without rows is answered without the model."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    session: Session
    tensors: Mapping[str, Tensor]
    batching: Batching = ONE
    takes_void: ClassVar[bool] = False

    @property
    def provider(self) -> Provider:
        return self.session.provider

    def compute(self, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        made = [self._of_no_rows() if self._has_no_rows(item) else {} for item in items]
        waiting = [place for place, outputs in enumerate(made) if not outputs]
        for start in range(0, len(waiting), self.batching.most):
            places = waiting[start : start + self.batching.most]
            for place, outputs in zip(places, run_joined(self.session, [items[place] for place in places]), strict=True):
                made[place] = outputs
        return made

    def close(self) -> None:
        self.session.close()

    def _has_no_rows(self, item: Tensors) -> bool:
        """Whether there is nothing to compute for it: no rows go in where their number is open, so none come out."""
        is_empty = any(np.shape(item[name])[:1] == (0,) and self._rows_are_open(name) for name in self.inputs)
        return is_empty and all(map(self._rows_are_open, self.outputs))

    def _rows_are_open(self, name: str) -> bool:
        shape = self.tensors[name].shape
        return shape is not None and len(shape) > 0 and not isinstance(shape[0], int)

    def _of_no_rows(self) -> dict[str, Array]:
        return {name: _empty(self.tensors[name]) for name in self.outputs}


def _empty(tensor: Tensor) -> Array:
    shape = [size if isinstance(size, int) else 0 for size in tensor.shape or (0,)]
    return np.empty(shape, np.dtype(tensor.dtype))


@dataclass(frozen=True)
class TransformRun:
    """A function of Python."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    call: Call
    function: Callable[..., Any]
    tensors: Mapping[str, Tensor]
    """Types and shapes of the outputs, by their names."""
    provider: Provider = PYTHON
    batching: Batching = ONE
    takes_void: ClassVar[bool] = False

    def compute(self, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        return [self._one(item) for item in items]

    def close(self) -> None:
        """Nothing is held."""

    def _one(self, item: Tensors) -> dict[str, Array]:
        arguments = {keyword: item[name] for keyword, name in zip(self.call.keywords, self.inputs, strict=True)}
        try:
            made = self.function(**arguments, **self.call.options)
        except MultiedgeError:
            raise
        except Exception as error:  # whatever the function raises is the item's failure
            raise self._error(f"{type(error).__name__}: {one_line(error)}") from error
        if not isinstance(made, Mapping):
            raise self._error(f"expected a mapping of {', '.join(self.call.results)}, got {type(made).__name__}")
        return {name: self._result(key, name, made) for key, name in zip(self.call.results, self.outputs, strict=True) if name}

    def _result(self, key: str, name: str, made: Mapping[str, Any]) -> Array:
        if key not in made:
            raise self._error(f"expected '{key}' in what it returns, got {', '.join(map(str, made)) or 'nothing'}")
        array, tensor = np.asarray(made[key]), self.tensors[name]
        if tensor.dtype not in (None, array.dtype.name) or not _fits(array.shape, tensor.shape):
            raise self._error(
                f"'{key}': expected {tensor.dtype} {shape_text(tensor.shape)}, got {array.dtype.name} {list(array.shape)};"
                " return that, or correct its type and shape in the workflow"
            )
        return array

    def _error(self, text: str) -> StageError:
        return StageError(f"transform '{self.name}' ({self.call.function}): {text}")


def _fits(shape: tuple[int, ...], declared: tuple[Dim, ...] | None) -> bool:
    if declared is None:
        return True
    return len(shape) == len(declared) and all(
        not isinstance(wanted, int) or wanted == size for size, wanted in zip(shape, declared, strict=True)
    )


@dataclass(frozen=True)
class WhenRun:
    """Passes values on, unchanged, if the condition holds of the first input."""

    name: str
    tested: str
    values: tuple[str, ...]
    outputs: tuple[str, ...]
    condition: Condition
    provider: None = None
    batching: Batching = ONE
    takes_void: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.tested, *self.values)))

    def compute(self, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        return [self._passed(item, self.condition.holds(np.asarray(item[self.tested]))) for item in items]

    def _passed(self, item: Tensors, holds: bool) -> dict[str, Array]:
        return {made: item[name] if holds else VOID for made, name in zip(self.outputs, self.values, strict=True)}

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class FirstOfRun:
    """The first of its inputs that the item has."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    provider: None = None
    batching: Batching = ONE
    takes_void: ClassVar[bool] = True

    def compute(self, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        return [dict.fromkeys(self.outputs, self._first(item)) for item in items]

    def _first(self, item: Tensors) -> Array:
        return next((item[name] for name in self.inputs if not is_void(item[name])), VOID)

    def close(self) -> None:
        """Nothing is held."""
