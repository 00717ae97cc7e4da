"""A plan made ready for simulation: what each stage computes for an item on each of its devices, and what it sends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from multiedge.measurements import Event
from multiedge.plan import CALLER, Plan, Transfer, next_path
from multiedge.planning import cost
from multiedge.profile import Profile
from multiedge.simulation.event_loop import EventLoop
from multiedge.simulation.fleet import SimulatedFleet
from multiedge.simulation.record import Record
from multiedge.simulation.work import ALONE, Drawn, StageBatch


@dataclass(eq=False, slots=True)
class Flight:
    """One attempt to complete an item. It is `wanted` until the item is complete or begins again as another Flight.

    `epoch` is None until it is issued; `unfinished` counts its stages and results, and `missing` the inputs of stages of which
    some have arrived.
    """

    item: int
    due_s: float
    issued_s: float = 0.0
    epoch: Epoch | None = None
    wanted: bool = True
    unfinished: int = 0
    missing: dict[int, int] = field(default_factory=dict)


Step = Callable[[Flight], None]
"""What happens to an item next."""


@dataclass(frozen=True, eq=False)
class Resources:
    """What the stages of all epochs use. `complete` is called when all stages and results of an item are complete."""

    loop: EventLoop
    servers: SimulatedFleet[Flight]
    record: Record
    complete: Step
    drawn: Drawn | None = None
    """What single items take; None where all take the same."""
    batches: Mapping[int, StageBatch] = field(default_factory=dict)


class Compute:
    """A stage on one device, which sends its results on. It takes `whole_s` with its messages; where items differ, `each_s` has
    what each row of them takes, and `runs` whether the stage computes it."""

    __slots__ = (
        *("_complete", "_each_s", "_is_kept", "_meter", "_record", "_rows", "_runs"),
        *("batch", "device", "push", "sends", "stage", "work"),
    )

    def __init__(
        self,
        stage: int,
        device: str,
        whole_s: float,
        resources: Resources,
        each_s: Sequence[float] = (),
        runs: Sequence[bool] = (),
    ) -> None:
        self.stage, self.device, self.work = stage, device, whole_s
        self.batch = resources.batches.get(stage, ALONE)
        self._each_s, self._runs, self._rows = each_s, runs, resources.drawn.rows if resources.drawn else {}
        self.push = resources.servers.device(device).push
        self.sends: tuple[Step, ...] = ()
        self._record, self._complete = resources.record, resources.complete
        self._meter = resources.record.meter(device)
        self._is_kept = False

    def work_of(self, flight: Flight) -> float:
        """What the stage takes for an item alone."""
        return self._each_s[self._rows[flight.item]] if self._each_s else self.work

    def joins(self, flight: Flight) -> bool:
        """Whether the stage computes the item with others: not one for which it has nothing to compute."""
        return self.batch.most > 1 and (not self._runs or self._runs[self._rows[flight.item]])

    def finished(self, flight: Flight, start_s: float, stop_s: float) -> None:
        """Records the computing and sends the results."""
        if flight.item >= 0:
            record = self._record
            self._meter.compute(start_s, stop_s, record.start_s)
            if record.is_full and self._is_kept:
                record.left_out += 1
            else:
                self._keep(flight.item, start_s, stop_s)
        if flight.wanted:
            for send in self.sends:
                send(flight)
            flight.unfinished -= 1
            if not flight.unfinished:
                self._complete(flight)

    def lost(self, flight: Flight, start_s: float, stop_s: float) -> None:
        """Records computing without a result."""
        if flight.item >= 0 and stop_s > start_s:
            self._meter.compute(start_s, stop_s, self._record.start_s)
            self._keep(flight.item, start_s, stop_s)

    def _keep(self, item: int, start_s: float, stop_s: float) -> None:
        if self._is_kept and self._record.is_full:
            self._record.left_out += 1
        else:
            self._is_kept = True
            self._record.keep(Event("compute", item, self.stage, self.device, start_s, stop_s))


class Arrival:
    """Where messages of one route enter a stage, which computes once all that it awaits has arrived."""

    __slots__ = ("_awaited", "_computes", "_only", "_stage")

    def __init__(self, stage: int, awaited: int, computes: Sequence[Compute]) -> None:
        self._stage, self._awaited, self._computes = stage, awaited, computes
        self._only = computes[0] if len(computes) == 1 else None

    def arrive(self, flight: Flight) -> None:
        """Takes one message."""
        if not flight.wanted:
            return
        if self._awaited > 1:
            missing = flight.missing.get(self._stage, self._awaited) - 1
            flight.missing[self._stage] = missing
            if missing:
                return
        compute = self._only or self._computes[flight.item % len(self._computes)]
        compute.push(compute, flight)


class Hop:
    """A message from one device to another, of `work` bytes."""

    __slots__ = ("_arrive", "_into", "_is_kept", "_link", "_meter", "_nbytes", "_record", "source", "stage", "target", "work")

    def __init__(self, move: Transfer, source: str, target: str, arrive: Step, resources: Resources) -> None:
        self.stage, self.source, self.target, self.work = move.source, source, target, float(move.known_bytes)
        self._arrive, self._into, self._nbytes = arrive, move.target, move.known_bytes
        self._link = resources.servers.link(source, target)
        self._record, self._meter = resources.record, resources.record.meter(source)
        self._is_kept = False

    @property
    def send(self) -> Step:
        """Sends the message of an item."""
        return partial(self._link.push, self)

    def finished(self, flight: Flight, start_s: float, stop_s: float) -> None:
        """Records the message, which has left at `stop_s` and arrives now."""
        if flight.item >= 0:
            self._meter.sent_bytes += self._nbytes
            record = self._record
            if record.is_full and self._is_kept:
                record.left_out += 1
            else:
                event = Event("transfer", flight.item, self._into, self.source, start_s, stop_s, self._nbytes, self.target)
                record.keep(event)
                self._is_kept = True
        self._arrive(flight)

    def lost(self, flight: Flight, start_s: float, stop_s: float) -> None:
        """Does not happen: a link whose end is away holds what it carries."""


class Turns:
    """A transfer to devices that take items in turn. Its messages are made when an item first needs them, since a stage with
    many replicas may send to another one with many."""

    __slots__ = ("_make", "_steps", "_targets")

    def __init__(self, targets: Sequence[str], make: Callable[[str], Step]) -> None:
        self._targets, self._make = targets, make
        self._steps: dict[str, Step] = {}

    def send(self, flight: Flight) -> None:
        """Sends the message of an item."""
        target = self._targets[flight.item % len(self._targets)]
        step = self._steps.get(target)
        if step is None:
            step = self._steps[target] = self._make(target)
        step(flight)


class Sized:
    """A transfer whose messages differ in size from item to item. A message is made when an item first has its size."""

    __slots__ = ("_each_bytes", "_make", "_rows", "_steps")

    def __init__(self, each_bytes: Sequence[int], rows: Mapping[int, int], make: Callable[[int], Step]) -> None:
        self._each_bytes, self._rows, self._make = each_bytes, rows, make
        self._steps: dict[int, Step] = {}

    def send(self, flight: Flight) -> None:
        """Sends the message of an item."""
        nbytes = self._each_bytes[self._rows[flight.item]]
        step = self._steps.get(nbytes)
        if step is None:
            step = self._steps[nbytes] = self._make(nbytes)
        step(flight)


def sending(move: Transfer, source: str | None, targets: Sequence[str], arrive: Step, resources: Resources) -> Step:
    """What sends a message from a device to those of its target. Within a device, and from or to a caller without a device, it
    takes no time."""

    drawn = resources.drawn

    def make(target: str) -> Step:
        if source is None or source == target:
            return arrive
        if drawn is None:
            return Hop(move, source, target, arrive, resources).send
        return Sized(
            drawn.transfer_bytes(move),
            drawn.rows,
            lambda nbytes: Hop(replace(move, nbytes=nbytes), source, target, arrive, resources).send,
        ).send

    if source is None or not targets:
        return arrive
    return make(targets[0]) if len(targets) == 1 else Turns(targets, make).send


@dataclass(frozen=True, eq=False)
class Route:
    """What an item passes: `first` steps, which stages that need no input and the caller do, and how many stages and results it
    has."""

    first: tuple[Step, ...]
    parts: int

    @classmethod
    def of(cls, computes: Mapping[int, Sequence[Compute]], transfers: Sequence[Transfer], resources: Resources) -> Route:
        """The route through some stages, of which `computes` are what each of them does on each of its devices."""
        awaited = Counter(move.target for move in transfers)
        home = resources.servers.declared.source
        arrivals = {stage: Arrival(stage, awaited[stage], each).arrive for stage, each in computes.items()}
        devices = {stage: [compute.device for compute in each] for stage, each in computes.items()}
        arrivals[CALLER] = partial(_take_result, resources.complete)
        devices[CALLER] = [] if home is None else [home]
        leaving: dict[int, list[Transfer]] = {}
        for move in transfers:
            leaving.setdefault(move.source, []).append(move)

        def sends(stage: int, device: str | None) -> tuple[Step, ...]:
            moves = leaving.get(stage, ())
            return tuple(sending(move, device, devices[move.target], arrivals[move.target], resources) for move in moves)

        for stage, each in computes.items():
            for compute in each:
                compute.sends = sends(stage, compute.device)
        alone = tuple(arrivals[stage] for stage in computes if not awaited[stage])
        return cls((*alone, *sends(CALLER, home)), len(computes) + awaited[CALLER])

    def begin(self, flight: Flight) -> None:
        """Starts an item."""
        flight.unfinished = self.parts
        for step in self.first:
            step(flight)


def _take_result(complete: Step, flight: Flight) -> None:
    """What the caller does with a result: it counts unless the item has begun again."""
    if flight.wanted:
        flight.unfinished -= 1
        if not flight.unfinished:
            complete(flight)


@dataclass(frozen=True, eq=False)
class Epoch:
    """A plan that items follow from some moment on: a route for each path, how many items have taken each, and what the caller
    takes for each item."""

    plan: Plan
    routes: tuple[Route, ...]
    taken: list[int]
    devices: frozenset[str]
    caller_s: float = 0.0

    @classmethod
    def of(cls, plan: Plan, profile: Profile, resources: Resources) -> Epoch:
        """The epoch of a plan."""
        held = cost.held_nodes(profile, plan.stages)
        every = tuple(range(len(plan.stages)))
        ways = [
            (path.stages, [move for move in plan.transfers if (move.source, move.target) in path.steps]) for path in plan.paths
        ] or [(every, list(plan.transfers))]
        own, shares = profile.pipeline, cost.Shares.of(len(plan.stages), plan.paths)
        own_s = cost.own_seconds(own, plan.stages, plan.transfers, shares) if own else [0.0] * len(plan.stages)
        drawn = resources.drawn
        costs = drawn.profile if drawn else profile
        work_s = [{device: cost.compute_s(costs, stage, device, held) for device in stage.devices} for stage in plan.stages]
        caller_s = cost.caller_seconds(own, plan.transfers, shares) if own else 0.0
        routes = []
        for stages, transfers in ways:
            computes = {
                number: [
                    Compute(
                        number,
                        device,
                        seconds + own_s[number],
                        resources,
                        drawn.stage_seconds(plan.stages[number], device, seconds, own_s[number]) if drawn else (),
                        drawn.runs(plan.stages[number], device) if drawn else (),
                    )
                    for device, seconds in work_s[number].items()
                ]
                for number in stages
            }
            routes.append(Route.of(computes, transfers, resources))
        used = {stage for stages, _ in ways for stage in stages}
        devices = frozenset(device for stage in used for device in plan.stages[stage].devices)
        return cls(plan, tuple(routes), [0] * len(routes), devices, caller_s)

    def next_route(self) -> Route:
        """The route of the next item."""
        number = next_path(self.plan.paths, self.taken) if self.plan.paths else 0
        self.taken[number] += 1
        return self.routes[number]
