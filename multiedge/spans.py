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
Bools = npt.NDArray[np.bool_]


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

    def matrix_s(self, nodes: int) -> Floats:
        """The times of all spans of a model.

        Args:
            nodes: Number of nodes of the model.

        Returns:
            Seconds by start and stop, (nodes + 1, nodes + 1); inf where `seconds` is inf, and for stop <= start.
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

    def matrix_s(self, nodes: int) -> Floats:
        """The measured times; inf between other boundaries."""
        seconds = np.full((nodes + 1, nodes + 1), np.inf)
        upper = np.triu(np.ones(self.table.shape, dtype=np.bool_), 1)
        seconds[np.ix_(self.boundaries, self.boundaries)] = np.where(upper, self.table, np.inf)
        return seconds

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

    def matrix_s(self, nodes: int) -> Floats:
        """The times of all spans at their largest batch."""
        batch, item, parameters, state = (sums[None, :] - sums[:, None] for sums in self._sums)
        room = self.room_bytes - parameters
        with np.errstate(divide="ignore", invalid="ignore"):
            items = np.where(room >= state * self.most_items, self.most_items, room // state)
            fits = np.triu(room >= state, 1) & (items >= 1)
            return np.asarray(np.where(fits, item + batch / items, np.inf))

    def at_speed(self, factor: float) -> BatchedSpans:
        """These costs with both times divided by the factor."""
        return replace(self, batch_s=self.batch_s / factor, item_s=self.item_s / factor)


@dataclass(frozen=True, eq=False)
class SpansWithout:
    """Costs of a device that must not hold some nodes.

    Attributes:
        cost: Its costs without that.
        excluded: Whether the device must not hold each node, (n,).
    """

    cost: SpanCost
    excluded: Bools

    def seconds(self, start: int, stop: int) -> float:
        """The time of nodes [start, stop); inf with an excluded one among them."""
        return float("inf") if self.excluded[start:stop].any() else self.cost.seconds(start, stop)

    def matrix_s(self, nodes: int) -> Floats:
        """The times of all spans; inf with an excluded node in them."""
        return np.where(spans_with(self.excluded), np.inf, self.cost.matrix_s(nodes))

    def at_speed(self, factor: float) -> SpansWithout:
        """These costs with other times of the nodes that it may hold."""
        return replace(self, cost=self.cost.at_speed(factor))


@dataclass(frozen=True, eq=False)
class FastestSpans:
    """Times of a device that can run the same nodes in several ways, such as runtimes and precisions, and takes for all that it
    holds the one that is the fastest there.

    Times of one way add up over nodes. The least of several sums does not: which way is the fastest depends on the nodes.

    Attributes:
        names: The ways.
        rows: Seconds of each node in each way, (ways, n).
        more_s: Seconds that a stage takes on top in each way, (ways,).

    Raises:
        ProfileError: If there is no way, or numbers of ways differ.
    """

    names: tuple[str, ...]
    rows: Floats
    more_s: Floats

    def __post_init__(self) -> None:
        if not self.names or self.rows.ndim != 2 or not len(self.names) == len(self.rows) == len(self.more_s):
            raise ProfileError(f"spans: expected one row and one overhead for each of the ways, got {len(self.names)} ways")

    @cached_property
    def _sums(self) -> Floats:
        return np.concatenate([np.zeros((len(self.names), 1)), np.cumsum(self.rows, axis=1)], axis=1)

    def way(self, start: int, stop: int) -> int:
        """The number of the way that is the fastest for nodes [start, stop); the first of equal ones."""
        return int(np.argmin(self._sums[:, stop] - self._sums[:, start] + self.more_s))

    def way_s(self, way: int, start: int, stop: int) -> float:
        """The time of nodes [start, stop) in one way."""
        return float(self._sums[way, stop] - self._sums[way, start] + self.more_s[way])

    def seconds(self, start: int, stop: int) -> float:
        """The time of nodes [start, stop) in the way that is the fastest for them; inf for no nodes."""
        if stop <= start:
            return float("inf")
        return float((self._sums[:, stop] - self._sums[:, start] + self.more_s).min())

    def matrix_s(self, nodes: int) -> Floats:
        """The times of all spans, each in its fastest way."""
        each = self._sums[:, None, :] - self._sums[:, :, None] + self.more_s[:, None, None]
        return np.where(np.triu(np.ones((nodes + 1, nodes + 1), dtype=np.bool_), 1), each.min(axis=0), np.inf)

    def at_speed(self, factor: float) -> FastestSpans:
        """The same with all times divided by the factor."""
        return replace(self, rows=self.rows / factor, more_s=self.more_s / factor)


def spans_with(nodes: Bools) -> Bools:
    """Which spans hold one of some nodes.

    Args:
        nodes: Whether each node is one of them, (n,).

    Returns:
        Whether there is one in [start, stop), (n + 1, n + 1).
    """
    before = np.concatenate([[0], np.cumsum(nodes)])
    return np.asarray(before[None, :] > before[:, None])


def least_shares(matrix_s: Floats, work: Floats) -> Floats:
    """The least time that each node takes in any span, of whose time it has the share that its work has in the span's.

    A sum of them is at most the time of any span that holds the nodes, so that they bound what times do not add up from below.

    Args:
        matrix_s: Seconds of each span, (n + 1, n + 1), inf where there is none.
        work: Work of each node, (n,). Nodes of a span without work take equal shares.

    Returns:
        Seconds, (n,); inf for a node that is in no span.
    """
    count = len(work)
    totals = np.concatenate([[0.0], np.cumsum(work)])
    weight = totals[None, :] - totals[:, None]
    length = np.arange(count + 1)[None, :] - np.arange(count + 1)[:, None]
    spans = np.isfinite(matrix_s) & (length > 0)
    per_work = _least_around(np.where(spans & (weight > 0), matrix_s / np.where(weight > 0, weight, 1.0), np.inf))
    per_node = _least_around(np.where(spans & (weight <= 0), matrix_s / np.maximum(length, 1), np.inf))
    shares = np.multiply(per_work, work, where=np.isfinite(per_work), out=np.full(count, np.inf))
    return np.asarray(np.minimum(shares, per_node))


def _least_around(values: Floats) -> Floats:
    """The least of values[start, stop] with start <= node < stop for each node."""
    from_start = np.minimum.accumulate(values, axis=0)
    least = np.minimum.accumulate(from_start[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(np.diagonal(least, 1))
