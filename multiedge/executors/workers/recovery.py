"""What happens when devices or links fail and when they come back: detect, place the stages anew, go on."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from multiedge.errors import ConfigError, InfeasibleError, PipelineError, PlanError
from multiedge.executors.flow.expected import expected_seconds
from multiedge.executors.flow.routes import Routes, move_stages
from multiedge.executors.flow.stage_clock import StageClock
from multiedge.executors.workers.health import Breaker, complaint, over_memory
from multiedge.executors.workers.process import WorkerProcess
from multiedge.executors.workers.trace_player import TracePlayer
from multiedge.measurements import Event, Fault
from multiedge.plan import CALLER, Manifest, Part
from multiedge.transports.links import is_down

if TYPE_CHECKING:
    from multiedge.executors.processes import ProcessesExecutor

log = logging.getLogger(__name__)

MOST_CRASHES = 5
"""An item at which so many workers have ended is given up: it is the item that ends them."""
PAUSE_S = 0.002
QUIET_S = 0.3
"""A receiver that has shown no life for so long may hang: its link is not to blame."""
STARTUP_S = 60.0
"""How long a worker may take until its first sign of life."""


@dataclass
class _OpenFault:
    fault: Fault
    epoch: int


class Recovery:
    """Keeps the pipeline of one executor going."""

    def __init__(self, executor: ProcessesExecutor) -> None:
        self._executor = executor
        self._crew = executor.crew
        self._options = executor.options
        self._deadlines = executor.options.deadlines
        self._breaker = Breaker(self._deadlines.cooldown_s)
        self._player = TracePlayer(executor.options.trace, executor.fleet)
        self._planned_last = executor.manifest
        self._directory = executor.manifest.directory
        self._lost: set[str] = set()
        self._returning: set[str] = set()
        self._stuck: dict[int, tuple[float, float]] = {}
        self._open: list[_OpenFault] = []
        self._closed: list[Fault] = []
        self._answers = 0
        self.running = False

    def first_epoch(self) -> None:
        """Starts every worker and loads every stage. Raises PipelineError that names what could not."""
        for name in self._executor.routes.devices:
            self._crew.hire(name)
        self._enter(self._executor.manifest)
        if self._lost:
            raise PipelineError("; ".join(each.fault.detail for each in self._open))
        self.running = True

    def begin_trace(self, now_s: float) -> None:
        self._player.begin(now_s)
        self._closed.clear()

    def faults(self) -> tuple[Fault, ...]:
        """Faults in the order of detection; `recovered_s` is None while no item has been answered since."""
        return tuple(sorted([*self._closed, *(each.fault for each in self._open)], key=lambda fault: fault.detected_s))

    def answered(self, now_s: float) -> None:
        """An item has been answered: whatever had failed has recovered."""
        for each in [each for each in self._open if each.epoch < self._executor.epoch]:
            self._open.remove(each)
            self._closed.append(replace(each.fault, recovered_s=now_s))
        self._answers += 1

    def look(self, now_s: float) -> None:
        """Plays the trace, looks at every worker and link, and acts on what it finds."""
        lost_before = set(self._lost)
        conditions_changed = self._play(now_s)
        for name, worker in list(self._crew.workers.items()):
            self._look_at(name, worker, now_s)
        if not self._returning and self.running:
            self._look_at_links(now_s)
        if self._lost != lost_before or not self.running or (conditions_changed and self._planned() is not self._planned_last):
            self._go_on()
        self._invite(now_s)

    # -- finding out -------------------------------------------------------------------------------------------

    def _look_at(self, name: str, worker: WorkerProcess, now_s: float) -> None:
        how = worker.ended()
        if how:
            self._lose(name, "crash", f"worker of '{name}' {how}", now_s)
            return
        for answer in worker.said():
            self._hear(name, answer, now_s)
        if name not in self._crew.workers:
            return
        wrong = complaint(
            worker.device,
            worker.board,
            worker.silent_s(),
            self._executor.clock,
            now_s,
            self._deadlines,
            self._options.emulation.memory,
        )
        if wrong:
            self._lose(name, wrong[0], f"worker of '{name}' {wrong[1]}", now_s)

    def _look_at_links(self, now_s: float) -> None:
        """A message that nobody takes while its receiver has nothing else to do means that its link is down."""
        routes = self._executor.routes
        for number, move in enumerate(routes.transfers):
            taken = self._count(routes, number, move.target, "taken")
            sent = self._count(routes, number, move.source, "sent")
            if sent <= taken or not self._is_idle(routes, move.target):
                self._stuck.pop(number, None)
                continue
            since, taken_then = self._stuck.setdefault(number, (now_s, taken))
            if taken_then != taken:
                self._stuck[number] = (now_s, taken)
            elif now_s - since > self._deadlines.link_s + self._slack_s(move.source, move.target, move.nbytes):
                self._lose_link(move.source, move.target, now_s)
                return

    def _is_idle(self, routes: Routes, stage: int) -> bool:
        """Whether every worker of the stage is alive and computes nothing; the caller takes whatever has come."""
        if stage == CALLER:
            return True
        workers = [self._crew.workers[name] for name in _homes(routes.parts[stage]) if name in self._crew.workers]
        return all(worker.board.busy is None and worker.silent_s() < QUIET_S for worker in workers)

    def _count(self, routes: Routes, number: int, stage: int, what: str) -> float:
        if stage == CALLER:
            return float(getattr(self._executor, what)[number])
        boards = [self._crew.workers[name].board for name in _homes(routes.parts[stage]) if name in self._crew.workers]
        return sum(board.counts(number + 1)[what == "taken"][number] for board in boards)

    def _slack_s(self, source: int, target: int, nbytes: int) -> float:
        """What the link, as it is now, may rightly take for one message; nothing excuses one that is down."""
        sender, receiver = self._place(source), self._place(target)
        if sender is None or receiver is None:
            return 0.0
        link = self._crew.link(sender, receiver)
        return 0.0 if is_down(link) else link.transfer_s(nbytes)

    def _place(self, stage: int) -> str | None:
        """The device of a stage, or of the caller if the fleet says where that is."""
        return self._executor.fleet.source if stage == CALLER else self._executor.routes.parts[stage].device

    def _lose_link(self, source: int, target: int, now_s: float) -> None:
        """Gives up one end of a dead link: the one that is not the caller's own device, and rather the receiver."""
        ends = [self._place(target), self._place(source)]
        self._stuck.clear()
        name = next((end for end in ends if end is not None and end != self._executor.fleet.source), None)
        if name is None:
            return
        self._lose(name, "link", f"link '{ends[1]}' -> '{ends[0]}' takes no messages", now_s)

    def _hear(self, name: str, answer: dict[str, object], now_s: float) -> None:
        if answer["did"] == "failed":
            self._lose(name, "load", f"worker of '{name}': {answer['error']}", now_s)
            return
        for stage, start, stop in answer.get("loads", []):  # type: ignore[attr-defined]
            self._executor.note(Event("load", -1, int(stage), name, start, stop))
        if answer["did"] == "prepared" and name in self._returning:
            self._returning.discard(name)
            self._lost.discard(name)
            self._open.append(_OpenFault(Fault("return", name, now_s, detail=f"'{name}' is back"), self._executor.epoch))
            self.running = False

    def _lose(self, name: str, kind: str, detail: str, now_s: float) -> None:
        """Takes the device out: its worker is ended, whatever state it is in."""
        worker = self._crew.workers.get(name)
        if worker is not None and kind in ("crash", "slow"):
            self._blame(worker)
        self._crew.dismiss(name)
        self._returning.discard(name)
        self._lost.add(name)
        self._breaker.failed(name, now_s)
        self._open.append(_OpenFault(Fault(kind, name, now_s, detail=detail), self._executor.epoch))

    def _blame(self, worker: WorkerProcess) -> None:
        """Counts the loss against the item that was being computed, and gives the item up after a few."""
        busy = worker.board.busy
        if busy is None:
            return
        self._executor.clock.was_slow(busy.stage)
        entry = self._executor.ledger.open.get(busy.sequence)
        if entry is None:
            return
        entry.crashes += 1
        if entry.crashes >= MOST_CRASHES:
            self._executor.fail(entry, f"{entry.crashes} workers ended while they computed this item")

    # -- acting ------------------------------------------------------------------------------------------------

    def _play(self, now_s: float) -> bool:
        """Carries out what the trace says has happened by now; whether a speed or a link has changed."""
        changed = False
        for kind, name, value in self._player.due(now_s):
            if kind == "leave" and name not in self._lost:
                self._lose(name, "leave", f"'{name}' has left", now_s)
            elif kind == "return":
                self._breaker.closed_from_s.pop(name, None)
            elif kind == "speed":
                self._crew.set_speed(name, float(value or 1.0))
                changed = True
        if self._options.emulation.links:
            for (source, target), link in self._player.changed_links():
                self._crew.set_link(source, target, link)
                changed = True
                if source == self._executor.fleet.source:
                    self._executor.change_link(target, link)
        return changed

    def _go_on(self) -> None:
        """Enters epochs until one holds; waits for a device if none is left."""
        start = time.monotonic()
        self.running = False
        while True:
            before = set(self._lost)
            manifest = self._placement()
            if manifest is None:
                return
            self._enter(manifest)
            if self._lost == before:
                break
        self.running = True
        self._executor.note(Event("replan", -1, -1, "", start, time.monotonic()))
        self._executor.send_again()

    def _placement(self) -> Manifest | None:
        """The planned stages on the devices that are there; None if there is none now but one may come back."""
        away = frozenset(self._lost | self._player.absent)
        self._planned_last = self._planned()
        try:
            return move_stages(self._planned_last, away, lambda place, part: self._pick(place, part, away))
        except PlanError as error:
            if self._player.may_return(time.monotonic()) or (self._deadlines.rejoin and not self._hopeless()):
                return None
            details = "; ".join(each.fault.detail for each in self._open)
            raise PipelineError(f"{error}; {details}") from error

    def _planned(self) -> Manifest:
        """The plan for the fleet as it is now; the first one where nobody plans anew, or nothing that is left fits it."""
        if self._options.replan is None:
            return self._executor.manifest
        try:
            fleet = self._player.fleet_now(time.monotonic(), self._lost)
            return self._options.replan(fleet)
        except (ConfigError, InfeasibleError) as error:
            log.warning("no new plan, the stages stay as they were cut: %s", error)
            return self._executor.manifest

    def _hopeless(self) -> bool:
        """Whether every device that is not absent by the trace has failed again and again."""
        failures = self._breaker.failures
        return all(failures.get(name, 0) > MOST_CRASHES for name in self._lost - self._player.absent)

    def _pick(self, place: int, part: Part, away: frozenset[str]) -> str | None:
        """A device for a stage that has lost its own: its fall-backs in turn, else the one with the fewest stages."""
        for name in self._options.fallbacks.get(place, ()):
            if name not in away:
                return name
        load = {name: 0 for name in self._executor.fleet.names if name not in away}
        for other in self._executor.routes.parts:
            if other.device in load:
                load[other.device] += 1
        return min(load, key=lambda name: load[name], default=None)

    def _enter(self, manifest: Manifest) -> None:
        """Brings every worker into the next epoch; devices that fail on the way are in `_lost` afterwards."""
        executor, routes = self._executor, Routes.of(manifest)
        executor.epoch += 1
        for name in routes.devices:
            if name not in self._crew.workers:
                self._crew.hire(name)
        for worker in self._crew.workers.values():
            worker.say(do="configure", epoch=executor.epoch, directory=manifest.directory, routes=routes.to_json())
        waiting, until = set(self._crew.workers), time.monotonic() + self._deadlines.load_s
        while waiting:
            for name in sorted(waiting):
                if self._settled(name, until):
                    waiting.discard(name)
            time.sleep(PAUSE_S)
        self._stuck.clear()
        if manifest.directory != self._directory:
            # Other parts take other times: what was seen of the old ones says nothing about these.
            self._directory = manifest.directory
            executor.clock = StageClock(self._deadlines, expected_seconds(manifest))
        executor.enter_epoch(routes)

    def _settled(self, name: str, until_s: float) -> bool:
        """Whether a worker has entered the epoch, or has been given up."""
        worker, now = self._crew.workers.get(name), time.monotonic()
        if worker is None:
            return True
        if how := worker.ended():
            self._lose(name, "crash", f"worker of '{name}' {how}", now)
        elif (
            now > until_s
            or worker.silent_s() > max(self._deadlines.heartbeat_s, self._deadlines.floor_s)
            or (worker.board.heartbeat_s is None and now - worker.started_s > STARTUP_S)
        ):
            self._lose(name, "hang", f"worker of '{name}' does not answer", now)
        else:
            return any(self._entered(name, worker, answer, now) for answer in worker.said())
        return True

    def _entered(self, name: str, worker: WorkerProcess, answer: dict[str, object], now_s: float) -> bool:
        self._hear(name, answer, now_s)
        if answer["did"] == "failed":
            return True
        if answer["did"] != "configured" or answer["epoch"] != self._executor.epoch:
            return False
        resident = worker.memory_now()
        limit = worker.device.memory_bytes
        if self._options.emulation.memory and limit is not None and resident > limit:
            detail = f"device '{name}' {over_memory(resident, limit)} once its stages are loaded"
            if not worker.device.runtime_bytes:
                detail += "; state its runtime_memory, so that plans leave room for the runtime"
            self._lose(name, "memory", detail, now_s)
        return True

    def _invite(self, now_s: float) -> None:
        """Starts a worker for each lost device that may try again; it joins once its stages are loaded."""
        if not self._deadlines.rejoin:
            return
        waiting = sorted(self._lost - self._returning - self._player.absent)
        allowed = [name for name in waiting if self._breaker.allows(name, now_s)]
        for name in allowed:
            worker = self._crew.hire(name)
            self._returning.add(name)
            planned = Routes.of(self._executor.manifest)
            worker.say(do="prepare", directory=self._executor.manifest.directory, routes=planned.to_json())


def _homes(part: Part) -> tuple[str, ...]:
    return part.devices
