"""A pipeline whose stages run elsewhere: one thread per stage, which waits while a server or an actor computes.

`remote` and `ray` share it. A stage gets an item when everything that it reads has arrived, so stages work on different
items at the same time. At most `depth` items are under way and each is queued once per stage, which bounds every queue. An
item whose stage failed is passed through the stages after it without being run, so that no stage waits for it.

What a stage makes for others stays where it was made, if its runner can leave it there: the caller then passes on a reference
in place of the array, and the next stage gets the array from there. If that is lost, the stage that made it runs again.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Protocol

import numpy as np

from multiedge.composed import VOID
from multiedge.errors import MissingDependencyError, MultiedgeError, PipelineError, StageError, require_least
from multiedge.executors.flow.contract import (
    Array,
    Closing,
    Record,
    Result,
    RunOptions,
    Tensors,
    answer_of,
    failure,
    has_nothing,
    require_inputs,
)
from multiedge.executors.flow.expected import default_depth
from multiedge.executors.flow.ledger import Ledger, Pending
from multiedge.executors.flow.routes import Routes
from multiedge.executors.flow.stage_clock import StageDeadlines
from multiedge.fleet import Fleet
from multiedge.measurements import Event, Fault, Memory, RanStage
from multiedge.plan import CALLER, Manifest, Part

TICK_S = 0.25
"""How long a thread waits before it checks whether the pipeline has been closed."""
JOIN_S = 1.0


Held = Any
"""An array, or what a runner passes in its place: a reference to one that stays where it was made."""


Again = Callable[[], None]
"""Called each time that an item is sent once more."""


class LostInputsError(StageError):
    """References that lead to nothing any more; `names` are the inputs."""

    def __init__(self, names: Iterable[str], reason: str) -> None:
        self.names = tuple(names)
        super().__init__(f"{', '.join(self.names)} cannot be fetched: {reason}")


class StageRunner(Protocol):
    """A stage elsewhere, tried again when its server or actor fails. Safe for use from several threads."""

    @property
    def takes_references(self) -> bool:
        """Whether `run` takes references of the executor's other runners, and leaves outputs that are not wanted in place."""
        ...

    def run(self, tensors: Mapping[str, Held], wanted: Collection[str], again: Again) -> dict[str, Held]:
        """The stage's outputs; those in `wanted` are arrays. Raises LostInputsError, and what the stage raises."""
        ...

    def close(self) -> None:
        """Also ends each `run`."""
        ...


@dataclass
class Job:
    """An item under way: its tensors by the stage that made them and their name, and how many transfers each stage lacks."""

    entry: Pending
    tensors: dict[tuple[int, str], Held]
    missing: Counter[int]
    events: list[Event] = field(default_factory=list)
    error: str = ""

    def arrive(self, targets: Iterable[int]) -> list[int]:
        """Counts one transfer to each of the targets; those that lack none from now on."""
        ready = []
        for target in targets:
            self.missing[target] -= 1
            if self.missing[target] == 0:
                ready.append(target)
        return ready


@dataclass
class StageThread:
    """One stage on one device, the items that wait for it, and the threads that run them."""

    stage: int
    device: str
    runner: StageRunner
    jobs: queue.Queue[Job]
    threads: list[threading.Thread] = field(default_factory=list)


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
    """Runs stages through the runners that `connect` gives. Devices are real here: nothing is emulated."""

    name = "threads"
    on_this_machine = False
    transport = "none"
    lanes = 1
    """Items that a stage may have at the same time, one if it has states: of two, one travels while the other is computed."""

    def __init__(self, manifest: Manifest, fleet: Fleet, options: ThreadsOptions) -> None:
        self.manifest, self.fleet, self.options = manifest, fleet, options
        self.routes = Routes.of(manifest)
        for device in self.routes.devices:
            fleet.device(device)
        self.ledger = Ledger(options.depth or default_depth(manifest, self.routes))
        self._lacking = [
            Counter(move.target for number, move in enumerate(self.routes.transfers) if self.routes.way(number) == way)
            for way in range(self.routes.count)
        ]
        self._on_way = [0] * self.routes.count
        self._threads: dict[tuple[int, str], StageThread] = {}
        self._complete: queue.Queue[Job] = queue.Queue(self.ledger.depth)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._events: list[Event] = []
        self._by_caller: tuple[tuple[int, int], ...] = ()
        self._faults: list[Fault] = []

    def connect(self, stage: int, device: str) -> StageRunner:
        """The runner of a stage, ready to run; MultiedgeError if it cannot be reached."""
        raise NotImplementedError

    def _without_gpu(self, memory: Memory) -> Memory:
        """The same, which states of a device with a GPU that its GPU memory is not measured."""
        has_gpu = self.fleet.device(memory.device).gpu is not None
        return replace(memory, gpu_method=f"not measured by the {self.name} executor") if has_gpu else memory

    def release(self, references: Iterable[Held]) -> None:
        """Nothing reads these references any more."""

    def settings(self) -> dict[str, Any]:
        """What the results hold on this executor beside its options."""
        return {}

    def runtimes(self) -> tuple[RanStage, ...]:
        """What computes the stages, as far as it is known here."""
        return ()

    def memory(self) -> tuple[Memory, ...]:
        """Not measured: the devices' processes are not visible from here."""
        method = f"not measured: the {self.name} executor does not see the device's process"
        return tuple(Memory(device, None, method=method) for device in self.routes.devices)

    def start(self) -> None:
        try:
            for stage, part in enumerate(self.routes.parts):
                for device in part.devices:
                    self._start_thread(stage, device)
        except BaseException:
            self.close()
            raise
        stages = range(len(self.routes.parts))
        self._by_caller = tuple(hop for hop in combinations(stages, 2) if not self._is_direct(*hop))

    def _is_direct(self, *stages: int) -> bool:
        """Whether tensors go from one of these stages to the other without the caller."""
        return all(thread.runner.takes_references for (stage, _), thread in self._threads.items() if stage in stages)

    def _start_thread(self, stage: int, device: str) -> None:
        begin = time.monotonic()
        try:
            runner = self.connect(stage, device)
        except MissingDependencyError:
            raise
        except MultiedgeError as error:
            raise PipelineError(f"stage {stage} on '{device}' could not start: {error}") from error
        self._events.append(Event("load", -1, stage, device, begin, time.monotonic()))
        worker = StageThread(stage, device, runner, queue.Queue(self.ledger.depth))
        self._threads[stage, device] = worker
        # Steps of a sequence must not overtake each other.
        for _ in range(1 if self.routes.parts[stage].states else self.lanes):
            thread = threading.Thread(target=self._serve, args=(worker,), name=f"stage-{stage}-{device}", daemon=True)
            worker.threads.append(thread)
            thread.start()

    @property
    def has_room(self) -> bool:
        self._collect(0.0)
        return self.ledger.has_room

    @property
    def unanswered(self) -> int:
        return self.ledger.unanswered

    def submit(self, item: int, tensors: Tensors) -> None:
        given = require_inputs(self.manifest, item, tensors)
        if self._closing.is_set() or not self._threads:
            raise PipelineError("the pipeline is not running: it was not started, or it is closed")
        while not self.ledger.has_room:
            self._collect(TICK_S)
        entry = self.ledger.enter(item, given, time.monotonic())
        entry.way = self.routes.next_way(self._on_way)
        self._on_way[entry.way] += 1
        job = Job(entry, {(CALLER, name): array for name, array in given.items()}, self._lacking[entry.way].copy())
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
        return Record(
            events=tuple(self._events),
            faults=faults,
            memory=tuple(map(self._without_gpu, self.memory())),
            settings=settings,
            by_caller=self._by_caller,
            runtimes=self.runtimes(),
        )

    def close(self) -> None:
        self._closing.set()
        for worker in self._threads.values():
            worker.runner.close()
        until = time.monotonic() + JOIN_S
        for worker in self._threads.values():
            for thread in worker.threads:
                thread.join(max(0.0, until - time.monotonic()))
        self._threads.clear()

    def note_fault(self, fault: Fault) -> None:
        """Adds to the record; for runners, from any thread."""
        with self._lock:
            self._faults.append(fault)

    def _serve(self, worker: StageThread) -> None:
        while not self._closing.is_set():
            try:
                job = worker.jobs.get(timeout=TICK_S)
            except queue.Empty:
                continue
            if not job.error:
                self._run(worker, job, self.routes.parts[worker.stage])
            self._pass_on(job, worker.stage)

    def _run(self, worker: StageThread, job: Job, part: Part) -> None:
        """Adds to the job what the stage made, and what it passes on unchanged; or the error."""
        begin, kind = time.monotonic(), "compute"
        try:
            if self._has_nothing(worker.stage, job):
                made, error, kind = dict.fromkeys(part.outputs, VOID), "", "skip"
            else:
                made, error = self._made(worker, job, self._wanted(worker.stage)), ""
        except Exception as raised:  # whatever the stage raises is the item's failure, not the pipeline's
            made, error = {}, failure(worker.stage, worker.device, raised)
        with self._lock:
            if error:
                job.error = job.error or error
                return
            given = self.routes.gather(worker.stage, job.tensors, job.entry.way)
            job.tensors.update({(worker.stage, name): held for name, held in {**given, **made}.items()})
            job.events.append(Event(kind, job.entry.item, worker.stage, worker.device, begin, time.monotonic()))

    def _has_nothing(self, stage: int, job: Job) -> bool:
        """Whether it is known here that the item has none of the stage's inputs."""
        with self._lock:
            given = self.routes.gather(stage, job.tensors, job.entry.way)
        return has_nothing(given[name] for name in self.routes.parts[stage].inputs if name in given)

    def _wanted(self, stage: int) -> set[str]:
        """The outputs of a stage that must come here: those of the model, and what a stage reads that takes no references."""
        readers = (thread for (reader, _), thread in self._threads.items() if reader != stage)
        read = {
            name for thread in readers if not thread.runner.takes_references for name in self.routes.parts[thread.stage].inputs
        }
        return set(self.routes.parts[stage].outputs) & {*self.manifest.outputs, *read}

    def _made(self, worker: StageThread, job: Job, wanted: Collection[str]) -> dict[str, Held]:
        """What the stage makes. Of inputs that were lost on their way, the stages that made them run again first; what these
        make then comes here, so that it cannot be lost again."""
        names = self.routes.parts[worker.stage].inputs

        def inputs() -> dict[str, Held]:
            with self._lock:
                given = self.routes.gather(worker.stage, job.tensors, job.entry.way)
            return {name: given[name] for name in names}

        def again() -> None:
            with self._lock:
                job.entry.attempts += 1

        given = inputs()
        try:
            return worker.runner.run(given, wanted, again)
        except LostInputsError as lost:
            for name in lost.names:
                self._make_again(job, name, given[name])
        again()
        return worker.runner.run(inputs(), wanted, again)

    def _make_again(self, job: Job, name: str, lost: Held) -> None:
        """Puts a new array in the place of a reference, wherever the job has it."""
        with self._lock:
            places = [place for place, held in job.tensors.items() if held is lost]
        if not places:  # it was made again for another reader meanwhile
            return
        maker = min(stage for stage, _ in places)
        home = self.routes.home(maker, job.entry.sequence, job.entry.way)
        made = self._made(self._threads[maker, home], job, {name})[name]
        with self._lock:
            job.tensors.update(dict.fromkeys(places, made))

    def _pass_on(self, job: Job, stage: int) -> None:
        """Queues the job at every stage that lacked nothing but what `stage` sends."""
        way = job.entry.way
        with self._lock:
            ready = job.arrive(self.routes.transfers[number].target for number in self.routes.leaving(stage, way))
        for target in ready:
            if target == CALLER:
                self._complete.put(job, timeout=TICK_S)
            else:
                self._threads[target, self.routes.home(target, job.entry.sequence, way)].jobs.put(job, timeout=TICK_S)

    def _collect(self, timeout_s: float) -> None:
        """Answers the items that are complete, after waiting up to `timeout_s` for the first."""
        try:
            job = self._complete.get(timeout=timeout_s) if timeout_s > 0 else self._complete.get_nowait()
            while True:
                self._answer(job)
                job = self._complete.get_nowait()
        except queue.Empty:
            return

    def _answer(self, job: Job) -> None:
        if self.options.record_events:
            self._events += job.events
        self.release(dict.fromkeys(held for held in job.tensors.values() if not isinstance(held, np.ndarray)))
        tensors: dict[str, Array] | None = None
        if not job.error:
            # Copies: what a server sent is a read-only view of its message.
            tensors = answer_of(self.manifest.outputs, self.routes.gather(CALLER, job.tensors, job.entry.way), np.array)
        self.ledger.answer(job.entry, tensors, job.error, time.monotonic())
