"""The work of one device: take messages, run the stages whose inputs are complete, send on what they made.

Single-threaded; clock, pace, transport and monitor are passed in, so that a test can step it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from multiedge.backends.contract import Array, Batching, DirectSession, ItemsSession, SequenceSession, Session
from multiedge.backends.items import run_joined
from multiedge.errors import one_line
from multiedge.executors.flow.batching import Ready, choose
from multiedge.executors.flow.contract import failure
from multiedge.executors.flow.routes import Routes
from multiedge.fleet import CALLER_NAME, Encoding
from multiedge.plan import CALLER
from multiedge.transports.coding import expected_bytes
from multiedge.transports.links import LinkShaper, Mailbox
from multiedge.transports.message import Address, ArraySpec, Endpoint, Message, join_logs, log_row

DIRECT_BYTES = 32_768
"""Smaller outputs are copied into their message: that takes less time than to have the runtime write them there."""
_ARRAYS = (np.ndarray, np.generic)
_Key = tuple[int, int]
"""An item at a stage: its sequence number, and the stage's number with a minus sign. The least of them runs first."""

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


@dataclass
class _Item:
    """An item at one stage: the messages that it came with, their tensors, and what the stage makes of it, or has made of it
    before if it is a repeat. `address` is that of one of the messages, `kind` what the record says the stage did: 'compute',
    'repeat' or 'skip'."""

    address: Address
    messages: Collection[Message]
    inputs: dict[str, Array]
    error: str
    outputs: Mapping[str, Array]
    kind: str = "compute"


class _Leaving(NamedTuple):
    """A transfer out of a stage. `homes` are the devices of its target, which take turns; `encoding` is how tensors go to
    other devices."""

    number: int
    target: int
    tensors: tuple[str, ...]
    homes: tuple[str, ...]
    encoding: Encoding

    @classmethod
    def of(cls, routes: Routes, number: int) -> _Leaving:
        move = routes.transfers[number]
        homes = (CALLER_NAME,) if move.target == CALLER else routes.homes(move.target, routes.way(number))
        return cls(number, move.target, move.tensors, homes, move.encoding)

    def address(self, of: Address) -> Address:
        """That of the message over this transfer for the item of a message that came."""
        return Address(of.epoch, self.number, of.ticket, of.sequence)


class _Stage(NamedTuple):
    """A stage of this device: how many messages an item of it waits for, and the transfers by which its outputs leave, by way.
    `direct` is its session if that can write to memory that it is given, and has outputs for which that is worthwhile: see
    `fixed`; `sequences` is its session if that keeps the states of sequences, and `joining` if it takes several items."""

    number: int
    session: Session
    joining: ItemsSession | None
    batching: Batching
    direct: DirectSession | None
    sequences: SequenceSession | None
    fixed: Mapping[str, ArraySpec]
    entering: tuple[int, ...]
    leaving: tuple[tuple[_Leaving, ...], ...]

    @classmethod
    def of(cls, routes: Routes, number: int, session: Session, micro_batch: int) -> _Stage:
        ways = range(routes.count)
        leaving = tuple(tuple(_Leaving.of(routes, each) for each in routes.leaving(number, way)) for way in ways)
        direct = session if isinstance(session, DirectSession) else None
        fixed = direct.fixed if direct else {}
        if sum(spec.nbytes for spec in fixed.values()) < DIRECT_BYTES:
            direct = None
        entering = tuple(len(routes.entering(number, way)) for way in ways)
        sequences = session if isinstance(session, SequenceSession) else None
        joining = session if isinstance(session, ItemsSession) else None
        if joining:
            batching = Batching(min(joining.batching.most, MOST_JOINED), joining.batching.wait_s)
        else:
            batching = Batching(micro_batch if session.batch_is_free or (sequences and sequences.joins) else 1)
        return cls(number, session, joining, batching, direct, sequences, fixed, entering, leaving)

    def skips(self, tensors: Mapping[str, Array]) -> bool:
        """Whether nothing is computed for an item with these tensors."""
        return self.joining is not None and not self.joining.computes(tensors)


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
        self._way_of: tuple[int, ...] = ()
        self._alone: frozenset[int] = frozenset()
        self._stages: Mapping[int, _Stage] = {}
        self._waiting: dict[_Key, dict[int, Message]] = {}
        self._logs: dict[_Key, list[bytes]] = {}
        self._ready: dict[_Key, Ready] = {}
        self._batching: Mapping[int, Batching] = {}
        self._joins_none = True
        self._look_again_s = -math.inf
        self._idle_since_s = clock()

    def configure(self, epoch: int, routes: Routes, sessions: Mapping[int, Session], alone: Iterable[int] = ()) -> None:
        """Begins an epoch; everything of earlier ones is dropped. The items in `alone` are joined with no others."""
        self._epoch, self._routes, self._alone = epoch, routes, frozenset(alone)
        self._way_of = tuple(map(routes.way, range(len(routes.transfers))))
        self._stages = {number: _Stage.of(routes, number, session, self._micro_batch) for number, session in sessions.items()}
        self._batching = {number: stage.batching for number, stage in self._stages.items()}
        self._joins_none = all(each.most == 1 for each in self._batching.values())
        self._look_again_s = -math.inf
        for held in (self._waiting, self._logs, self._ready):
            held.clear()
        self.mailbox.clear()
        self.endpoint.forget(epoch)
        self._monitor.begin_epoch(len(routes.transfers))

    def step(self, timeout_s: float) -> bool:
        """Runs at most one stage, after waiting up to `timeout_s` for something to do; whether it did."""
        look_s = self._look_again_s if self._ready else math.inf
        self._receive(0.0 if look_s == -math.inf else min(timeout_s, min(look_s, self.mailbox.next_due_s()) - self._now()))
        if not self._ready:
            return False
        keys = self._chosen()
        if not keys:
            return False
        for key in keys:
            del self._ready[key]
        self._run(self._stages[-keys[0][1]], [self._item(key) for key in keys])
        self._idle_since_s = self._now()
        return True

    def _chosen(self) -> Sequence[_Key]:
        """The items that are computed now, together; nothing if all may still wait for others."""
        if self._joins_none:
            return (min(self._ready),)
        choice = choose(self._ready.values(), self._batching, self._now())
        self._look_again_s = -math.inf if choice.items else choice.due_s
        return [(item.sequence, -item.stage) for item in choice.items]

    def _receive(self, timeout_s: float) -> None:
        arrived = self.endpoint.receive(timeout_s)
        now = self._now()
        for message in self.mailbox.sort(arrived, now):
            if message.address.epoch == self._epoch:
                self._deliver(message, now)

    def _deliver(self, message: Message, now_s: float) -> None:
        number = message.address.transfer
        self._monitor.count_taken(number)
        target = self._routes.transfers[number].target
        key = (message.address.sequence, -target)
        if self._record:
            arrived = now_s if self._idle_since_s <= message.sent_s else message.due_s
            stop = max(message.sent_s, arrived)
            row = log_row("transfer", target, message.source, message.sent_s, stop, message.nbytes, self.device)
            self._logs.setdefault(key, []).extend((message.log, row))
        messages = self._waiting.setdefault(key, {})
        messages[number] = message
        if len(messages) == self._stages[target].entering[self._way_of[number]]:
            self._ready[key] = Ready(key[0], target, now_s, self._joins(self._stages[target], key[0], messages))

    def _joins(self, stage: _Stage, sequence: int, messages: Mapping[int, Message]) -> bool:
        """Whether there is something to compute for the item, which others may be joined with."""
        if self._joins_none or stage.batching.most == 1 or sequence in self._alone:
            return False
        inputs, error = self._received(messages)
        return not (error or stage.skips(inputs))

    def _received(self, messages: Mapping[int, Message]) -> tuple[dict[str, Array], str]:
        """The tensors of an item's messages, and the first error among them."""
        moves = self._routes.transfers
        inputs: dict[str, Array] = {}
        error = ""
        for number, message in messages.items():
            if message.error:
                error = error or message.error
            else:
                inputs.update(zip(moves[number].tensors, message.arrays, strict=True))
        return inputs, error

    def _item(self, key: _Key) -> _Item:
        """An item whose messages are complete, taken from those that wait."""
        messages, stage = self._waiting.pop(key), self._stages[-key[1]]
        inputs, error = self._received(messages)
        item = _Item(next(iter(messages.values())).address, messages.values(), inputs, error, {})
        if stage.joining and not error and stage.skips(inputs):
            item.kind = "skip"
        return item

    def _run(self, stage: _Stage, items: Sequence[_Item]) -> None:
        """Computes one item, or several joined into one batch, and sends on what was made."""
        start = self._pace.begin()
        self._monitor.show_busy(stage.number, [item.address.sequence for item in items], start)
        valid = [item for item in items if not item.error]
        if valid:
            try:
                self._compute(stage, valid)
            except Exception as error:  # whatever the runtime raises is the items' failure, not the worker's
                if len(valid) > 1:
                    # One bad item must not fail the others that were joined with it.
                    for item in items:
                        self._run(stage, [item])
                    return
                valid[0].error = failure(stage.number, self.device, error)
            self._pace.stretch()
            self._monitor.show_computed()
        stop = self._now()
        for item in items:
            self._send(stage, item, self._log(stage, item, start, stop) if self._record else b"")
        # Shown as busy until its outputs are sent: an item that ends the worker while they are is known.
        self._monitor.show_idle()
        for item in items:
            for message in item.messages:
                self.endpoint.release(message.address)

    def _compute(self, stage: _Stage, items: Sequence[_Item]) -> None:
        """Sets the outputs of each item."""
        if stage.joining:
            for item, made in zip(items, stage.joining.run_items([item.inputs for item in items]), strict=True):
                item.outputs = made
            return
        first = items[0]
        if stage.sequences:
            for item in items:
                item.kind = "repeat" if stage.sequences.repeats(item.inputs) else "compute"
        places = self._reserve(stage, first) if stage.direct and len(items) == 1 else {}
        if stage.direct and places:
            first.outputs = stage.direct.run_into(first.inputs, places)
        else:
            for item, made in zip(items, run_joined(stage.session, [item.inputs for item in items]), strict=True):
                item.outputs = dict(made)

    def _leaving(self, stage: _Stage, item: _Item) -> tuple[_Leaving, ...]:
        """The transfers of the item's way by which the outputs of the stage leave."""
        return stage.leaving[self._way_of[item.address.transfer]]

    def _reserve(self, stage: _Stage, item: _Item) -> dict[str, Array]:
        """Places for outputs in the messages with which they leave, each in the first of them."""
        places: dict[str, Array] = {}
        fixed = stage.fixed
        for leaving in self._leaving(stage, item):
            new = [name for name in leaving.tensors if name in fixed and name not in places]
            if sum([fixed[name].nbytes for name in new]) < DIRECT_BYTES:
                continue
            specs = [fixed.get(name) or _spec(item.inputs.get(name)) for name in leaving.tensors]
            known = [spec for spec in specs if spec is not None]
            if len(known) == len(specs):
                arrays = self.endpoint.reserve(leaving.address(item.address), self.device, known)
                places.update((name, array) for name, array in zip(leaving.tensors, arrays or (), strict=False) if name in new)
        return places

    def _log(self, stage: _Stage, item: _Item, start_s: float, stop_s: float) -> bytes:
        """What has happened to the item so far."""
        log = self._logs.pop((item.address.sequence, -stage.number), [])
        if not item.error:
            log.append(log_row(item.kind, stage.number, self.device, start_s, stop_s, 0, ""))
        return join_logs(log)

    def _send(self, stage: _Stage, item: _Item, log: bytes) -> None:
        """Sends what each later stage needs. An error is sent in place of tensors, so that every later stage receives it."""
        of, error, tensors = item.address, item.error, {**item.inputs, **item.outputs}
        for leaving in self._leaving(stage, item):
            arrays: list[Any] = [] if error else [tensors.get(name) for name in leaving.tensors]
            for array in arrays:
                if not isinstance(array, _ARRAYS):
                    error, arrays = self._missing(stage, leaving, tensors), []
            peer = leaving.homes[of.sequence % len(leaving.homes)]
            place = self._caller if peer == CALLER_NAME else peer
            due = now = self._now()
            encoding = leaving.encoding if place != self.device else Encoding.NONE
            if place != self.device and self.shaper.has_link(place):
                due = self.shaper.due_s(place, expected_bytes(arrays, encoding), now)
            message = Message(leaving.address(of), self.device, tuple(arrays), error, now, due, log, encoding)
            send_or_fail(self.endpoint, peer, message, stage.number)
            self._monitor.count_sent(leaving.number)

    def _missing(self, stage: _Stage, leaving: _Leaving, tensors: Mapping[str, Any]) -> str:
        """Why the tensors of a transfer cannot be sent."""
        name = next(name for name in leaving.tensors if not isinstance(tensors.get(name), _ARRAYS))
        place = f"stage {stage.number} on '{self.device}'"
        if name not in tensors:
            return f"{place} did not make '{name}', which stage {leaving.target} needs"
        return f"{place} failed: output '{name}': expected an array, got {type(tensors[name]).__name__}"


def _spec(array: Array | None) -> ArraySpec | None:
    """What the transport has to know of an array that is there; None for texts, whose bytes are not those of the array."""
    if array is None or array.dtype.hasobject or array.dtype.kind in "US":
        return None
    return ArraySpec(array.dtype, array.shape)


def send_or_fail(endpoint: Endpoint, peer: str, message: Message, sender: str | int) -> None:
    """Sends the message, or in its place an error that names `sender` (a stage's number, or what is done), if its arrays cannot
    be sent: the item fails alone."""
    try:
        endpoint.send(peer, message)
    except Exception as error:  # values that no transport takes, such as objects, or no room for them
        name = sender if isinstance(sender, str) else f"stage {sender}"
        text = f"{name} on '{message.source}' failed: what it sends is refused: {type(error).__name__}: {one_line(error)}"
        endpoint.send(peer, message._replace(arrays=(), error=text))
