"""The work of one device: take messages, run the stages whose inputs are complete, send on what they made.

Single-threaded; clock, pace, transport and monitor are passed in, so that a test can step it.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from multiedge.backends.contract import Array, Session
from multiedge.errors import one_line
from multiedge.executors.flow.contract import failure
from multiedge.executors.flow.routes import Routes
from multiedge.fleet import CALLER_NAME
from multiedge.plan import CALLER
from multiedge.transports.links import LinkShaper, Mailbox
from multiedge.transports.message import Address, Endpoint, Message, join_logs, log_row

MOST_JOINED = 256
"""Items in a micro-batch; a monitor has room for so many."""


class Monitor(Protocol):
    """Where a loop shows what it does, for whoever supervises it."""

    def begin_epoch(self, transfers: int) -> None:
        """Counts from 0 again; PlanError if so many transfers cannot be counted."""
        ...

    def count_taken(self, transfer: int) -> None: ...

    def count_sent(self, transfer: int) -> None: ...

    def show_busy(self, stage: int, sequences: Sequence[int], since_s: float) -> None:
        """The items, up to MOST_JOINED, that are computed together."""
        ...

    def show_computed(self) -> None:
        """The outputs are there, and not sent yet."""
        ...

    def show_idle(self) -> None: ...


class Pace(Protocol):
    """How fast the device is emulated to be."""

    def begin(self) -> float:
        """Now, as compute begins."""
        ...

    def stretch(self) -> None:
        """Returns once the compute since `begin` has taken as long as it would on the device."""
        ...


class StageLoop:
    """One device's stages. An item's oldest waiting stage runs first, so items leave in the order in which they came."""

    def __init__(
        self,
        device: str,
        endpoint: Endpoint,
        shaper: LinkShaper,
        monitor: Monitor,
        pace: Pace,
        *,
        caller: str,
        micro_batch: int,
        record: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device, self.endpoint, self.shaper = device, endpoint, shaper
        self.mailbox = Mailbox()
        self._monitor, self._pace, self._now = monitor, pace, clock
        self._caller, self._micro_batch, self._record = caller, min(micro_batch, MOST_JOINED), record
        self._epoch = 0
        self._routes = Routes((), ())
        self._alone: frozenset[int] = frozenset()
        self._sessions: Mapping[int, Session] = {}
        self._waiting: dict[tuple[int, int], dict[int, Message]] = {}
        self._logs: dict[tuple[int, int], list[bytes]] = {}
        self._ready: list[tuple[int, int]] = []
        self._idle_since_s = clock()

    def configure(self, epoch: int, routes: Routes, sessions: Mapping[int, Session], alone: Iterable[int] = ()) -> None:
        """Begins an epoch; everything of earlier ones is dropped. The items in `alone` are joined with no others."""
        self._epoch, self._routes, self._sessions = epoch, routes, sessions
        self._alone = frozenset(alone)
        self._entering = {stage: set(routes.entering(stage)) for stage in sessions}
        self._leaving = {stage: routes.leaving(stage) for stage in sessions}
        for held in (self._waiting, self._logs, self._ready):
            held.clear()
        self.mailbox.clear()
        self.endpoint.forget(epoch)
        self._monitor.begin_epoch(len(routes.transfers))

    def step(self, timeout_s: float) -> bool:
        """Runs at most one stage, after waiting up to `timeout_s` for something to do; whether it did."""
        self._receive(0.0 if self._ready else min(timeout_s, self.mailbox.next_due_s() - self._now()))
        if not self._ready:
            return False
        sequence, stage = heapq.heappop(self._ready)
        stage = -stage
        batch = [sequence] if sequence in self._alone else [sequence, *self._further_items(stage)]
        self._run(stage, [self._waiting.pop((stage, number)) for number in batch], batch)
        self._idle_since_s = self._now()
        return True

    def _receive(self, timeout_s: float) -> None:
        for message in self.endpoint.receive(timeout_s):
            if message.address.epoch == self._epoch:
                self.mailbox.put(message)
        now = self._now()
        for message in self.mailbox.take(now):
            self._deliver(message, now)

    def _deliver(self, message: Message, now_s: float) -> None:
        number = message.address.transfer
        self._monitor.count_taken(number)
        move = self._routes.transfers[number]
        key = (move.target, message.address.sequence)
        if self._record:
            arrived = now_s if self._idle_since_s <= message.sent_s else message.due_s
            stop = max(message.sent_s, arrived)
            row = log_row("transfer", move.target, message.source, message.sent_s, stop, message.nbytes, self.device)
            self._logs.setdefault(key, []).extend((message.log, row))
        messages = self._waiting.setdefault(key, {})
        messages[number] = message
        if messages.keys() >= self._entering[move.target]:
            heapq.heappush(self._ready, (message.address.sequence, -move.target))

    def _further_items(self, stage: int) -> list[int]:
        """Items that wait for the same stage, taken out of the queue to fill a micro-batch."""
        further: list[int] = []
        if self._micro_batch > 1 and self._sessions[stage].batch_is_free:
            ready = sorted(sequence for sequence, other in self._ready if other == -stage and sequence not in self._alone)
            further = ready[: self._micro_batch - 1]
            for sequence in further:
                self._ready.remove((sequence, -stage))
            heapq.heapify(self._ready)
        return further

    def _run(self, stage: int, batch: Sequence[dict[int, Message]], sequences: Sequence[int]) -> None:
        """Computes one item, or several joined into one batch, and sends on what was made."""
        inputs = [self._tensors(messages) for messages in batch]
        errors = [next((m.error for m in messages.values() if m.error), "") for messages in batch]
        start = self._pace.begin()
        self._monitor.show_busy(stage, sequences, start)
        valid = [place for place, error in enumerate(errors) if not error]
        outputs: list[dict[str, Array]] = [{} for _ in batch]
        try:
            for place, made in zip(valid, run_joined(self._sessions[stage], [inputs[each] for each in valid]), strict=True):
                outputs[place] = dict(made)
        except Exception as error:  # whatever the runtime raises is the items' failure, not the worker's
            text = failure(stage, self.device, error)
            if len(valid) > 1:
                # One bad item must not fail the others that were joined with it.
                for messages, sequence in zip(batch, sequences, strict=True):
                    self._run(stage, [messages], [sequence])
                return
            errors = [error_before or text for error_before in errors]
        if valid:
            self._pace.stretch()
            self._monitor.show_computed()
        stop = self._now()
        for place, sequence in enumerate(sequences):
            log = self._logs.pop((stage, sequence), [])
            if self._record and not errors[place]:
                log.append(log_row("compute", stage, self.device, start, stop, 0, ""))
            address = next(iter(batch[place].values())).address
            self._send(stage, address, {**inputs[place], **outputs[place]}, errors[place], join_logs(log))
        # Shown as busy until its outputs are sent: an item that ends the worker while they are is known.
        self._monitor.show_idle()
        for message in (message for messages in batch for message in messages.values()):
            self.endpoint.release(message.address)

    def _tensors(self, messages: Mapping[int, Message]) -> dict[str, Array]:
        moves = self._routes.transfers
        return {
            name: array
            for number, message in messages.items()
            if not message.error
            for name, array in zip(moves[number].tensors, message.arrays, strict=True)
        }

    def _send(self, stage: int, address: Address, tensors: Mapping[str, Array], error: str, log: bytes) -> None:
        """Sends what each later stage needs. An error is sent in place of tensors, so that every later stage receives it."""
        for number in self._leaving[stage]:
            move = self._routes.transfers[number]
            missing = [name for name in move.tensors if name not in tensors]
            if missing and not error:
                error = f"stage {stage} on '{self.device}' did not make '{missing[0]}', which stage {move.target} needs"
            others = [] if error else [name for name in move.tensors if not isinstance(tensors[name], np.ndarray | np.generic)]
            if others:
                kind = type(tensors[others[0]]).__name__
                error = f"stage {stage} on '{self.device}' failed: output '{others[0]}': expected an array, got {kind}"
            arrays = () if error else tuple(tensors[name] for name in move.tensors)
            peer = CALLER_NAME if move.target == CALLER else self._routes.home(move.target, address.sequence)
            now = self._now()
            place = self._caller if peer == CALLER_NAME else peer
            due = now if place == self.device else self.shaper.due_s(place, sum(array.nbytes for array in arrays), now)
            target = Address(address.epoch, number, address.ticket, address.sequence)
            send_or_fail(self.endpoint, peer, Message(target, self.device, arrays, error, now, due, log), f"stage {stage}")
            self._monitor.count_sent(number)


def send_or_fail(endpoint: Endpoint, peer: str, message: Message, sender: str) -> None:
    """Sends the message, or in its place an error that names `sender`, if its arrays cannot be sent: the item fails alone."""
    try:
        endpoint.send(peer, message)
    except Exception as error:  # values that no transport takes, such as objects, or no room for them
        text = f"{sender} on '{message.source}' failed: what it sends is refused: {type(error).__name__}: {one_line(error)}"
        endpoint.send(peer, message._replace(arrays=(), error=text))


def run_joined(session: Session, items: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """The outputs of each item; several are joined along their first axis, run once and taken apart again."""
    if len(items) <= 1:
        return [session.run(item) for item in items]
    counts = [len(item[session.inputs[0]]) for item in items]
    joined = session.run({name: np.concatenate([item[name] for item in items]) for name in session.inputs})
    ends = np.cumsum(counts)[:-1]
    parts = {name: np.split(array, ends) for name, array in joined.items()}
    return [{name: pieces[place] for name, pieces in parts.items()} for place in range(len(items))]
