"""Who waits for an answer: items under way, their tickets, and results put back into order.

Nothing is lost: an item stays here, with its inputs, until it is answered. Nothing is answered twice: a message counts
only for the ticket, epoch and transfer that are still expected.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from multiedge.executors.flow.contract import Array, Result, answer_of
from multiedge.measurements import Event
from multiedge.transports.message import Message, log_rows

REORDER = 4
"""Items may overtake the oldest unanswered one by so many times the depth."""


@dataclass
class Pending:
    """An item that was submitted and is not answered; it was last sent on `way`."""

    item: int
    sequence: int
    tensors: Mapping[str, Array]
    issued_s: float
    ticket: int
    attempts: int = 1
    way: int = 0
    got: dict[int, Message] = field(default_factory=dict)


class Ledger:
    """Items by sequence number, at most `depth` at a time.

    With `in_order` results come out in the order of submission; otherwise as items are answered: a late item delays no others.
    """

    def __init__(self, depth: int, clock: Callable[[], float] = time.monotonic, *, in_order: bool = True) -> None:
        self.depth = depth
        self._now, self._in_order = clock, in_order
        self._is_woken = False
        self.open: dict[int, Pending] = {}
        self.duplicates_dropped = 0
        self._tickets = deque(range(depth))
        self._done: dict[int, Result] = {}
        self._ready: deque[Result] = deque()
        self._next_in = 0
        self._next_out = 0

    @property
    def has_room(self) -> bool:
        may_overtake = not self._in_order or self._next_in - self._next_out < REORDER * self.depth
        return bool(self._tickets) and may_overtake

    @property
    def unanswered(self) -> int:
        return self._next_in - self._next_out + len(self._ready)

    def enter(self, item: int, tensors: Mapping[str, Array], now_s: float) -> Pending:
        """A ticket for a new item; there must be room."""
        entry = Pending(item, self._next_in, tensors, now_s, self._tickets.pop())
        self._next_in += 1
        self.open[entry.sequence] = entry
        return entry

    def accept(self, message: Message, expected: Iterable[int]) -> Pending | None:
        """The item, if `message` was the last of `expected` that it waited for."""
        entry = self.open.get(message.address.sequence)
        number = message.address.transfer
        if entry is None or entry.ticket != message.address.ticket or number in entry.got:
            self.duplicates_dropped += 1
            return None
        entry.got[number] = message
        return entry if all(number in entry.got for number in expected) else None

    def answer(self, entry: Pending, tensors: dict[str, Array] | None, error: str, now_s: float) -> None:
        """Closes an item; with `in_order` its result comes out after those that were submitted before it."""
        del self.open[entry.sequence]
        self._tickets.append(entry.ticket)
        result = Result(entry.item, tensors, error, entry.issued_s, now_s, entry.attempts)
        if not self._in_order:
            self._ready.append(result)
            self._next_out += 1
            return
        self._done[entry.sequence] = result
        while self._next_out in self._done:
            self._ready.append(self._done.pop(self._next_out))
            self._next_out += 1

    def wait(self, pump: Callable[[float], None], timeout_s: float, tick_s: float) -> list[Result]:
        """Results that are ready. Until there are some, `timeout_s` have passed, or `wake` was called, `pump` is called to take
        what arrives, waiting up to `tick_s` each time."""
        until = self._now() + timeout_s
        pump(0.0)
        while not (self._ready or self._is_woken) and (left := until - self._now()) > 0:
            pump(min(left, tick_s))
        self._is_woken = False
        results = list(self._ready)
        self._ready.clear()
        return results

    def wake(self) -> None:
        """Lets `wait` return, in another thread; it returns immediately if it is called afterwards."""
        self._is_woken = True

    def start_over(self) -> list[Pending]:
        """Every unanswered item, oldest first, as if nothing of it had arrived."""
        unanswered = [self.open[sequence] for sequence in sorted(self.open)]
        for entry in unanswered:
            entry.got.clear()
            entry.attempts += 1
        return unanswered


def joined(
    entry: Pending,
    tensors_of: Mapping[int, tuple[str, ...]],
    outputs: Iterable[str],
    copied: Callable[[Array], Array] = np.array,
) -> tuple[dict[str, Array], str]:
    """The item's outputs, copied so that they outlive the ticket, and the first error among its messages."""
    error = next((message.error for message in entry.got.values() if message.error), "")
    if error:
        return {}, error
    made = {
        name: array
        for number, message in entry.got.items()
        for name, array in zip(tensors_of[number], message.arrays, strict=True)
    }
    return answer_of(outputs, made, copied), ""


def merged_log(entry: Pending) -> list[Event]:
    """Everything that happened to the item, each event once, in the order of time."""
    rows = {tuple(row) for message in entry.got.values() if message.log for row in log_rows(message.log)}
    return [Event(kind, entry.item, *rest) for kind, *rest in sorted(rows, key=lambda row: row[3])]
