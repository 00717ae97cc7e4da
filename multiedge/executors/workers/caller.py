"""The caller's side of workers: feeds items, collects answers, and has a supervisor that keeps the workers going.

It works in *epochs*: an epoch is one placement of the stages. When a device is lost or comes back, the workers enter the next
epoch, messages of the old one are void, and every unanswered item is sent again from the inputs that are kept here until it is
answered. So no item is lost, none is answered twice, and order does not depend on what failed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from multiedge.backends.stages import require_backend_options
from multiedge.errors import ConfigError, MultiedgeError, PipelineError, one_line
from multiedge.executors.flow.answers import Answer, Observer
from multiedge.executors.flow.contract import Array, Closing, Record, Result, Tensors, require_fallbacks, require_inputs
from multiedge.executors.flow.copies import Copies
from multiedge.executors.flow.expected import default_depth, most_depth
from multiedge.executors.flow.ledger import Ledger, Pending, joined, merged_log
from multiedge.executors.flow.routes import Routes
from multiedge.executors.flow.stage_loop import send_or_fail
from multiedge.executors.workers.handle import Launcher
from multiedge.executors.workers.observation import WorkerView
from multiedge.executors.workers.options import WorkersOptions
from multiedge.executors.workers.pool import WorkerPool
from multiedge.executors.workers.state import Rules
from multiedge.executors.workers.supervisor import TICK_S, Supervisor
from multiedge.fleet import CALLER_NAME, Encoding, Fleet, Link
from multiedge.measurements import Event, Memory
from multiedge.onnx_io.stated import is_composed
from multiedge.plan import CALLER, Manifest
from multiedge.transports.coding import expected_bytes
from multiedge.transports.links import LinkShaper, Mailbox
from multiedge.transports.message import Address, Endpoint, Message, join_logs, log_row

if TYPE_CHECKING:
    from multiedge.executors.flow.otel import Spans


class WorkersExecutor(Closing):
    """Runs a manifest's parts in one worker per device, all stages at the same time; each worker sends straight to the next.

    Subclasses start with an endpoint and a launcher of workers: see `begin`.
    """

    name: ClassVar[str]
    """That of the executor, for results."""
    pool: WorkerPool
    transport: str

    def __init__(self, manifest: Manifest, fleet: Fleet, options: WorkersOptions) -> None:
        require_backend_options(fleet, options.backends, manifest.part_files)
        self.manifest, self.fleet = manifest, fleet
        self._options = options
        self.routes = Routes.of(manifest)
        for name in self.routes.devices:
            fleet.device(name)
        require_fallbacks(manifest, fleet, options.fallbacks)
        if options.micro_batch > 1 and any(map(is_composed, manifest.part_files)):
            raise ConfigError("micro_batch: has no effect on a workflow; give its steps a `batch` in the workflow.yaml")
        self.epoch = 0
        most = most_depth(self.routes)
        if options.depth and options.depth > most:
            raise ConfigError(f"depth: expected at most {most} for this plan, got {options.depth}")
        self.ledger = Ledger(options.depth or min(most, default_depth(manifest, self.routes)), in_order=options.in_order)
        self._endpoint: Endpoint | None = None
        self._supervisor: Supervisor | None = None
        self._mailbox = Mailbox()
        self._copies = Copies()
        self.shaper = LinkShaper(CALLER_NAME, {}, options.seed)
        self.observers: list[Observer] = []
        """Who is told of each answer."""
        self._spans: Spans | None = None
        self._events: list[Event] = []
        self._tensors_of: dict[int, tuple[str, ...]] = {}
        self._sent: Counter[int] = Counter()
        self._on_way = [0] * self.routes.count
        self._taken: Counter[int] = Counter()
        self._cpu_before_s: dict[str, float] = {}
        self.ended = ""
        self._held: list[Pending] = []
        self._before_held: set[int] = set()

    def begin(self, launcher: Launcher, *, shapes_links: bool, limits_memory: bool) -> None:
        """Starts every worker and loads every stage; `open_endpoint` comes before. Raises PipelineError that names what could
        not be started."""
        options = self._options
        if options.otel:
            from multiedge.executors.flow.otel import Spans

            self._spans = Spans()
            self.observers.append(self._spans)
        self.pool = WorkerPool(self.fleet, launcher)
        rules = Rules(
            self.fleet,
            self.manifest,
            options.deadlines,
            options.fallbacks,
            shapes_links=shapes_links,
            limits_memory=limits_memory,
            can_replan=options.replan is not None,
        )
        self._supervisor = Supervisor(rules, self.pool, self, options.trace, options.replan)
        self._supervisor.start()

    def open_endpoint(self, endpoint: Endpoint) -> None:
        """From now on messages come and go by this endpoint, which `close` closes."""
        self._endpoint = endpoint

    def settings(self, memory: tuple[Memory, ...]) -> dict[str, Any]:
        """What results state of this executor alone; `memory` is of the devices that took part."""
        raise NotImplementedError

    def forget(self, before_epoch: int) -> None:
        """Drops what belongs to earlier epochs."""
        self.endpoint.forget(before_epoch)

    @property
    def endpoint(self) -> Endpoint:
        if self._endpoint is None:
            raise PipelineError("the pipeline is not running: it was not started, or it is closed")
        return self._endpoint

    @property
    def supervisor(self) -> Supervisor:
        if self._supervisor is None or self._endpoint is None:
            raise PipelineError("the pipeline is not running: it was not started, or it is closed")
        return self._supervisor

    @property
    def has_room(self) -> bool:
        return self.ledger.has_room

    @property
    def unanswered(self) -> int:
        return self.ledger.unanswered

    def submit(self, item: int, tensors: Tensors) -> None:
        inputs = require_inputs(self.manifest, item, tensors)
        while not self.ledger.has_room:
            self._pump(TICK_S)
        entry = self.ledger.enter(item, inputs, time.monotonic())
        if self.ended:
            self._answer(entry, None, self.ended, time.monotonic())
        elif self.supervisor.state.is_running:
            self._send(entry)
        self.supervisor.look(is_idle=False)

    def poll(self, timeout_s: float) -> list[Result]:
        return self.ledger.wait(self._pump, timeout_s, TICK_S)

    def wake(self) -> None:
        self.ledger.wake()
        if self._endpoint is not None:
            self._endpoint.wake()

    def mark(self) -> None:
        self._events = [event for event in self._events if event.kind == "load"]
        self._cpu_before_s = self.pool.cpu_s()
        self.supervisor.begin_trace()

    def record(self) -> Record:
        self.supervisor.take_answers()
        memory = self.pool.memory()
        settings: dict[str, Any] = {
            **self._options.as_settings(),
            "executor": self.name,
            "transport": self.transport,
            "depth": self.ledger.depth,
            "providers": {each.device: each.provider for each in self.supervisor.runtimes},
            **self.settings(memory),
        }
        cpu_s = {name: max(0.0, spent - self._cpu_before_s.get(name, 0.0)) for name, spent in self.pool.cpu_s().items()}
        return Record(
            tuple(self._events),
            self.supervisor.faults,
            memory,
            settings,
            self.ledger.duplicates_dropped,
            cpu_s,
            runtimes=self.supervisor.runtimes,
        )

    def close(self) -> None:
        if hasattr(self, "pool"):
            self.pool.close()
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None
        if self._spans is not None:
            self._spans.close()
            self._spans = None

    def set_link(self, source: str, target: str, link: Link) -> None:
        """The link from one device to another is now `link`, also for the caller if it is known to be at one of them."""
        emulated = self.pool.set_link(source, target, link)
        if source == self.fleet.source:
            self.shaper.change(target, emulated)
        elif target == self.fleet.source:
            self._mailbox.restore(source, emulated, time.monotonic())

    # -- for the supervisor ---------------------------------------------------------------------------------------------

    def view(self, transfers: int) -> WorkerView:
        numbers = range(transfers)
        sent, taken = [self._sent[number] for number in numbers], [self._taken[number] for number in numbers]
        return WorkerView(age_s=0.0, silent_s=0.0, sent=sent, taken=taken)

    def record_event(self, event: Event) -> None:
        self._events.append(event)

    def enter_epoch(self, epoch: int, routes: Routes, suspected: Collection[int]) -> None:
        self.epoch, self.routes = epoch, routes
        self._tensors_of = {number: move.tensors for number, move in enumerate(routes.transfers)}
        self._sent.clear()
        self._on_way = [0] * routes.count
        self._taken.clear()
        self._mailbox.clear()
        self.forget(epoch)
        unanswered = self.ledger.start_over()
        self._held = [entry for entry in unanswered if entry.sequence in suspected]
        self._before_held = {entry.sequence for entry in unanswered}.difference(suspected)
        for entry in unanswered:
            if entry.sequence in self._before_held:
                self._send(entry)

    def fail_item(self, sequence: int, error: str) -> None:
        if sequence in self.ledger.open:
            self._answer(self.ledger.open[sequence], None, error, time.monotonic())

    def end_run(self, error: str) -> None:
        self.ended = error
        for sequence in sorted(self.ledger.open):
            self.fail_item(sequence, error)

    # -- items ----------------------------------------------------------------------------------------------------------

    def _send(self, entry: Pending) -> None:
        """Gives an item's inputs to every stage of its way that reads them."""
        entry.way = way = self.routes.next_way(self._on_way)
        self._on_way[way] += 1
        for number in self.routes.leaving(CALLER, way):
            move = self.routes.transfers[number]
            arrays = tuple(entry.tensors[name] for name in move.tensors)
            now = time.monotonic()
            peer = self.routes.home(move.target, entry.sequence, way)
            encoding = move.encoding if peer != self.fleet.source else Encoding.NONE
            due = self.shaper.due_s(peer, expected_bytes(arrays, encoding), now)
            address = Address(self.epoch, number, entry.ticket, entry.sequence)
            message = Message(address, CALLER_NAME, arrays, "", now, due, encoding=encoding)
            try:
                send_or_fail(self.endpoint, peer, message, "sending the inputs")
            except (OSError, MultiedgeError, MemoryError) as error:  # not even the error could be sent
                self.fail_item(entry.sequence, f"sending the inputs failed: {type(error).__name__}: {one_line(error)}")
                return
            self._sent[number] += 1

    def _pump(self, timeout_s: float) -> None:
        """Takes what has arrived, after waiting up to `timeout_s`, and lets the supervisor observe."""
        next_s = min(self.supervisor.next_look_s, self._mailbox.next_due_s())
        arrived = self.endpoint.receive(min(timeout_s, max(0.0, next_s - time.monotonic())))
        now = time.monotonic()
        for message in self._mailbox.sort(arrived, now):
            if message.address.epoch != self.epoch:
                continue
            self._taken[message.address.transfer] += 1
            if self._options.record_events and message.arrays:
                stop = max(message.due_s, message.sent_s) if message.due_s > message.sent_s else max(now, message.sent_s)
                row = log_row("transfer", CALLER, message.source, message.sent_s, stop, message.nbytes, CALLER_NAME)
                message = message._replace(log=join_logs((message.log, row)))
            entry = self.ledger.accept(message, self.routes.sinks[self.routes.way(message.address.transfer)])
            if entry is not None:
                self._complete(entry)
        self._send_held()
        self.supervisor.look(is_idle=not arrived)
        self.looked()

    def looked(self) -> None:
        """Called after each look at workers and arrivals."""

    def _send_held(self) -> None:
        """Sends the items that may end a worker, once those that were unanswered with them are answered."""
        if self._held and self._before_held.isdisjoint(self.ledger.open):
            held, self._held = self._held, []
            for entry in held:
                if entry.sequence in self.ledger.open:
                    self._send(entry)

    def _complete(self, entry: Pending) -> None:
        now = time.monotonic()
        tensors, error = joined(entry, self._tensors_of, self.manifest.outputs, self._copies.of)
        events = merged_log(entry)
        for event in events:
            if event.kind == "compute":
                self.supervisor.count_compute(event.stage, event.device, event.seconds)
            self._events.append(event)
        self._answer(entry, None if error else tensors, error, now, events)
        for message in entry.got.values():
            self.endpoint.release(message.address)
        self.supervisor.count_answer(entry.sequence, now, is_error=bool(error), way=entry.way)

    def _answer(
        self, entry: Pending, tensors: dict[str, Array] | None, error: str, now_s: float, events: Sequence[Event] = ()
    ) -> None:
        self.ledger.answer(entry, tensors, error, now_s)
        if self.observers:
            answer = Answer(entry.item, entry.issued_s, now_s, error, entry.attempts, tuple(events))
            for each in self.observers:
                each.answered(answer)
