"""What a trace does to a simulated pipeline: faults, recoveries, and new plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from multiedge.errors import MultiedgeError
from multiedge.fleet import Fleet
from multiedge.measurements import Event, Fault
from multiedge.plan import Plan
from multiedge.planning.loading import bytes_to_load, loading_bytes_per_s
from multiedge.planning.paths import on_paths_left
from multiedge.profile import Profile
from multiedge.simulation.epoch import Epoch
from multiedge.simulation.pipeline import Pipeline
from multiedge.trace import Trace, TraceEvent


class Replanned(Protocol):
    """What a replanner answers."""

    @property
    def plan(self) -> Plan: ...
    @property
    def reason(self) -> str: ...


Replanner = Callable[[Plan, Profile, Fleet], Replanned]
"""(running plan, profile and fleet as they are now) -> the plan to go on with."""


class Changes:
    """The events of a trace. `detect_s` after each of them, items take the paths that are whole; where there is none, a
    `replanner`, if there is one, is asked for a plan."""

    def __init__(self, pipeline: Pipeline, trace: Trace, replanner: Replanner | None, detect_s: float) -> None:
        self.faults: list[Fault] = []
        self._pipeline, self._replanner, self._detect_s = pipeline, replanner, detect_s
        self._loop, self._servers = pipeline.loop, pipeline.servers
        self._plans, self._planned = 0, pipeline.epoch.plan
        for event in trace.events:
            self._loop.at(event.at_s, self._happen, event)

    @property
    def obstacle(self) -> str:
        """What items wait for that never complete, in words."""
        gone = sorted(self._pipeline.epoch.devices & self._servers.state.absent)
        return f"{', '.join(map(repr, gone))} left and did not return" if gone else "a link stays down"

    def _happen(self, event: TraceEvent) -> None:
        left, returned = self._servers.happen(event)
        self.faults += [Fault("leave", device, self._loop.now_s + self._detect_s) for device in sorted(left)]
        for device in returned:
            self._recover(device, "returned")
        answered_s = self._loop.now_s + self._detect_s
        plan = on_paths_left(self._planned, self._servers.declared, self._servers.state.absent) if left or returned else None
        if plan is not None:
            self._plans += 1
            take = partial(self._adopt, number=self._plans, reason="items take the paths that are left")
            self._loop.at(answered_s, take, self._pipeline.prepared(plan))
        elif self._replanner is not None:
            self._loop.at(answered_s, self._replan, self._replanner)

    def _recover(self, device: str, detail: str) -> None:
        self.faults = [
            replace(fault, recovered_s=self._loop.now_s, detail=detail)
            if fault.device == device and fault.recovered_s is None
            else fault
            for fault in self.faults
        ]

    def _replan(self, replanner: Replanner) -> None:
        """Gets a new plan and adopts it when its parameters are loaded; without one, waits."""
        running, now_s = self._pipeline.epoch.plan, self._loop.now_s
        profile = self._pipeline.profile.with_speed(self._servers.state.speed_factor)
        try:
            fleet = self._servers.now()
            answered = replanner(running, profile, fleet)
        except MultiedgeError as error:
            self.faults.append(Fault("no plan", "", now_s, None, str(error)))
            return
        plan = answered.plan
        self._plans += 1
        if (plan.stages, plan.transfers, plan.paths) == (running.stages, running.transfers, running.paths):
            return
        load_s, record, self._planned = 0.0, self._pipeline.record, plan
        for device, nbytes in bytes_to_load(profile.graph, running.stages, plan.stages).items():
            seconds = nbytes / loading_bytes_per_s(fleet, device)
            load_s = max(load_s, seconds)
            record.keep(Event("load", -1, -1, device, now_s, now_s + seconds, nbytes))
        record.keep(Event("replan", -1, -1, plan.stages[0].device, now_s, now_s + load_s))
        self._loop.at(
            now_s + load_s, partial(self._adopt, number=self._plans, reason=answered.reason), self._pipeline.prepared(plan)
        )

    def _adopt(self, epoch: Epoch, number: int, reason: str) -> None:
        """Makes the plan the one that holds, unless a later answer has come; restarts what cannot go on without it."""
        if number != self._plans:
            return
        absent = self._servers.state.absent
        for device in absent - epoch.devices:
            self._recover(device, reason)
        self._pipeline.adopt(epoch, lambda running: bool(running.devices & absent))
