"""What to do about workers, links and plans: a function from an observation and a state to the next state and actions.

It reads no clock and touches no process, so that a test can put any situation to it.
"""

from __future__ import annotations

import math
from dataclasses import replace

from multiedge.errors import PlanError
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
from multiedge.executors.workers.health import Problem, memory_problem, problem_of, progress_of, stuck_links, waiting_s
from multiedge.executors.workers.messages import Configure, Configured, Failed, Load, Prepare, Prepared, Reply
from multiedge.executors.workers.observation import LinkView, Observation, PlanReady, WorkerView
from multiedge.executors.workers.placement import place_on_paths, place_stages
from multiedge.executors.workers.state import (
    DeviceState,
    Ended,
    Entering,
    New,
    OpenFault,
    Planning,
    Presence,
    Rules,
    Running,
    State,
    Waiting,
)
from multiedge.fleet import Fleet
from multiedge.measurements import RETURN, Event, Fault
from multiedge.plan import Manifest
from multiedge.trace import LinkEvent, TraceEvent

MOST_CRASHES = 5
"""An item during which so many workers ended is failed: it is the item that ends them."""
FIRST_START_S = 60.0
"""How long workers may take until their first sign of life before anything has run."""
PROBATION = 10.0
"""A device that has been back for so many times the first waiting time has its losses forgotten, even if it is idle."""
SETTLING_S = 5.0
"""A worker that was started less than so long ago takes processors from the others: links are not judged meanwhile."""


def policy(rules: Rules, observation: Observation, state: State) -> tuple[State, tuple[Action, ...]]:
    """The next state, and what to do, in this order."""
    step = _Step(rules, observation, state)
    step.run()
    return step.state, tuple(step.actions)


class _Step:
    """One call of the policy: `state` and `actions` as they become."""

    def __init__(self, rules: Rules, seen: Observation, state: State) -> None:
        self.rules, self.seen, self.state = rules, seen, state
        self.actions: list[Action] = []
        self._workers = dict(seen.workers)
        self._away_before = state.away
        self._conditions_have_changed = False

    def run(self) -> None:
        if isinstance(self.state.phase, Ended):
            self.actions.append(EndRun(self.state.phase.error))
            return
        if isinstance(self.state.phase, New):
            self._enter(self.state.placed)
            return
        self._count_answers()
        for event in self.seen.events:
            self._play(event)
        for name, view in self.seen.workers.items():
            self._look_at(name, view)
        self._look_at_links()
        if self.state.is_starting:
            self._start_run()
            return
        self._take_plan()
        self._follow_changes()
        self._finish_epoch()
        self._start_returning()

    def _set(self, name: str, device: DeviceState) -> None:
        self.state = replace(self.state, devices={**self.state.devices, name: device})

    # -- what was observed ----------------------------------------------------------------------------------------------

    def _count_answers(self) -> None:
        """Answers end faults, and let the losses of the devices that gave them be forgotten."""
        state, seen = self.state, self.seen
        if state.charges or state.alone:
            charges = {item: count for item, count in state.charges.items() if item not in seen.answered}
            self.state = replace(self.state, charges=charges, alone=state.alone.difference(seen.answered))
        if not state.is_running:
            return  # these are late answers of the epoch before
        if seen.answered_s is not None and state.open_faults:
            recovered = [each for each in state.open_faults if each.epoch < state.epoch]
            self.actions += [RecordRecovery(each.fault, seen.answered_s) for each in recovered]
            self.state = replace(self.state, open_faults=tuple(each for each in state.open_faults if each not in recovered))
        back = [name for name, device in state.devices.items() if device.losses and device.presence is Presence.READY]
        worked = self._worked() if back else frozenset()
        probation_s = PROBATION * self.rules.deadlines.cooldown_s
        for name in back:
            if name in worked or seen.now_s - state.devices[name].since_s > probation_s:
                self._set(name, state.devices[name].forgiven())

    def _worked(self) -> frozenset[str]:
        """The devices that the answered items passed."""
        routes, answered = self.state.routes, self.seen.answered
        ways = self.seen.ways or (ONLY_WAY,) * len(answered)
        items = zip(answered, ways, strict=True)
        return frozenset(routes.home(stage, item, way) for item, way in items for stage in routes.on(way))

    def _play(self, event: TraceEvent) -> None:
        """Follows an event of the trace."""
        conditions = self.state.conditions.after(event, self.rules.fleet)
        self.state = replace(self.state, conditions=conditions)
        if isinstance(event, LinkEvent):
            if self.rules.shapes_links:
                self._conditions_have_changed = True
                self.actions += [SetLink(source, target, conditions.links[source, target]) for source, target in event.pairs]
        elif event.event == "speed":
            self._conditions_have_changed = True
            self.actions.append(SetSpeed(event.device, conditions.speed_factor[event.device]))
        elif event.device in conditions.absent:
            self._leave(event.device)
        elif event.event == "return":
            self._return(event.device)

    def _leave(self, name: str) -> None:
        """A device that leaves is absent; it has not failed."""
        if self.state.devices[name].presence is Presence.READY:
            self._record(Fault("leave", name, self.seen.now_s, detail=f"'{name}' has left"))
        self._stop(name)
        self._set(name, replace(self.state.devices[name], presence=Presence.ABSENT))

    def _return(self, name: str) -> None:
        """The device may be started, whatever had failed before."""
        device = self.state.devices[name]
        if device.presence in (Presence.ABSENT, Presence.OUT):
            self._set(name, replace(device.forgiven(), presence=Presence.OUT, retry_s=self.seen.now_s))

    def _look_at(self, name: str, view: WorkerView) -> None:
        for reply in () if view.ended else view.replies:
            if name in self._workers:
                self._take_reply(name, reply)
        if name not in self._workers:
            return
        device, deadlines = self._follow_progress(name, view), self.rules.deadlines
        progress, now_s = device.progress, self.seen.now_s
        if self.state.is_starting:  # nothing stands still yet: a busy host may take its time
            deadlines = replace(deadlines, start_s=max(deadlines.start_s, FIRST_START_S))
        problem = problem_of(
            self.rules.fleet.device(name),
            view,
            limit_s=self.seen.limits_s.get(name, math.inf),
            owes_for_s=None if device.asked_s is None else now_s - device.asked_s,
            deadlines=deadlines,
            limits_memory=self.rules.limits_memory,
            stalled_s=None if progress is None else now_s - progress.at_s,
            inactive_s=None if progress is None or progress.inactive_since_s is None else now_s - progress.inactive_since_s,
        )
        if problem:
            self._lose(name, problem, view)
        elif view.busy and device.asked_s is not None:
            # The time to reply begins once the worker is free; until then the limit of its stage holds.
            self._set(name, replace(device, asked_s=now_s))

    def _follow_progress(self, name: str, view: WorkerView) -> DeviceState:
        device = self.state.devices[name]
        progress = progress_of(view, device.progress, self.seen.now_s, is_loading=device.asked_s is not None)
        if progress != device.progress:
            device = replace(device, progress=progress)
            self._set(name, device)
        return device

    def _take_reply(self, name: str, reply: Reply) -> None:
        device, now_s = self.state.devices[name], self.seen.now_s
        match reply:
            case Failed(reason, detail):
                self._lose(name, Problem(reason, f"worker of '{name}': {detail}"))
            case Prepared(loads):
                self._record_loads(name, loads)
                if device.presence is Presence.RETURNING:
                    self._set(name, replace(device, presence=Presence.READY, since_s=now_s, asked_s=None))
                    self._record(Fault(RETURN, name, now_s, detail=f"'{name}' is back"))
            case Configured(epoch, loads, resident_bytes):
                self._record_loads(name, loads)
                is_current = epoch == self.state.epoch
                self._set(name, replace(device, asked_s=None if is_current else now_s))
                if is_current:
                    self._take_configured(name, resident_bytes)

    def _take_configured(self, name: str, resident_bytes: int | None) -> None:
        if self.rules.limits_memory:
            problem = memory_problem(self.rules.fleet.device(name), resident_bytes, just_loaded=True)
            if problem:
                self._lose(name, problem)
                return
        if isinstance(self.state.phase, Entering):
            self.state = replace(self.state, phase=replace(self.state.phase, awaited=self.state.phase.awaited - {name}))

    def _look_at_links(self) -> None:
        """A message that is not taken while its receiver has nothing else to do means that its link is down."""
        starting = any(view.age_s < SETTLING_S for name, view in self._workers.items() if name in self.state.away)
        if starting or not self.state.is_running:
            return
        stuck = stuck_links(self.seen.links, self.state.stuck, self.seen.now_s)
        if stuck != self.state.stuck:
            self.state = replace(self.state, stuck=stuck)
        for link in self.seen.links:
            since_s = stuck[link.transfer].since_s if link.transfer in stuck else math.inf
            if self.seen.now_s - since_s > self.rules.deadlines.link_s + link.slack_s:
                self._lose_link(link)
                return

    def _lose_link(self, link: LinkView) -> None:
        """Gives up one end of a link: rather the receiver, and never the device at which the caller is."""
        self.state = replace(self.state, stuck={})
        ends = [end for end in (link.target, link.source) if end and end in self._workers and end != self.rules.fleet.source]
        if ends:
            source, target = (f"'{end}'" if end else "the caller" for end in (link.source, link.target))
            self._lose(ends[0], Problem("link", f"link {source} -> {target} takes no messages"))

    # -- faults ---------------------------------------------------------------------------------------------------------

    def _lose(self, name: str, problem: Problem, view: WorkerView | None = None) -> None:
        """Takes the device out: its worker is stopped, whatever state it is in. Files of a plan that have changed stay so: its
        device does not return."""
        self._stop(name)
        # A device that was on its way back held no stage: nothing stood still, and the next answer ends its fault. If its
        # worker could not even be started, the fault for which it was lost goes on, and this is none of its own.
        held_stages = self.state.devices[name].presence is not Presence.RETURNING
        if held_stages or view is None or view.silent_s is not None or not view.ended:
            self._record(Fault(problem.kind, name, self.seen.now_s, detail=problem.detail), ends_with_epoch=held_stages)
        busy = view.busy if view else None
        if problem.kind == "slow" and busy:
            self.actions.append(DoubleLimit(busy.stage))
        item = busy.sequence if busy and not busy.others else None
        if busy and busy.others:
            self.state = replace(self.state, alone=self.state.alone.union((busy.sequence, *busy.others)))
        count = 0 if item is None else self._charge(item)
        device = self.state.devices[name]
        # An item that has ended a worker before is taken for the cause: the device need not wait longer for it.
        losses = device.losses + (count <= 1)
        wait_s = math.inf if problem.kind == "changed" else waiting_s(losses, self.rules.deadlines)
        retry_s = self.seen.now_s + wait_s
        self._set(name, replace(device, presence=Presence.OUT, losses=losses, retry_s=retry_s, charged=item))
        if item is not None and count >= MOST_CRASHES:
            self._fail_item(item)

    def _charge(self, item: int) -> int:
        """How many workers have ended while they computed the item alone, this one included."""
        count = self.state.charges.get(item, 0) + 1
        self.state = replace(self.state, charges={**self.state.charges, item: count})
        return count

    def _fail_item(self, item: int) -> None:
        """The item is failed, and what it did to devices is forgotten."""
        charges = dict(self.state.charges)
        self.actions.append(FailItem(item, f"{charges.pop(item)} workers ended while they computed this item"))
        self.state = replace(self.state, charges=charges, alone=self.state.alone - {item})
        for name, device in self.state.devices.items():
            if device.charged == item:
                may_return = self.rules.deadlines.rejoin
                retry_s = min(device.retry_s, self.seen.now_s) if may_return else device.retry_s
                self._set(name, replace(device.forgiven(), retry_s=retry_s))

    def _stop(self, name: str) -> None:
        if self._workers.pop(name, None) is not None:
            self.actions.append(StopWorker(name))
        self._set(name, replace(self.state.devices[name], asked_s=None, progress=None))

    def _record(self, fault: Fault, *, ends_with_epoch: bool = True) -> None:
        """The fault is over with the first answer of a later epoch, or with the next answer of any."""
        opened = OpenFault(fault, self.state.epoch if ends_with_epoch else self.state.epoch - 1)
        self.state = replace(self.state, open_faults=(*self.state.open_faults, opened))
        self.actions.append(RecordFault(fault))

    def _record_loads(self, name: str, loads: tuple[Load, ...]) -> None:
        for load in loads:
            self.actions.append(RecordEvent(Event("load", -1, load.stage, name, load.start_s, load.stop_s)))
            self.actions.append(RecordRuntime(load.ran))

    # -- plans and epochs -----------------------------------------------------------------------------------------------

    def _take_plan(self) -> None:
        """Takes the plan that was requested last; a fleet that has changed since is followed by another request."""
        result = self.seen.plan
        if result is None or result.fleet != self.state.requested:
            return
        planned = result.manifest if isinstance(result, PlanReady) else self.state.planned
        self.state = replace(self.state, planned=planned, requested=None)
        if result.fleet == self._fleet_now():
            self._place()

    def _follow_changes(self) -> None:
        """Requests a plan, or only places the stages anew, if the fleet is not what it was."""
        phase = self.state.phase
        devices_have_changed = self.state.away != self._away_before
        fleet = self._fleet_now() if self.rules.can_replan else None
        if isinstance(phase, Ended):
            return
        if fleet is None:
            if devices_have_changed or isinstance(phase, Waiting):
                self._place()
            return
        if not devices_have_changed and not self._conditions_have_changed:
            return
        if devices_have_changed and self._on_paths() is not None:
            # Items take other paths through the parts that are loaded: nothing stands still until a plan is made.
            self.state = replace(self.state, requested=None)
            self._place()
            return
        if fleet != self.state.requested:
            self.state = replace(self.state, requested=fleet)
            self.actions.append(RequestPlan(fleet))
        if isinstance(phase, Waiting) or self.state.away.intersection(self.state.routes.devices):
            self.state = replace(self.state, phase=Planning(self._began_s()))

    def _fleet_now(self) -> Fleet | None:
        """The fleet as it is now, for a plan; None if no device is there."""
        away = self.state.away
        if away.issuperset(self.rules.fleet.names):
            return None
        return replace(self.state.conditions, absent=away).fleet(self.rules.fleet)

    def _place(self) -> None:
        """Enters an epoch with the plan in force on the devices that are there, unless its stages are just there already."""
        rules, state = self.rules, self.state
        try:
            placed = self._on_paths() or place_stages(state.planned, state.placed, rules.fleet, state.away, rules.fallbacks)
        except PlanError as error:
            self._wait_or_end(str(error))
            return
        if placed == state.placed and isinstance(state.phase, Running | Entering):
            # Nothing stood still because of these faults: the next answer ends them.
            open_faults = tuple(replace(each, epoch=state.epoch - 1) for each in state.open_faults)
            self.state = replace(state, open_faults=open_faults)
        else:
            self._enter(placed)

    def _on_paths(self) -> Manifest | None:
        """The plan in force on those of its paths that are whole; None if none is."""
        return place_on_paths(self.state.planned, self.rules.fleet, self.state.away)

    def _wait_or_end(self, error: str) -> None:
        """Waits as long as a device could still be started: the first to return is needed, and waits less than usual."""
        now_s, deadlines = self.seen.now_s, self.rules.deadlines
        since_s = now_s if self.state.waiting_since_s is None else self.state.waiting_since_s
        devices = self.state.devices
        is_starting = any(device.presence is Presence.RETURNING for device in devices.values())
        out = [name for name, device in devices.items() if device.presence is Presence.OUT and device.retry_s < math.inf]
        if not (is_starting or self.seen.may_return or (out and now_s - since_s <= deadlines.give_up_s)):
            self._end(error)
            return
        self.state = replace(self.state, phase=Waiting(), waiting_since_s=since_s)
        for name in out:
            soon_s = now_s + waiting_s(devices[name].losses, deadlines, is_needed=True)
            self._set(name, replace(devices[name], retry_s=min(devices[name].retry_s, soon_s)))

    def _end(self, error: str = "") -> None:
        """Ends the run; the error names the last fault of each device."""
        details = {each.fault.device: each.fault.detail for each in self.state.open_faults}
        error = "; ".join(filter(None, [error, *details.values()]))
        self.state = replace(self.state, phase=Ended(error))
        self.actions.append(EndRun(error))

    def _began_s(self) -> float:
        """When items began to stand still."""
        phase = self.state.phase
        return phase.began_s if isinstance(phase, Entering | Planning) else self.seen.now_s

    def _enter(self, placed: Manifest) -> None:
        """Starts the workers that the epoch needs, and lets all of them enter it."""
        routes, epoch, is_first = Routes.of(placed), self.state.epoch + 1, isinstance(self.state.phase, New)
        self.actions += [StartWorker(name) for name in routes.devices if name not in self._workers]
        # Workers that hold no stage any more are not awaited: they need only let go of what they had.
        idle = [name for name in self._workers if name not in routes.devices and name not in self.state.away]
        for name in (*routes.devices, *idle):
            self.actions.append(Send(name, Configure(epoch, placed.directory, routes, tuple(sorted(self.state.alone)))))
            if self.state.devices[name].asked_s is None:
                self._set(name, replace(self.state.devices[name], asked_s=self.seen.now_s))
        phase = Entering(frozenset(routes.devices), self._began_s(), is_first)
        self.state = replace(self.state, phase=phase, epoch=epoch, placed=placed, routes=routes, stuck={})

    def _start_run(self) -> None:
        """Runs once every worker has entered the first epoch, or has been lost: then the run ends."""
        phase = self.state.phase
        if isinstance(phase, Entering) and phase.awaited <= self.state.away:
            if phase.awaited:
                self._end()
            else:
                self._finish_epoch()

    def _finish_epoch(self) -> None:
        """Runs, once every awaited worker has entered the epoch."""
        phase = self.state.phase
        if not isinstance(phase, Entering) or phase.awaited:
            return
        self.state = replace(self.state, phase=Running(), waiting_since_s=None)
        self.actions.append(EnterEpoch(self.state.epoch, self.state.placed, self.state.routes, frozenset(self.state.charges)))
        if not phase.is_first:
            self.actions.append(RecordEvent(Event("replan", -1, -1, "", phase.began_s, self.seen.now_s)))

    def _start_returning(self) -> None:
        """Starts a worker for each lost device that may try again; it takes part once its stages are loaded."""
        if isinstance(self.state.phase, Ended):
            return
        manifest = self.rules.manifest
        for name, device in self.state.devices.items():
            if device.presence is Presence.OUT and self.seen.now_s >= device.retry_s:
                self.actions += [StartWorker(name), Send(name, Prepare(manifest.directory, Routes.of(manifest)))]
                self._set(name, replace(device, presence=Presence.RETURNING, asked_s=self.seen.now_s))
