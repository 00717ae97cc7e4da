"""All stages one after the other in this process: for tests, debugging and checking a plan's parts."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from multiedge.backends.contract import ItemsSession, SequenceSession
from multiedge.backends.stages import BackendOptions, OpenStage, open_on, require_backend_options
from multiedge.errors import MultiedgeError, PipelineError
from multiedge.executors.flow.contract import (
    Array,
    Closing,
    Record,
    Result,
    RunOptions,
    Tensors,
    answer_of,
    failure,
    require_inputs,
)
from multiedge.executors.flow.routes import Routes
from multiedge.fleet import Fleet
from multiedge.measurements import Event
from multiedge.plan import CALLER, Manifest


@dataclass(frozen=True)
class InlineOptions(RunOptions):
    """Options of the executor `inline`.

    Attributes:
        record_events: Whether each action of a stage is recorded.
        backends: Options of backends, by name of the backend.
    """

    record_events: bool = True
    backends: BackendOptions = field(default_factory=dict)


class InlineExecutor(Closing):
    """Runs each item to its end in `submit`. Emulates no device and no link, which its settings state."""

    options_type = InlineOptions

    def __init__(self, manifest: Manifest, fleet: Fleet, options: InlineOptions) -> None:
        require_backend_options(fleet, options.backends, manifest.part_files)
        self.manifest, self.fleet, self.options = manifest, fleet, options
        self.routes = Routes.of(manifest)
        self._stages: list[OpenStage] = []
        self._on_way = [0] * self.routes.count
        self._ready: deque[Result] = deque()
        self._events: list[Event] = []

    def start(self) -> None:
        for stage, part in enumerate(self.routes.parts):
            begin = time.monotonic()
            try:
                device = self.fleet.device(part.device)
                self._stages.append(open_on(device, self.options.backends, Path(self.manifest.directory), part))
            except MultiedgeError as error:
                self.close()
                raise PipelineError(f"stage {stage} on '{part.device}' could not start: {error}") from error
            self._events.append(Event("load", -1, stage, device.name, begin, time.monotonic()))

    @property
    def has_room(self) -> bool:
        return True

    @property
    def unanswered(self) -> int:
        return len(self._ready)

    def submit(self, item: int, tensors: Tensors) -> None:
        issued_s = time.monotonic()
        given = require_inputs(self.manifest, item, tensors)
        held: dict[tuple[int, str], Array] = {(CALLER, name): array for name, array in given.items()}
        way = self.routes.next_way(self._on_way)
        self._on_way[way] += 1
        for stage in self.routes.on(way):
            error = self._run_stage(stage, item, held, way)
            if error:
                self._ready.append(Result(item, None, error, issued_s, time.monotonic()))
                return
        answer = answer_of(self.manifest.outputs, self.routes.gather(CALLER, held, way))
        self._ready.append(Result(item, answer, "", issued_s, time.monotonic()))

    def _run_stage(self, stage: int, item: int, held: dict[tuple[int, str], Array], way: int) -> str:
        """Adds what the stage passes on to `held`; the error text if it failed."""
        begin = time.monotonic()
        given = self.routes.gather(stage, held, way)
        device, session = self.routes.parts[stage].device, self._stages[stage].session
        try:
            is_repeat = isinstance(session, SequenceSession) and session.repeats(given)
            made = {**given, **session.run(given)}
        except Exception as error:  # whatever the runtime raises is the item's failure, not the pipeline's
            return failure(stage, device, error)
        held.update({(stage, name): array for name, array in made.items()})
        if self.options.record_events:
            is_skipped = isinstance(session, ItemsSession) and not session.computes(given)
            kind = "repeat" if is_repeat else "skip" if is_skipped else "compute"
            self._events.append(Event(kind, item, stage, device, begin, time.monotonic()))
        return ""

    def poll(self, timeout_s: float) -> list[Result]:
        results = list(self._ready)
        self._ready.clear()
        return results

    def mark(self) -> None:
        self._events = [event for event in self._events if event.kind == "load"]

    def record(self) -> Record:
        # None are open once the executor is closed.
        ran = tuple(stage.ran for stage in self._stages)
        settings = {
            **self.options.as_settings(),
            "executor": "inline",
            "transport": "none",
            "emulation": "none",
            "providers": {each.device: each.provider for each in ran},
        }
        return Record(events=tuple(self._events), settings=settings, runtimes=ran)

    def close(self) -> None:
        for stage in self._stages:
            stage.session.close()
        self._stages.clear()
