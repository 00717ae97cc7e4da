"""The work of one device: take messages, run the stages whose inputs are complete, send on what they made.

Single-threaded and free of clocks other than the monotonic one, so that a test can step it.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence

import numpy as np

from multiedge.backends.contract import Array, Session
from multiedge.executors.flow.routes import Routes
from multiedge.executors.workers.board import BUSY_SEQUENCE, BUSY_SINCE_S, BUSY_STAGE, Board
from multiedge.executors.workers.emulation import Pace
from multiedge.plan import CALLER
from multiedge.transports.links import LinkShaper, Mailbox
from multiedge.transports.message import Address, Endpoint, Message, join_logs, log_row

CALLER_NAME = "caller"
"""The caller's name as a peer."""


class StageLoop:
    """One device's stages. An item's oldest waiting stage runs first, so items leave in the order in which they came."""

    def __init__(
        self, device: str, endpoint: Endpoint, shaper: LinkShaper, board: Board, *, caller: str, micro_batch: int, record: bool
    ) -> None:
        self.device, self.endpoint, self.shaper, self.board = device, endpoint, shaper, board
        self.pace = Pace()
        self.mailbox = Mailbox()
        self._caller, self._micro_batch, self._record = caller, micro_batch, record
        self._epoch = 0
        self._routes = Routes((), ())
        self._sessions: Mapping[int, Session] = {}
        self._waiting: dict[tuple[int, int], dict[int, Message]] = {}
        self._logs: dict[tuple[int, int], list[bytes]] = {}
        self._ready: list[tuple[int, int]] = []
        self._idle_since_s = time.monotonic()

    def configure(self, epoch: int, routes: Routes, sessions: Mapping[int, Session]) -> None:
        """Begins an epoch; everything of earlier ones is dropped."""
        self._epoch, self._routes, self._sessions = epoch, routes, sessions
        self._entering = {stage: set(routes.entering(stage)) for stage in sessions}
        self._leaving = {stage: routes.leaving(stage) for stage in sessions}
        for held in (self._waiting, self._logs, self._ready):
            held.clear()
        self.mailbox.clear()
        self.endpoint.forget(epoch)
        self.board.clear_counts(len(routes.transfers))

    def step(self, timeout_s: float) -> bool:
        """Runs at most one stage, after waiting up to `timeout_s` for something to do; whether it did."""
        self._receive(0.0 if self._ready else min(timeout_s, self.mailbox.next_due_s() - time.monotonic()))
        if not self._ready:
            return False
        sequence, stage = heapq.heappop(self._ready)
        stage = -stage
        batch = [sequence, *self._company(stage)]
        self._run(stage, [self._waiting.pop((stage, number)) for number in batch], batch)
        self._idle_since_s = time.monotonic()
        return True

    def _receive(self, timeout_s: float) -> None:
        for message in self.endpoint.receive(timeout_s):
            if message.address.epoch == self._epoch:
                self.mailbox.put(message)
        now = time.monotonic()
        for message in self.mailbox.take(now):
            self._deliver(message, now)

    def _deliver(self, message: Message, now_s: float) -> None:
        number = message.address.transfer
        self.board.taken[number] += 1
        move = self._routes.transfers[number]
        key = (move.target, message.address.sequence)
        if self._record:
            arrived = now_s if self._idle_since_s <= message.sent_s else message.due_s
            stop = max(message.sent_s, arrived)
            row = log_row("transfer", move.target, message.source, message.sent_s, stop, message.nbytes, self.device)
            self._logs.setdefault(key, []).extend((message.log, row))
        got = self._waiting.setdefault(key, {})
        got[number] = message
        if got.keys() >= self._entering[move.target]:
            heapq.heappush(self._ready, (message.address.sequence, -move.target))

    def _company(self, stage: int) -> list[int]:
        """Further items that wait for the same stage, taken out of the queue for a micro-batch."""
        found: list[int] = []
        if self._micro_batch > 1 and getattr(self._sessions[stage], "batch_is_free", False):
            for entry in sorted(self._ready):
                if entry[1] == -stage and len(found) + 1 < self._micro_batch:
                    found.append(entry[0])
            for sequence in found:
                self._ready.remove((sequence, -stage))
            heapq.heapify(self._ready)
        return found

    def _run(self, stage: int, got: Sequence[dict[int, Message]], sequences: Sequence[int]) -> None:
        """Computes one item, or several joined into one batch, and sends each on its way."""
        given = [self._tensors(messages) for messages in got]
        failed = [next((m.error for m in messages.values() if m.error), "") for messages in got]
        cells, start = self.board.cells, self.pace.begin()
        cells[BUSY_STAGE], cells[BUSY_SEQUENCE], cells[BUSY_SINCE_S] = stage, sequences[0], start
        sound = [place for place, error in enumerate(failed) if not error]
        made: list[dict[str, Array]] = [{} for _ in got]
        try:
            answers = run_joined(self._sessions[stage], [given[place] for place in sound])
            for place, answer in zip(sound, answers, strict=True):
                made[place] = answer
        except Exception as error:  # whatever the runtime raises is the items' failure, not the worker's
            text = f"stage {stage} on '{self.device}' failed: {type(error).__name__}: {' '.join(str(error).split())}"
            if len(sound) > 1:
                # One bad item must not fail the others that were joined with it.
                for messages, sequence in zip(got, sequences, strict=True):
                    self._run(stage, [messages], [sequence])
                return
            failed = [error_before or text for error_before in failed]
        if sound:
            self.pace.stretch()
        stop = time.monotonic()
        cells[BUSY_SINCE_S] = 0.0
        for place, sequence in enumerate(sequences):
            log = self._logs.pop((stage, sequence), [])
            if self._record and not failed[place]:
                log.append(log_row("compute", stage, self.device, start, stop, 0, ""))
            address = next(iter(got[place].values())).address
            self._send(stage, address, {**given[place], **made[place]}, failed[place], join_logs(log))
        for message in (message for messages in got for message in messages.values()):
            self.endpoint.release(message.address)

    def _tensors(self, messages: Mapping[int, Message]) -> dict[str, Array]:
        names = self._routes.transfers
        return {
            name: array
            for number, message in messages.items()
            if not message.error
            for name, array in zip(names[number].tensors, message.arrays, strict=True)
        }

    def _send(self, stage: int, address: Address, tensors: Mapping[str, Array], error: str, log: bytes) -> None:
        """Sends what each later stage needs. A failure travels as the tensors would, so that every end hears of it."""
        for number in self._leaving[stage]:
            move = self._routes.transfers[number]
            missing = [name for name in move.tensors if name not in tensors]
            if missing and not error:
                error = f"stage {stage} on '{self.device}' did not make '{missing[0]}', which stage {move.target} needs"
            arrays = () if error else tuple(tensors[name] for name in move.tensors)
            peer = CALLER_NAME if move.target == CALLER else self._routes.home(move.target, address.sequence)
            now = time.monotonic()
            place = self._caller if peer == CALLER_NAME else peer
            due = now if place == self.device else self.shaper.due_s(place, sum(array.nbytes for array in arrays), now)
            target = Address(address.epoch, number, address.ticket, address.sequence)
            self.endpoint.send(peer, Message(target, self.device, arrays, error, now, due, log))
            self.board.sent[number] += 1


def run_joined(session: Session, items: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """The outputs of each item; several are joined along their first axis, run once and taken apart again."""
    if len(items) <= 1:
        return [session.run(item) for item in items]
    counts = [len(item[session.inputs[0]]) for item in items]
    joined = session.run({name: np.concatenate([item[name] for item in items]) for name in session.inputs})
    ends = np.cumsum(counts)[:-1]
    parts = {name: np.split(array, ends) for name, array in joined.items()}
    return [{name: pieces[place] for name, pieces in parts.items()} for place in range(len(items))]
