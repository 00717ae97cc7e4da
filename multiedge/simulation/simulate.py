"""A plan on a fleet under a trace, without running it: a discrete-event model that leaves Measurements.

Each device computes one item of one stage at a time, each direction of a link carries one message at a time, and what
is queued goes by item, so that nothing waits for a later one. Times are those of `multiedge.planning.cost`: without a trace the
rate in the steady state is one item per `Estimate.bottleneck_s`. Items are admitted while fewer than `in_flight` are
under way, as bounded queues would have it. Where a plan has several paths, each gets its share of the items.

A device that leaves loses its current item, and all that waits on it starts again when it returns; while it is away it computes
and draws nothing. A link that is down holds what it carries. With a `replanner` (see `multiedge.replanning.replan`) there is a
new plan `detect_s` after each event: devices load the parameters that they lack, and then new items follow the new plan.
Items that were under way on a device that is gone begin again with it. In a plan with several paths, items go on over the paths
that are whole, `detect_s` after a device has left, and no new plan is made as long as there is one.

    work.py        what single items take where they differ, and which stages join them
    load.py        the load: when items are due, and how many may be under way
    event_loop.py  simulated time, and servers that do one task at a time
    joining.py     a device that joins items, and whose items differ
    links.py       a direction of a link as a server
    fleet.py       devices and links as servers
    epoch.py       a plan made ready: what stages compute and send
    pipeline.py    items, from when they are issued until they are complete
    changes.py     what a trace does: faults, recoveries, new plans
    record.py      events up to a limit, and totals
"""

from __future__ import annotations

import math

from multiedge.errors import ConfigError
from multiedge.fleet import Fleet
from multiedge.measurements import DeviceTotal, Energy, Item, Measurements, Memory
from multiedge.plan import Plan, require
from multiedge.planning import memory
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from multiedge.simulation.changes import Changes, Replanned, Replanner
from multiedge.simulation.load import Load
from multiedge.simulation.pipeline import Pipeline
from multiedge.simulation.record import modelled_energy
from multiedge.simulation.work import ALIKE, Items, ItemWork, StageBatch
from multiedge.trace import Trace

__all__ = ["ItemWork", "Items", "Load", "Replanned", "Replanner", "StageBatch", "simulate"]


def simulate(
    plan: Plan,
    profile: Profile,
    fleet: Fleet,
    trace: Trace | None = None,
    load: Load | None = None,
    *,
    items: Items = ALIKE,
    replanner: Replanner | None = None,
    detect_s: float = 0.0,
) -> Measurements:
    """What the run would have measured. Items that never complete carry an error that says what they wait for.

    Of a long run only the first events are kept; `totals` has those of each device. `items` says how items differ and which
    stages join them, in plans without new ones.

    Raises PlanError for a plan that cannot run on the declared fleet, ConfigError for a trace that cannot be played.
    """
    require(violations(profile, fleet, plan.stages, plan.transfers, plan.paths))
    trace = trace or Trace()
    wrong = trace.violations(fleet)
    if wrong:
        raise ConfigError("; ".join(wrong))
    if not 0 <= detect_s < math.inf:
        raise ConfigError(f"detect_s: expected seconds from 0, got {detect_s}")
    pipeline = Pipeline(plan, profile, fleet, load or Load(), items)
    changes = Changes(pipeline, trace, replanner, detect_s)
    pipeline.play()
    settings: dict[str, object] = {
        "scenario": "Server" if pipeline.load.interval_s else "SingleStream" if pipeline.room == 1 else "Offline",
        "executor": "simulated",
        "emulation": "modelled",
        "trace": trace.name,
        "adaptive": replanner is not None,
        "in_flight": pipeline.room,
        "seed": pipeline.load.seed,
        "strategy": pipeline.epoch.plan.strategy,
    }
    return _measurements(pipeline, changes, settings)


def _measurements(pipeline: Pipeline, changes: Changes, settings: dict[str, object]) -> Measurements:
    fleet, record = pipeline.servers.declared, pipeline.record
    start_s, stop_s, totals = record.start_s, pipeline.loop.now_s, record.totals()

    def energy(total: DeviceTotal) -> Energy:
        absent_s = pipeline.servers.absent_s(total.device, start_s, stop_s)
        return modelled_energy(fleet.device(total.device), total, stop_s - start_s, absent_s)

    return Measurements(
        items=tuple(sorted([*pipeline.items, *_lost(pipeline, changes.obstacle)], key=lambda item: item.item)),
        events=tuple(record.events),
        start_s=start_s,
        stop_s=stop_s,
        warmup_items=pipeline.load.warmup,
        faults=tuple(changes.faults),
        memory=_planned_memory(pipeline.epoch.plan, pipeline.profile, fleet),
        energy=tuple(energy(total) for total in totals if total.device in pipeline.devices),
        settings=settings,
        totals=totals,
        left_out_events=record.left_out,
    )


def _lost(pipeline: Pipeline, obstacle: str) -> list[Item]:
    """The items that never completed."""
    done, stop_s = {item.item for item in pipeline.items}, pipeline.loop.now_s
    numbers = [number for number in range(pipeline.load.items) if number not in done]
    return [
        Item(number, pipeline.due_s(number), pipeline.due_s(number), stop_s, f"never completed: {obstacle}")
        for number in numbers
    ]


def _planned_memory(plan: Plan, profile: Profile, fleet: Fleet) -> tuple[Memory, ...]:
    needed = memory.memory_by_device(profile, fleet, plan.stages, plan.transfers, plan.paths)
    return tuple(
        Memory(each.device, None, planned_bytes=each.planned_bytes, limit_bytes=each.limit_bytes, method="planned")
        for each in memory.device_memory(fleet, needed)
    )
