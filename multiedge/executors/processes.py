"""One worker process per device, all stages busy at once: the default executor.

Each device's worker sends straight to the next one; this side feeds items, collects answers, and watches. It works in
*epochs*: an epoch is one placement of the stages. When a device is lost or comes back, the workers that remain agree
on the next epoch, messages of the old one are void, and every unanswered item is sent again from the inputs that are
kept here until it is answered. So no item is lost, none is answered twice, and order does not depend on what failed.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from multiedge.backends.stages import require_backend_options
from multiedge.errors import ConfigError, PipelineError
from multiedge.executors.flow.contract import Closing, Record, Result, Tensors, require_inputs
from multiedge.executors.flow.expected import default_depth, expected_seconds, most_depth
from multiedge.executors.flow.ledger import Ledger, Pending, joined, merged_log
from multiedge.executors.flow.routes import Routes
from multiedge.executors.flow.stage_clock import StageClock
from multiedge.executors.flow.stage_loop import CALLER_NAME
from multiedge.executors.workers.crew import Crew
from multiedge.executors.workers.options import ProcessesOptions
from multiedge.executors.workers.recovery import Recovery
from multiedge.fleet import Fleet, Link
from multiedge.measurements import Event
from multiedge.plan import CALLER, Manifest
from multiedge.transports import TRANSPORTS, rundir
from multiedge.transports.links import LinkShaper, Mailbox
from multiedge.transports.message import Address, Endpoint, Message, join_logs, log_row
from multiedge.transports.namespaces import Network
from multiedge.transports.tcp import set_hosts

TICK_S = 0.02
"""How often workers are looked at."""


class ProcessesExecutor(Closing):
    """Runs a manifest's parts in spawned workers on this machine, emulating the fleet as far as the options ask."""

    options_type = ProcessesOptions

    def __init__(self, manifest: Manifest, fleet: Fleet, options: ProcessesOptions) -> None:
        require_backend_options(fleet, options.backends)
        self.manifest, self.fleet, self.options = manifest, fleet, options
        self.slows_down = options.emulation.speed or options.emulation.quota
        self.routes = Routes.of(manifest)
        for name in self.routes.devices:
            fleet.device(name)
        self.epoch = 0
        self.directory: Path | None = None
        most = most_depth(self.routes)
        if options.depth and options.depth > most:
            raise ConfigError(f"depth: expected at most {most} for this plan, got {options.depth}")
        self.ledger = Ledger(options.depth or min(most, default_depth(manifest, self.routes)))
        self.clock = StageClock(options.deadlines, expected_seconds(manifest))
        self.transport = pick_transport(options)
        self._network: Network | None = None
        self._endpoint: Endpoint | None = None
        self._mailbox = Mailbox()
        self._shaper = LinkShaper(CALLER_NAME, {}, options.seed)
        self._events: list[Event] = []
        self._looked_s = 0.0
        self._tensors_of: dict[int, tuple[str, ...]] = {}
        self.sent: Counter[int] = Counter()
        self.taken: Counter[int] = Counter()
        """What the caller has sent and taken in this epoch, by transfer, as a worker's board says it of the worker."""

    def start(self) -> None:
        endpoint_class = TRANSPORTS.load(self.transport)
        self.directory = rundir.make()
        try:
            if self.options.emulation.namespaces:
                self._network = Network(self.fleet, CALLER_NAME)
                set_hosts(self.directory, self._network.hosts)
            self._endpoint = endpoint_class(self.directory, CALLER_NAME)
            self.crew = Crew(self.directory, self.fleet, self.options, self.transport, self.routes.devices, self._network)
            for name, link in self.crew.caller_links().items():
                self._shaper.change(name, link)
            self.recovery = Recovery(self)
            self.recovery.first_epoch()
        except BaseException:
            self.close()
            raise

    @property
    def endpoint(self) -> Endpoint:
        if self._endpoint is None:
            raise PipelineError("the pipeline is not running: it was not started, or it is closed")
        return self._endpoint

    @property
    def has_room(self) -> bool:
        return self.ledger.has_room

    @property
    def unanswered(self) -> int:
        return self.ledger.unanswered

    def submit(self, item: int, tensors: Tensors) -> None:
        given = require_inputs(self.manifest, item, tensors)
        while not self.ledger.has_room:
            self._pump(TICK_S)
        entry = self.ledger.enter(item, given, time.monotonic())
        if self.recovery.running:
            self._send(entry)
        self._look()

    def poll(self, timeout_s: float) -> list[Result]:
        return self.ledger.wait(self._pump, timeout_s, TICK_S)

    def mark(self) -> None:
        self._events = [event for event in self._events if event.kind == "load"]
        self.recovery.begin_trace(time.monotonic())

    def record(self) -> Record:
        return Record(
            events=tuple(self._events),
            faults=self.recovery.faults(),
            memory=tuple(self.crew.memory()),
            settings=self._settings(),
            duplicates_dropped=self.ledger.duplicates_dropped,
        )

    def _settings(self) -> dict[str, Any]:
        return {
            **self.options.as_settings(),
            "executor": "processes",
            "transport": self.transport,
            "depth": self.ledger.depth,
            "emulated": self.crew.emulated(),
        }

    def close(self) -> None:
        if hasattr(self, "crew"):
            self.crew.close()
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None
        if self._network is not None:
            self._network.close()
            self._network = None
        if self.directory is not None:
            rundir.remove(self.directory)
            self.directory = None

    def note(self, event: Event) -> None:
        self._events.append(event)

    def enter_epoch(self, routes: Routes) -> None:
        """Makes `routes` the ones in force; messages of earlier epochs are void from now on."""
        self.routes = routes
        self._tensors_of = {number: move.tensors for number, move in enumerate(routes.transfers)}
        self.sent.clear()
        self.taken.clear()
        self._mailbox.clear()
        self.endpoint.forget(self.epoch)
        if self.directory is not None:
            for path in self.directory.glob("slot-*"):
                if int(path.name.split("-")[1]) < self.epoch:
                    path.unlink(missing_ok=True)

    def change_link(self, device: str, link: Link) -> None:
        """The link from the caller's place to `device` is now `link`."""
        self._shaper.change(device, self.crew.in_process(link))

    def send_again(self) -> None:
        """Sends every unanswered item, oldest first."""
        for entry in self.ledger.start_over():
            self._send(entry)

    def fail(self, entry: Pending, error: str) -> None:
        self.ledger.answer(entry, None, error, time.monotonic())

    def _send(self, entry: Pending) -> None:
        """Gives an item's inputs to every stage that reads them."""
        for number, move in enumerate(self.routes.transfers):
            if move.source == CALLER:
                arrays = tuple(entry.tensors[name] for name in move.tensors)
                now = time.monotonic()
                peer = self.routes.home(move.target, entry.sequence)
                due = self._shaper.due_s(peer, sum(array.nbytes for array in arrays), now)
                address = Address(self.epoch, number, entry.ticket, entry.sequence)
                self.endpoint.send(peer, Message(address, CALLER_NAME, arrays, "", now, due))
                self.sent[number] += 1

    def _pump(self, timeout_s: float) -> None:
        """Takes what has arrived, after waiting up to `timeout_s`, and looks after the workers now and then."""
        wait_s = min(timeout_s, max(0.0, self._mailbox.next_due_s() - time.monotonic()))
        for message in self.endpoint.receive(wait_s):
            if message.address.epoch == self.epoch:
                self._mailbox.put(message)
        now = time.monotonic()
        for message in self._mailbox.take(now):
            self.taken[message.address.transfer] += 1
            if self.options.record_events and message.arrays:
                stop = max(message.due_s, message.sent_s) if message.due_s > message.sent_s else now
                row = log_row("transfer", CALLER, message.source, message.sent_s, stop, message.nbytes, CALLER_NAME)
                message = message._replace(log=join_logs((message.log, row)))
            entry = self.ledger.accept(message, self.routes.sinks)
            if entry is not None:
                self._complete(entry)
        self._look()

    def _complete(self, entry: Pending) -> None:
        now = time.monotonic()
        tensors, error = joined(entry, self._tensors_of, self.manifest.outputs)
        for event in merged_log(entry):
            if event.kind == "compute":
                self.clock.saw(event.stage, event.device, event.seconds)
            self.note(event)
        self.ledger.answer(entry, None if error else tensors, error, now)
        for message in entry.got.values():
            self.endpoint.release(message.address)
        self.recovery.answered(now)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked_s >= TICK_S:
            self._looked_s = now
            self.recovery.look(now)


def pick_transport(options: ProcessesOptions) -> str:
    """The transport to use where the options leave it open; ConfigError for one that cannot cross network namespaces."""
    if options.emulation.namespaces:
        if options.transport not in ("auto", "tcp"):
            raise ConfigError(
                f"transport: expected 'tcp' between network namespaces, got '{options.transport}'; leave it at 'auto'"
            )
        return "tcp"
    if options.transport == "auto":
        return "shared-memory" if rundir.has_shared_memory() else "pipe"
    return options.transport
