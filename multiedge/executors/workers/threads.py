"""A pipeline over stages that answer elsewhere: a thread per stage, which waits while a server or an actor computes.

What `remote` and `ray` share. An item goes to a stage when everything that the stage reads has arrived, so stages work
on different items at once. At most `depth` items are under way and each is queued once per stage, so no queue grows
beyond that. An item whose stage failed still visits the stages after it, which let it pass: it leaves no orphans.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from multiedge.errors import MissingDependencyError, MultiedgeError, PipelineError, require_least
from multiedge.executors.flow.contract import (
    Array,
    Closing,
    Record,
    Result,
    RunOptions,
    StageRunner,
    Tensors,
    require_inputs,
)
from multiedge.executors.flow.expected import default_depth
from multiedge.executors.flow.ledger import Ledger, Pending
from multiedge.executors.flow.routes import Routes
from multiedge.executors.flow.stage_clock import StageDeadlines
from multiedge.fleet import Fleet
from multiedge.measurements import Event, Fault, Memory
from multiedge.plan import CALLER, Manifest

TICK_S = 0.25
"""How long a thread waits before it looks whether the pipeline has been closed."""
JOIN_S = 1.0


class PatientRunner(StageRunner, Protocol):
    """A stage that tries again when its place fails. Used by one thread; `close` may come from another and ends `run`."""

    tries: int
    """How often the last item was sent."""


@dataclass
class Job:
    """An item on its way. `held` has each tensor under the stage that made it, `missing` what each stage waits for."""

    entry: Pending
    held: dict[tuple[int, str], Array]
    missing: Counter[int]
    events: list[Event] = field(default_factory=list)
    error: str = ""


@dataclass
class Lane:
    """One stage on one device: its handle, the items that wait for it, and the thread that takes them."""

    stage: int
    device: str
    runner: PatientRunner
    jobs: queue.Queue[Job]
    thread: threading.Thread | None = None


@dataclass(frozen=True)
class ThreadsOptions(RunOptions):
    """Options of every executor with a thread per stage: `remote` and `ray`.

    Attributes:
        depth: How many items may be in the pipeline at the same time; None: enough to keep every stage busy.
        record_events: Whether each action of a stage is recorded.
        deadlines: How long a stage may take for an item before it is sent again.

    Raises:
        ConfigError: If `depth` or `warmup_items` is too small.
    """

    depth: int | None = None
    record_events: bool = True
    deadlines: StageDeadlines = field(default_factory=StageDeadlines)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth is not None:
            require_least("depth", self.depth, 1)


class ThreadsExecutor(Closing):
    """Runs stages through the handles that `connect` gives. Devices are real here: nothing is emulated."""

    name = "threads"
    on_this_machine = False
    transport = "none"

    def __init__(self, manifest: Manifest, fleet: Fleet, options: ThreadsOptions) -> None:
        self.manifest, self.fleet, self.options = manifest, fleet, options
        self.routes = Routes.of(manifest)
        for device in self.routes.devices:
            fleet.device(device)
        self.ledger = Ledger(options.depth or default_depth(manifest, self.routes))
        self._entering = {stage: self.routes.entering(stage) for stage in range(CALLER, len(self.routes.parts))}
        self._lanes: dict[tuple[int, str], Lane] = {}
        self._finished: queue.Queue[Job] = queue.Queue(self.ledger.depth)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._events: list[Event] = []
        self._faults: list[Fault] = []

    def connect(self, stage: int, device: str) -> PatientRunner:
        """The handle of a stage, ready to run; MultiedgeError if it cannot be reached."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """What the results say about this way of running, on top of the options."""
        return {}

    def memory(self) -> tuple[Memory, ...]:
        """Nobody here sees into the devices."""
        method = f"not measured: the {self.name} executor does not see the device's process"
        return tuple(Memory(device, None, method=method) for device in self.routes.devices)

    def start(self) -> None:
        try:
            for stage, part in enumerate(self.routes.parts):
                for device in part.devices:
                    self._open_lane(stage, device)
        except BaseException:
            self.close()
            raise

    def _open_lane(self, stage: int, device: str) -> None:
        begin = time.monotonic()
        try:
            runner = self.connect(stage, device)
        except MissingDependencyError:
            raise
        except MultiedgeError as error:
            raise PipelineError(f"stage {stage} on '{device}' could not start: {error}") from error
        self._events.append(Event("load", -1, stage, device, begin, time.monotonic()))
        lane = Lane(stage, device, runner, queue.Queue(self.ledger.depth))
        self._lanes[stage, device] = lane
        lane.thread = threading.Thread(target=self._serve, args=(lane,), name=f"stage-{stage}-{device}", daemon=True)
        lane.thread.start()

    @property
    def has_room(self) -> bool:
        self._collect(0.0)
        return self.ledger.has_room

    @property
    def unanswered(self) -> int:
        return self.ledger.unanswered

    def submit(self, item: int, tensors: Tensors) -> None:
        given = require_inputs(self.manifest, item, tensors)
        if self._closing.is_set() or not self._lanes:
            raise PipelineError("the pipeline is not running: it was not started, or it is closed")
        while not self.ledger.has_room:
            self._collect(TICK_S)
        entry = self.ledger.enter(item, given, time.monotonic())
        missing = Counter({stage: len(numbers) for stage, numbers in self._entering.items()})
        job = Job(entry, {(CALLER, name): array for name, array in given.items()}, missing)
        self._pass_on(job, CALLER)

    def poll(self, timeout_s: float) -> list[Result]:
        return self.ledger.wait(self._collect, timeout_s, TICK_S)

    def mark(self) -> None:
        self._events = [event for event in self._events if event.kind == "load"]
        with self._lock:
            self._faults.clear()

    def record(self) -> Record:
        settings = {
            **self.options.as_settings(),
            "executor": self.name,
            "transport": self.transport,
            "depth": self.ledger.depth,
            "emulation": "none",
            "compute_times": "as seen from the caller: sending, waiting and receiving included",
            **self.settings(),
        }
        with self._lock:
            faults = tuple(self._faults)
        return Record(events=tuple(self._events), faults=faults, memory=self.memory(), settings=settings)

    def close(self) -> None:
        self._closing.set()
        for lane in self._lanes.values():
            lane.runner.close()
        until = time.monotonic() + JOIN_S
        for lane in self._lanes.values():
            if lane.thread is not None:
                lane.thread.join(max(0.0, until - time.monotonic()))
        self._lanes.clear()

    def note_fault(self, fault: Fault) -> None:
        """Adds to the record; for runners, from any thread."""
        with self._lock:
            self._faults.append(fault)

    def _serve(self, lane: Lane) -> None:
        while not self._closing.is_set():
            try:
                job = lane.jobs.get(timeout=TICK_S)
            except queue.Empty:
                continue
            if not job.error:
                self._run(lane, job)
            self._pass_on(job, lane.stage)

    def _run(self, lane: Lane, job: Job) -> None:
        """Adds what the stage made, and what it hands on unchanged, to what the job holds; or the job's error."""
        part = self.routes.parts[lane.stage]
        moves = [self.routes.transfers[number] for number in self._entering[lane.stage]]
        given = {name: job.held[move.source, name] for move in moves for name in move.tensors}
        begin = time.monotonic()
        try:
            made = {**given, **lane.runner.run({name: given[name] for name in part.inputs})}
            error = ""
        except Exception as raised:  # whatever the stage raises is the item's failure, not the pipeline's
            error = f"stage {lane.stage} on '{lane.device}' failed: {type(raised).__name__}: {' '.join(str(raised).split())}"
        with self._lock:
            job.entry.attempts += max(0, lane.runner.tries - 1)
            if error:
                job.error = job.error or error
                return
            job.held.update({(lane.stage, name): array for name, array in made.items()})
            job.events.append(Event("compute", job.entry.item, lane.stage, lane.device, begin, time.monotonic()))

    def _pass_on(self, job: Job, stage: int) -> None:
        """Queues the job at every stage for which `stage` was the last that it waited for."""
        due = []
        with self._lock:
            for number in self.routes.leaving(stage):
                target = self.routes.transfers[number].target
                job.missing[target] -= 1
                if job.missing[target] == 0:
                    due.append(target)
        for target in due:
            if target == CALLER:
                self._finished.put(job, timeout=TICK_S)
            else:
                self._lanes[target, self.routes.home(target, job.entry.sequence)].jobs.put(job, timeout=TICK_S)

    def _collect(self, timeout_s: float) -> None:
        """Answers the items that are complete, after waiting up to `timeout_s` for the first."""
        try:
            job = self._finished.get(timeout=timeout_s) if timeout_s > 0 else self._finished.get_nowait()
            while True:
                self._answer(job)
                job = self._finished.get_nowait()
        except queue.Empty:
            return

    def _answer(self, job: Job) -> None:
        if self.options.record_events:
            self._events += job.events
        moves = [self.routes.transfers[number] for number in self.routes.sinks]
        error = job.error
        tensors: dict[str, Array] | None = None
        if not error:
            made = {name: job.held[move.source, name] for move in moves for name in move.tensors}
            # Copies: what came over the wire is a read-only view of a message.
            tensors = {name: np.array(made[name]) for name in self.manifest.outputs if name in made}
        self.ledger.answer(job.entry, tensors, error, time.monotonic())
