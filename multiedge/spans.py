"""What consecutive nodes cost on a device where their times do not add up.

Where a device serves a language model, the layers that it holds leave room for a cache, the cache limits the batch, and the
batch decides how long an item takes: twice the layers take more than twice the time. A SpanCost says what a device that holds
nodes [start, stop) takes for one item. `Profile.span_s` is the one way to ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from multiedge.errors import ProfileError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class SpanCost(Protocol):
    """The time of an item on a device, by the nodes that the device holds."""

    def seconds(self, start: int, stop: int) -> float:
        """The time of one item through all nodes [start, stop), on a device that holds these and no others.

        Args:
            start: First node.
            stop: End of the nodes, not included.

        Returns:
            Seconds per item in a steady load; inf if the device cannot hold these nodes.
        """
        ...

    def at_speed(self, factor: float) -> SpanCost:
        """These costs on a device of another speed.

        Args:
            factor: New speed over the old one; with 0.5 all times are twice as long.

        Returns:
            A new SpanCost.
        """
        ...


@dataclass(frozen=True, eq=False)
class MeasuredSpans:
    """Times that were measured for spans between some boundaries. A device holds no other spans.

    Attributes:
        boundaries: The boundaries, ascending, (k,).
        table: Seconds per item of the nodes from boundary a to boundary b, (k, k), for a < b; inf where there is none.

    Raises:
        ProfileError: If the boundaries do not ascend, or the table has another shape or a time that is not above 0.
    """

    boundaries: tuple[int, ...]
    table: Floats

    def __post_init__(self) -> None:
        count = len(self.boundaries)
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise ProfileError(f"spans: expected ascending boundaries, got {', '.join(map(str, self.boundaries))}")
        if self.table.shape != (count, count):
            raise ProfileError(f"spans: expected a table of {count} x {count} seconds, got {self.table.shape}")
        if not (self.table[np.triu_indices(count, 1)] > 0).all():
            raise ProfileError("spans: expected times above 0")

    @cached_property
    def _place(self) -> dict[int, int]:
        return {boundary: place for place, boundary in enumerate(self.boundaries)}

    def seconds(self, start: int, stop: int) -> float:
        """The measured time of nodes [start, stop); inf if it was not measured."""
        if start not in self._place or stop not in self._place:
            return float("inf")
        return float(self.table[self._place[start], self._place[stop]])

    def at_speed(self, factor: float) -> MeasuredSpans:
        """These times divided by the factor."""
        return replace(self, table=self.table / factor)


@dataclass(frozen=True, eq=False)
class BatchedSpans:
    """Times of a device that computes as many items together as its memory has room for.

    The memory that the parameters of the nodes leave is divided by the state that these nodes keep for an item, such as a
    key-value cache; the quotient is the batch b. A batch takes batch_s + b item_s, both summed over the nodes, so that an item
    takes item_s + batch_s / b.

    Attributes:
        batch_s: Seconds of each node per batch, such as the time to read its parameters, (n,).
        item_s: Seconds of each node per item in the batch, (n,).
        parameter_bytes: Memory of each node's parameters, (n,).
        item_bytes: Memory of each node's state of one item, (n,).
        room_bytes: Memory for parameters and states.
        most_items: The largest batch.
    """

    batch_s: Floats
    item_s: Floats
    parameter_bytes: Ints
    item_bytes: Ints
    room_bytes: float
    most_items: int

    def __post_init__(self) -> None:
        if len({array.shape for array in (self.batch_s, self.item_s, self.parameter_bytes, self.item_bytes)}) != 1:
            raise ProfileError("spans: expected batch_s, item_s, parameter_bytes and item_bytes of one length")

    @cached_property
    def _sums(self) -> tuple[Floats, ...]:
        arrays: Sequence[Floats | Ints] = (self.batch_s, self.item_s, self.parameter_bytes, self.item_bytes)
        return tuple(np.concatenate([[0.0], np.cumsum(array)]) for array in arrays)

    def items(self, start: int, stop: int) -> int:
        """The batch of a device that holds nodes [start, stop).

        Args:
            start: First node.
            stop: End of the nodes, not included.

        Returns:
            Items; 0 if there is no room for one.
        """
        *_, parameters, state = (float(sums[stop] - sums[start]) for sums in self._sums)
        room = self.room_bytes - parameters
        if room < state:
            return 0
        return self.most_items if room >= state * self.most_items else int(room // state)

    def seconds(self, start: int, stop: int) -> float:
        """The time of one item in the largest batch for which there is room; inf if there is none for one item."""
        batch, item, *_ = (float(sums[stop] - sums[start]) for sums in self._sums)
        items = self.items(start, stop)
        return item + batch / items if items else float("inf")

    def at_speed(self, factor: float) -> BatchedSpans:
        """These costs with both times divided by the factor."""
        return replace(self, batch_s=self.batch_s / factor, item_s=self.item_s / factor)
