"""A plan on a fleet under a trace, without running it: a discrete-event model that leaves Measurements.

Each device computes one item of one stage at a time, each direction of a link carries one message at a time, and what
is queued goes by item, so that nothing waits for a later one. Times are those of `multiedge.planning.cost`: without a trace the
rate in the steady state is one item per `Estimate.bottleneck_s`. Items are admitted while fewer than `in_flight` are
under way, as bounded queues would have it.

A device that leaves loses its current item, and all that waits on it starts again when it returns; a link that is down
holds what it carries. With a `replanner` (see `multiedge.replanning.replan`) there is a new plan `detect_s` after each
event: devices load the parameters that they lack, and then new items follow the new plan.
Items that were under way on a device that is gone begin again with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Protocol

from multiedge.arrivals import poisson_times
from multiedge.errors import ConfigError, MultiedgeError
from multiedge.fleet import Fleet
from multiedge.measurements import Energy, Event, Fault, Item, Measurements, Memory
from multiedge.plan import CALLER, Plan, Transfer, next_path, require
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.planning.loading import bytes_to_load, loading_bytes_per_s
from multiedge.profile import Profile
from multiedge.simulation.event_loop import EventLoop, Job
from multiedge.simulation.fleet import SimulatedFleet
from multiedge.trace import Trace, TraceEvent


class Replanned(Protocol):
    """What a replanner answers."""

    @property
    def plan(self) -> Plan: ...
    @property
    def reason(self) -> str: ...


Replanner = Callable[[Plan, Profile, Fleet], Replanned]
"""(running plan, profile and fleet as they are now) -> the plan to go on with."""


@dataclass(frozen=True)
class Load:
    """The load on the pipeline: `items` timed ones after `warmup`, due every `interval_s` (0: all at the start), at most
    `in_flight` under way (None: as many as fill the pipeline).

    With a `seed`, items are due at the moments of a Poisson process with that mean interval: those of scenario 'server'.
    """

    items: int = 100
    warmup: int = 0
    interval_s: float = 0.0
    in_flight: int | None = None
    seed: int | None = None

    def due_s(self) -> list[float]:
        """Seconds from the start at which each item is due, warm-up included."""
        count = self.warmup + self.items
        if self.seed is None:
            return [number * self.interval_s for number in range(count)]
        return list(islice(poisson_times(1.0 / self.interval_s, self.seed), count))

    def __post_init__(self) -> None:
        if self.seed is not None and not self.interval_s > 0:
            raise ConfigError(f"load: a seed is that of random moments; expected interval_s above 0, got {self.interval_s}")
        if self.items < 1 or self.warmup < 0 or self.interval_s < 0 or (self.in_flight is not None and self.in_flight < 1):
            raise ConfigError(
                "load: expected items from 1, warmup from 0, interval_s from 0 and in_flight from 1,"
                f" got {self.items}, {self.warmup}, {self.interval_s} and {self.in_flight}"
            )


def simulate(
    plan: Plan,
    profile: Profile,
    fleet: Fleet,
    trace: Trace | None = None,
    load: Load | None = None,
    *,
    replanner: Replanner | None = None,
    detect_s: float = 0.0,
) -> Measurements:
    """What the run would have measured. Items that never complete carry an error that says what they wait for.

    Raises PlanError for a plan that cannot run on the declared fleet, ConfigError for a trace that cannot be played.
    """
    require(violations(profile, fleet, plan.stages, plan.transfers, plan.paths))
    wrong = trace.violations(fleet) if trace else []
    if wrong:
        raise ConfigError("; ".join(wrong))
    run = _Run(plan, profile, fleet, trace or Trace(), load or Load(), replanner, detect_s)
    run.play()
    return run.measurements()


@dataclass(frozen=True, eq=False)
class _Route:
    """What an item passes: the messages by sender, and how many each stage awaits."""

    sends: dict[int, list[Transfer]]
    awaited: dict[int, int]
    results: int

    @classmethod
    def of(cls, stages: Iterable[int], transfers: Iterable[Transfer]) -> _Route:
        sends: dict[int, list[Transfer]] = {}
        awaited = dict.fromkeys(stages, 0)
        results = 0
        for move in transfers:
            sends.setdefault(move.source, []).append(move)
            if move.target == CALLER:
                results += 1
            else:
                awaited[move.target] += 1
        return cls(sends, awaited, results)


@dataclass(frozen=True, eq=False)
class _Epoch:
    """A plan made ready for stepping: work by stage and device, a route for each path, and the items that have taken it."""

    plan: Plan
    work_s: tuple[dict[str, float], ...]
    routes: tuple[_Route, ...]
    taken: list[int]
    devices: frozenset[str]

    @classmethod
    def of(cls, plan: Plan, profile: Profile) -> _Epoch:
        routes = tuple(
            _Route.of(path.stages, [move for move in plan.transfers if (move.source, move.target) in path.steps])
            for path in plan.paths
        ) or (_Route.of(range(len(plan.stages)), plan.transfers),)
        held = cost.held_nodes(profile, plan.stages)
        work_s = tuple(
            {device: cost.compute_s(profile, stage, device, held) for device in stage.devices} for stage in plan.stages
        )
        devices = frozenset(device for stage in plan.stages for device in stage.devices)
        return cls(plan, work_s, routes, [0] * len(routes), devices)

    def next_route(self) -> _Route:
        """The route of the next item."""
        number = next_path(self.plan.paths, self.taken) if self.plan.paths else 0
        self.taken[number] += 1
        return self.routes[number]

    def device(self, stage: int, item: int) -> str:
        devices = self.plan.stages[stage].devices
        return devices[item % len(devices)]


@dataclass(eq=False)
class _Flight:
    """An item under way. A new `attempt` makes all that belongs to earlier ones unwanted."""

    item: int
    due_s: float
    issued_s: float
    epoch: _Epoch
    attempt: int = 0
    sends: dict[int, list[Transfer]] = field(default_factory=dict)
    missing: dict[int, int] = field(default_factory=dict)
    unfinished: int = 0


class _Run:
    def __init__(
        self,
        plan: Plan,
        profile: Profile,
        fleet: Fleet,
        trace: Trace,
        load: Load,
        replanner: Replanner | None,
        detect_s: float,
    ) -> None:
        self.profile, self.fleet, self.trace, self.load = profile, fleet, trace, load
        self.replanner, self.detect_s = replanner, detect_s
        self.loop = EventLoop()
        self.epoch = _Epoch.of(plan, profile)
        self.servers = SimulatedFleet(fleet, self.loop)
        self.due = load.due_s()
        self.flights: dict[int, _Flight] = {}
        self.next_item = -load.warmup
        self.items: list[Item] = []
        self.events: list[Event] = []
        self.faults: list[Fault] = []
        self.busy_s: dict[str, float] = {}
        self.sent_bytes: dict[str, int] = {}
        self.start_s = 0.0
        self.adopted = 0
        self.room = load.in_flight or _filling(plan)

    def play(self) -> None:
        for event in self.trace.events:
            self.loop.at(event.at_s, partial(self.happen, event))
        self.admit()
        self.loop.run(until=lambda: len(self.items) == self.load.items)

    def admit(self) -> None:
        """Issues items that are due while there is room."""
        while len(self.flights) < self.room and self.next_item < self.load.items:
            number, self.next_item = self.next_item, self.next_item + 1
            due_s = self.due[number + self.load.warmup]
            # Without an interval nothing is due before there is room for it.
            flight = _Flight(number, due_s if self.load.interval_s else self.loop.now_s, 0.0, self.epoch)
            self.flights[number] = flight
            self.loop.at(due_s, partial(self.issue, flight))

    def issue(self, flight: _Flight) -> None:
        flight.issued_s = self.loop.now_s
        self.begin(flight)

    def begin(self, flight: _Flight) -> None:
        """Starts an item, or starts it again, with the plan that now holds."""
        flight.attempt += 1
        flight.epoch = self.epoch
        route = self.epoch.next_route()
        flight.sends, flight.missing = route.sends, dict(route.awaited)
        flight.unfinished = route.results + len(route.awaited)
        for stage, awaited in route.awaited.items():
            if not awaited:
                self.compute(flight, stage)
        for move in flight.sends.get(CALLER, []):
            self.send(flight, move)

    def compute(self, flight: _Flight, stage: int) -> None:
        device = flight.epoch.device(stage, flight.item)
        attempt = flight.attempt

        def finished(start_s: float, stop_s: float) -> None:
            self.record(Event("compute", flight.item, stage, device, start_s, stop_s))
            if flight.attempt == attempt:
                for move in flight.sends.get(stage, []):
                    self.send(flight, move)
                self.settle(flight)

        work_s = flight.epoch.work_s[stage][device]
        self.servers.device(device).push(Job(flight.item, stage, work_s, lambda: flight.attempt == attempt, finished))

    def send(self, flight: _Flight, move: Transfer) -> None:
        source, target = self.end(flight, move.source), self.end(flight, move.target)
        attempt = flight.attempt
        if source is None or target is None or source == target:
            self.deliver(flight, move, attempt)
            return

        def finished(start_s: float, stop_s: float) -> None:
            self.record(Event("transfer", flight.item, move.source, source, start_s, stop_s, move.known_bytes, target))
            self.loop.at(stop_s + self.servers.delay_s(source, target), lambda: self.deliver(flight, move, attempt))

        job = Job(flight.item, move.source, float(move.known_bytes), lambda: flight.attempt == attempt, finished)
        self.servers.link(source, target).push(job)

    def deliver(self, flight: _Flight, move: Transfer, attempt: int) -> None:
        if flight.attempt != attempt:
            return
        if move.target == CALLER:
            self.settle(flight)
            return
        flight.missing[move.target] -= 1
        if not flight.missing[move.target]:
            self.compute(flight, move.target)

    def end(self, flight: _Flight, stage: int) -> str | None:
        return self.fleet.source if stage == CALLER else flight.epoch.device(stage, flight.item)

    def settle(self, flight: _Flight) -> None:
        """One stage or result less to wait for; the last one completes the item."""
        flight.unfinished -= 1
        if flight.unfinished:
            return
        flight.attempt += 1
        del self.flights[flight.item]
        if flight.item >= 0:
            self.items.append(Item(flight.item, flight.due_s, flight.issued_s, self.loop.now_s))
        elif flight.item == -1:
            self.start_s = self.loop.now_s
        self.admit()

    def record(self, event: Event) -> None:
        if event.kind == "compute":
            self.busy_s[event.device] = self.busy_s.get(event.device, 0.0) + event.seconds
        elif event.kind == "transfer":
            self.sent_bytes[event.device] = self.sent_bytes.get(event.device, 0) + event.nbytes
        if event.item >= 0 or event.kind in ("load", "replan"):
            self.events.append(event)

    def happen(self, event: TraceEvent) -> None:
        """Lets an event of the trace take effect, and the fleet answer it."""
        left, returned = self.servers.happen(event)
        self.faults += [Fault("leave", device, self.loop.now_s + self.detect_s) for device in sorted(left)]
        for device in returned:
            self.recovered(device, "returned")
        if self.replanner is not None:
            self.loop.at(self.loop.now_s + self.detect_s, self.answer)

    def recovered(self, device: str, detail: str) -> None:
        for index, fault in enumerate(self.faults):
            if fault.device == device and fault.recovered_s is None:
                self.faults[index] = Fault(fault.kind, device, fault.detected_s, self.loop.now_s, detail)

    def answer(self) -> None:
        """Gets a new plan and adopts it when its parameters are loaded; without one, waits."""
        assert self.replanner is not None
        running, profile = self.epoch.plan, self.profile.with_speed(self.servers.state.speed_factor)
        try:
            fleet = self.servers.now()
            answered = self.replanner(running, profile, fleet)
        except MultiedgeError as error:
            self.faults.append(Fault("no plan", "", self.loop.now_s, None, str(error)))
            return
        self.adopted += 1
        if (answered.plan.stages, answered.plan.transfers, answered.plan.paths) == (
            running.stages,
            running.transfers,
            running.paths,
        ):
            return
        now_s, load_s = self.loop.now_s, 0.0
        for device, nbytes in bytes_to_load(profile.graph, running.stages, answered.plan.stages).items():
            seconds = nbytes / loading_bytes_per_s(fleet, device)
            load_s = max(load_s, seconds)
            self.record(Event("load", -1, -1, device, now_s, now_s + seconds, nbytes))
        self.record(Event("replan", -1, -1, answered.plan.stages[0].device, now_s, now_s + load_s))
        epoch = _Epoch.of(answered.plan, self.profile)
        self.loop.at(now_s + load_s, partial(self.adopt, epoch, self.adopted, answered.reason))

    def adopt(self, epoch: _Epoch, number: int, reason: str) -> None:
        """Makes the plan the one that holds, unless a later answer has come; restarts what cannot go on without it."""
        if number != self.adopted:
            return
        self.epoch = epoch
        for device in self.servers.state.absent - epoch.devices:
            self.recovered(device, reason)
        for flight in list(self.flights.values()):
            if flight.attempt and flight.epoch.devices & self.servers.state.absent:
                self.begin(flight)

    def measurements(self) -> Measurements:
        stop_s = self.loop.now_s
        done = {item.item for item in self.items}
        waiting = f"never completed: {self.obstacle()}"
        lost = [
            Item(number, self.due_s(number), self.due_s(number), stop_s, waiting)
            for number in range(self.load.items)
            if number not in done
        ]
        return Measurements(
            items=tuple(sorted([*self.items, *lost], key=lambda item: item.item)),
            events=tuple(self.events),
            start_s=self.start_s,
            stop_s=stop_s,
            warmup_items=self.load.warmup,
            faults=tuple(self.faults),
            memory=_planned_memory(self.epoch.plan, self.profile, self.fleet),
            energy=tuple(self.energy(device, stop_s) for device in sorted(self.busy_s)),
            settings=self.settings(),
        )

    def due_s(self, number: int) -> float:
        flight = self.flights.get(number)
        return flight.due_s if flight else self.due[number + self.load.warmup]

    def obstacle(self) -> str:
        gone = sorted(self.epoch.devices & self.servers.state.absent)
        return f"{', '.join(map(repr, gone))} left and did not return" if gone else "a link stays down"

    def energy(self, device: str, stop_s: float) -> Energy:
        power = self.fleet.device(device).power
        if power is None or stop_s <= 0:
            return Energy(device, None, None, None)
        sent_j = self.fleet.device(device).joules_per_byte * self.sent_bytes.get(device, 0)
        joules = power.idle_w * stop_s + (power.busy_w - power.idle_w) * self.busy_s[device] + sent_j
        return Energy(device, joules, power.busy_w, joules / stop_s, "modelled", f"power of devices.yaml ({power.source})")

    def settings(self) -> dict[str, object]:
        return {
            "scenario": "Server" if self.load.interval_s else "SingleStream" if self.room == 1 else "Offline",
            "executor": "simulated",
            "emulation": "modelled",
            "trace": self.trace.name,
            "adaptive": self.replanner is not None,
            "in_flight": self.room,
            "seed": self.load.seed,
            "strategy": self.epoch.plan.strategy,
        }


def _filling(plan: Plan) -> int:
    """Items under way that keep the bottleneck busy: those that the latency covers, and two for each stage."""
    expected = plan.estimate
    covered = math.ceil(expected.latency_s / expected.bottleneck_s) if expected.bottleneck_s > 0 else 0
    return 2 * len(plan.stages) + min(covered, 100_000) + 2


def _planned_memory(plan: Plan, profile: Profile, fleet: Fleet) -> tuple[Memory, ...]:
    needed = cost.memory_by_device(profile, fleet, plan.stages, plan.transfers, plan.paths)
    return tuple(
        Memory(each.device, None, planned_bytes=each.planned_bytes, limit_bytes=each.limit_bytes, method="planned")
        for each in cost.device_memory(fleet, needed)
    )
