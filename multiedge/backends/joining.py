"""Steps of several sequences in one run of a part, whose rows they are: what a runtime reads of the weights then serves all.

It is possible where the graph keeps the rows apart, also if sequences differ in length: states of a fixed shape, such as those
of recurrent networks, and buffers of `GroupQueryAttention`, which is told the length of each row. A state that grows by what
is appended has one length for all rows. Values are the same but for rounding: a product of more rows adds in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multiedge.backends.contract import Array, ShapedSession
from multiedge.states import BATCH, Extended, State


@dataclass(frozen=True)
class Rows:
    """Where the tensors of a part have the rows of a sequence.

    Attributes:
        axes: The axis of the rows by name of the tensor; None for one without, which all sequences must share.
        extended: Inputs that have a value for each token so far.
        has_lengths: Whether the part is told how long each row is, so that rows may differ in length.
    """

    axes: Mapping[str, int | None]
    extended: tuple[Extended, ...]
    has_lengths: bool

    def joined(self, items: Sequence[Mapping[str, Array]]) -> dict[str, Array] | None:
        """The inputs of one run for the rows of all items; None if what they must share differs."""
        given: dict[str, Array] = {}
        for name in items[0]:
            arrays, axis = [np.asarray(item[name]) for item in items], self.axes.get(name)
            if axis is not None:
                given[name] = np.concatenate([self._padded(name, arrays, array) for array in arrays], axis=axis)
            elif all(np.array_equal(array, arrays[0]) for array in arrays):
                given[name] = arrays[0]
            elif self.has_lengths and _is_size(arrays[0]):
                given[name] = np.maximum.reduce(arrays)  # the length of the longest row
            else:
                return None
        return given

    def taken_apart(self, made: Mapping[str, Array], lengths: Sequence[int]) -> list[dict[str, Array]]:
        """The outputs of each item, which has one row of this length after the step."""
        parts: list[dict[str, Array]] = [{} for _ in lengths]
        for name, array in made.items():
            axis = self.axes.get(name)
            is_longest = self.has_lengths and axis is None and _is_size(array) and int(array.ravel()[0]) == max(lengths)
            for row, (part, length) in enumerate(zip(parts, lengths, strict=True)):
                if axis is not None:
                    part[name] = np.ascontiguousarray(np.take(array, [row], axis=axis))
                else:
                    part[name] = np.full_like(array, length) if is_longest else array
        return parts

    def _padded(self, name: str, arrays: Sequence[Array], array: Array) -> Array:
        """An extended input with as many values as the longest one; those of tokens that are not there are 0."""
        axis = next((each.axis for each in self.extended if each.input == name), None)
        if axis is None:
            return array
        missing = max(each.shape[axis] for each in arrays) - array.shape[axis]
        widths = [(0, missing if each == axis else 0) for each in range(array.ndim)]
        return np.pad(array, widths) if missing else array


def rows_of(session: object, states: Sequence[State], extended: Sequence[Extended]) -> Rows | None:
    """Where a part has its rows; None if the rows of several sequences cannot be joined."""
    if not states or not isinstance(session, ShapedSession):
        return None
    shapes = session.shapes
    has_lengths = all(state.shared and state.start[0] == BATCH for state in states)
    if not has_lengths and (extended or any(state.axis is not None for state in states)):
        return None
    names = {shapes[state.input][state.start.index(BATCH)] if BATCH in state.start else None for state in states}
    row = names.pop()
    if names or not isinstance(row, str):
        return None
    axes = {name: shape.index(row) if row in shape else None for name, shape in shapes.items()}
    made = {state.output for state in states}
    shared = [shapes[name] for name in session.outputs if name not in made and axes[name] is None]
    if shared and not (has_lengths and all(shape in ((), (1,)) for shape in shared)):
        return None
    return Rows(axes, tuple(extended), has_lengths)


def best_start(slots: Sequence[int], count: int) -> int:
    """Where `count` slots are cut so that most of these are already at their place, the first at the start and so on."""
    starts = range(count - len(slots) + 1)
    return max(starts, key=lambda start: sum(slot == start + place for place, slot in enumerate(slots)))


def _is_size(array: Array) -> bool:
    return array.size == 1 and array.dtype.kind in "iu"
