"""Carries out the policy: observes workers and caller, decides, and acts. All that it decides is in `supervision`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Protocol

from multiedge.errors import PipelineError
from multiedge.executors.flow.expected import stage_clock
from multiedge.executors.flow.routes import ONLY_WAY, Routes
from multiedge.executors.workers.actions import (
    Action,
    DoubleLimit,
    EndRun,
    EnterEpoch,
    FailItem,
    RecordEvent,
    RecordFault,
    RecordRecovery,
    RecordRuntime,
    RequestPlan,
    Send,
    SetLink,
    SetSpeed,
    StartWorker,
    StopWorker,
)
from multiedge.executors.workers.observation import Observation, WorkerView, waiting_links
from multiedge.executors.workers.planning import Planner
from multiedge.executors.workers.pool import WorkerPool
from multiedge.executors.workers.state import Rules, first_state
from multiedge.executors.workers.supervision import policy
from multiedge.executors.workers.trace_player import TracePlayer
from multiedge.fleet import Fleet, Link
from multiedge.measurements import Event, Fault, RanStage
from multiedge.plan import Manifest
from multiedge.trace import Trace

TICK_S = 0.02
"""The time between two observations."""
HASTE_S = 0.002
"""The same while items stand still."""


class Caller(Protocol):
    """The side that feeds items and collects answers, as far as a supervisor acts on it."""

    def view(self, transfers: int) -> WorkerView:
        """Its own counts of messages in this epoch."""
        ...

    def enter_epoch(self, epoch: int, routes: Routes, suspected: Collection[int]) -> None:
        """Makes `routes` the ones in force, and sends every unanswered item again, those in `suspected` once the others are
        answered."""
        ...

    def fail_item(self, sequence: int, error: str) -> None: ...

    def end_run(self, error: str) -> None:
        """Fails every item that is not answered, and those that come later. May be called again."""
        ...

    def set_link(self, source: str, target: str, link: Link) -> None:
        """The link from one device to another is now `link`, for the workers and the caller at its ends."""
        ...

    def record_event(self, event: Event) -> None: ...


class Supervisor:
    """Keeps the pipeline of one caller going."""

    def __init__(
        self,
        rules: Rules,
        pool: WorkerPool,
        caller: Caller,
        trace: Trace | None = None,
        replan: Callable[[Fleet], Manifest] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules, self._pool, self._caller = rules, pool, caller
        self._planner = Planner(replan) if replan else None
        self._now = clock
        self._player = TracePlayer(trace, rules.fleet)
        self.state = first_state(rules)
        self._limits_of(rules.manifest)
        self._looked_s = 0.0
        self._answered: list[tuple[int, int]] = []
        self._answered_s: float | None = None
        self._faults: list[Fault] = []
        self._ran: dict[tuple[int, str], RanStage] = {}

    @property
    def runtimes(self) -> tuple[RanStage, ...]:
        """What computed each stage on each of its devices; of one that was loaded again, the last time."""
        return tuple(self._ran.values())

    def start(self) -> None:
        """Starts every worker and loads every stage. Raises PipelineError that names what could not be started."""
        while not self.state.is_running:
            self.look()
            time.sleep(HASTE_S)

    def begin_trace(self) -> None:
        """The trace's time 0; faults that are over are forgotten."""
        self.take_answers()
        self._player.begin(self._now())
        self._faults = [fault for fault in self._faults if fault.recovered_s is None]

    @property
    def interval_s(self) -> float:
        """How long to wait between two looks."""
        return TICK_S if self.state.is_running else HASTE_S

    @property
    def next_look_s(self) -> float:
        """When it is time to look again."""
        return self._looked_s + self.interval_s

    @property
    def faults(self) -> tuple[Fault, ...]:
        """In the order of detection; `recovered_s` is None while no item has been answered since."""
        return tuple(sorted(self._faults, key=lambda fault: fault.detected_s))

    def count_compute(self, stage: int, device: str, seconds: float) -> None:
        self._clock.saw(stage, device, seconds)

    def count_answer(self, sequence: int, now_s: float, *, is_error: bool, way: int = ONLY_WAY) -> None:
        self._answered_s = self._answered_s or now_s
        if not is_error:
            self._answered.append((sequence, way))

    def take_answers(self) -> None:
        """Lets the last answers end the faults before them. Otherwise such a fault counts as open until the next look."""
        if self._answered_s is not None:
            self._step()

    def look(self, *, is_idle: bool = True) -> None:
        """Looks at everything, if it is time to, and acts on it. A caller that has items to pass on first may be late by one
        interval, so that no item waits for a look. Raises PipelineError if the run cannot be started."""
        now_s = self._now()
        if now_s < self.next_look_s + (0.0 if is_idle else self.interval_s):
            return
        self._looked_s = now_s
        self._step()

    def _step(self) -> None:
        observation, was_starting = self._observe(), self.state.is_starting
        self._answered_s = None
        self._answered.clear()
        self.state, actions = policy(self._rules, observation, self.state)
        for action in actions:
            if was_starting and isinstance(action, EndRun):
                raise PipelineError(action.error)
            self._carry_out(action)

    def _observe(self) -> Observation:
        now_s, routes = self._now(), self.state.routes
        transfers = len(routes.transfers)
        workers = self._pool.observe(now_s, transfers)
        links = waiting_links(routes, workers, self._caller.view(transfers), self._rules.fleet.source, self._pool.link)
        return Observation(
            now_s=now_s,
            workers=workers,
            limits_s={name: self._clock.limit_s(view.busy.stage, name) for name, view in workers.items() if view.busy},
            links=tuple(links) if self.state.is_running else (),
            events=self._player.due(now_s),
            may_return=self._player.may_return,
            answered=tuple(sequence for sequence, _ in self._answered),
            ways=tuple(way for _, way in self._answered),
            answered_s=self._answered_s,
            plan=self._planner.take() if self._planner else None,
        )

    def _carry_out(self, action: Action) -> None:
        match action:
            case StartWorker(device):
                self._pool.start(device)
            case StopWorker(device):
                self._pool.stop(device)
            case Send(device, command):
                self._pool.send(device, command)
            case SetSpeed(device, factor):
                self._pool.set_speed(device, factor)
            case SetLink(source, target, link):
                self._caller.set_link(source, target, link)
            case EnterEpoch(epoch, manifest, routes, suspected):
                if manifest.directory != self._directory:
                    self._limits_of(manifest)
                self._caller.enter_epoch(epoch, routes, suspected)
            case FailItem(sequence, error):
                self._caller.fail_item(sequence, error)
            case DoubleLimit(stage):
                self._clock.was_slow(stage)
            case RequestPlan(fleet):
                if self._planner:
                    self._planner.request(fleet)
            case RecordFault(fault):
                self._faults.append(fault)
            case RecordRecovery(fault, recovered_s):
                self._faults[self._faults.index(fault)] = replace(fault, recovered_s=recovered_s)
            case RecordEvent(event):
                self._caller.record_event(event)
            case RecordRuntime(ran):
                self._ran[ran.stage, ran.device] = ran
            case EndRun(error):
                self._caller.end_run(error)

    def _limits_of(self, manifest: Manifest) -> None:
        """Other parts take other times: what was seen of the ones before says nothing about these."""
        self._directory = manifest.directory
        self._clock = stage_clock(manifest, self._rules.deadlines)
