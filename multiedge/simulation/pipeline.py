"""Items in a simulated pipeline: when they are issued, which plan they follow, and when they are complete."""

from __future__ import annotations

from collections.abc import Callable

from multiedge.fleet import Fleet
from multiedge.measurements import Item
from multiedge.plan import Plan
from multiedge.profile import Profile
from multiedge.simulation.epoch import Epoch, Flight, Resources
from multiedge.simulation.event_loop import EventLoop
from multiedge.simulation.fleet import SimulatedFleet
from multiedge.simulation.load import Load
from multiedge.simulation.record import Record
from multiedge.simulation.work import ALIKE, Drawn, Items


class Pipeline:
    """Issues items while there is room, and has each of them pass the stages of the plan that holds."""

    def __init__(self, plan: Plan, profile: Profile, fleet: Fleet, load: Load, items: Items = ALIKE) -> None:
        self.load, self.profile = load, profile
        self.loop = EventLoop()
        drawn = Drawn.of(items.work, profile, load.warmup, load.items) if items.work else None
        joins = drawn is not None or bool(items.batches)
        self.servers: SimulatedFleet[Flight] = SimulatedFleet(fleet, self.loop, joins=joins)
        self.record = Record()
        self.items: list[Item] = []
        self.flights: dict[int, Flight] = {}
        self.room = load.room(plan)
        self._resources = Resources(self.loop, self.servers, self.record, self._complete, drawn, items.batches)
        self._due_s, self._next_item = load.due_s(), -load.warmup
        self._caller_free_s = 0.0
        self.epoch = self.prepared(plan)
        self.devices = set(self.epoch.devices)

    def prepared(self, plan: Plan) -> Epoch:
        """A plan made ready for items."""
        return Epoch.of(plan, self.profile, self._resources)

    def play(self) -> None:
        """Runs until every item is complete, or nothing happens any more."""
        self._admit()
        self.loop.run()

    def adopt(self, epoch: Epoch, restarts: Callable[[Epoch], bool]) -> None:
        """Has items follow a plan from now on, also those under way whose plan `restarts`."""
        self.epoch = epoch
        self.devices |= epoch.devices
        for flight in list(self.flights.values()):
            if flight.epoch is not None and restarts(flight.epoch):
                flight.wanted = False
                self._begin(Flight(flight.item, flight.due_s, flight.issued_s))

    def due_s(self, number: int) -> float:
        """When an item is, or would have been, due."""
        flight = self.flights.get(number)
        return flight.due_s if flight else self._due_s[number + self.load.warmup]

    def _admit(self) -> None:
        """Issues items that are due while there is room."""
        while len(self.flights) < self.room and self._next_item < self.load.items:
            number, self._next_item = self._next_item, self._next_item + 1
            due_s = self._due_s[number + self.load.warmup]
            # Without an interval nothing is due before there is room for it.
            flight = self.flights[number] = Flight(number, due_s if self.load.interval_s else self.loop.now_s)
            self.loop.at(due_s, self._issue, flight)

    def _issue(self, flight: Flight) -> None:
        flight.issued_s = self.loop.now_s
        caller_s = self.epoch.caller_s
        if not caller_s:
            self._begin(flight)
            return
        self._caller_free_s = max(self._caller_free_s, self.loop.now_s) + caller_s
        self.loop.at(self._caller_free_s, self._begin, flight)

    def _begin(self, flight: Flight) -> None:
        """Starts an attempt with the plan that now holds."""
        self.flights[flight.item] = flight
        flight.epoch = self.epoch
        self.epoch.next_route().begin(flight)

    def _complete(self, flight: Flight) -> None:
        flight.wanted = False
        del self.flights[flight.item]
        if flight.item >= 0:
            self.items.append(Item(flight.item, flight.due_s, flight.issued_s, self.loop.now_s))
            if len(self.items) == self.load.items:
                self.loop.stop()
        elif flight.item == -1:
            self.record.begin_window(self.loop.now_s)
        self._admit()
