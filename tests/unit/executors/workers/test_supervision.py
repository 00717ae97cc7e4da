"""The policy as a table: what happens, and what comes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from multiedge.executors.workers.actions import (
    DoubleLimit,
    EnterEpoch,
    RecordEvent,
    RecordFault,
    RecordRecovery,
    Send,
    SetLink,
    SetSpeed,
)
from multiedge.executors.workers.messages import Configure, Failed, Prepare
from multiedge.executors.workers.observation import QUIET_S, Busy, Inactivity
from multiedge.executors.workers.options import Deadlines
from multiedge.executors.workers.supervision import MOST_CRASHES
from multiedge.fleet import Link
from multiedge.trace import DeviceEvent, LinkEvent
from tests.builders.flow import chain_manifest
from tests.builders.supervision import LIMIT_S, TICK_S, Script, Supervised, fleet_of

COOLDOWN_S = 2.0
NO_RETURN = Deadlines(rejoin=False)
CANNOT_LOAD = {"failure": Failed("load", "stage_1 is missing")}
SMALL = fleet_of(4, memory_bytes=1000)
LIMITED = {"fleet": SMALL}


def leave(device: str) -> DeviceEvent:
    return DeviceEvent(0.0, device, "leave")


def back(device: str) -> DeviceEvent:
    return DeviceEvent(0.0, device, "return")


def starve(run: Supervised, device: str, cpu_s: float) -> None:
    """A second in which the worker computes and is silent."""
    if device in run.workers:
        run.change(device, silent_s=1.0 + cpu_s, cpu_s=cpu_s).wait(1.0)


def silence(
    run: Supervised, device: str, inactivity: Inactivity | None, seconds: float, age_s: float = QUIET_S, **shows: Any
) -> Supervised:
    """The worker has been silent for `age_s`, and stays so."""
    for tick in range(round(seconds / TICK_S)):
        if device in run.workers:
            run.change(device, silent_s=age_s + tick * TICK_S, cpu_s=1.0, inactivity=inactivity, **shows)
        run.look()
    return run


@dataclass(frozen=True)
class Row:
    """After `script`: what is `placed` where, in which phase, with which faults, after how many epochs."""

    name: str
    script: Script
    placed: str = "d0 d1 d2"
    faults: str = ""
    epochs: int = 0
    phase: str = "Running"
    rules: dict[str, Any] = field(default_factory=dict)
    newborn: dict[str, Any] = field(default_factory=dict)
    """What workers show that are started later, by device."""


def one_device(**rules: Any) -> dict[str, Any]:
    return {"manifest": chain_manifest("d0"), "fleet": fleet_of(1), **rules}


REPLICAS = {"manifest": chain_manifest("d0", ("d1", "d2")), "fleet": fleet_of(4)}
AT_D0 = {"fleet": replace(fleet_of(4), source="d0")}

WORKERS = [
    Row("nothing happens", lambda run: run.wait(1.0)),
    Row("a worker ends", lambda run: run.end("d1").wait(0.1), "d0 d3 d2", "crash d1", 1),
    Row("a worker is silent for long", lambda run: run.change("d1", silent_s=2.1).wait(0.1), "d0 d3 d2", "hang d1", 1),
    Row("a worker is silent for a while", lambda run: run.change("d1", silent_s=1.9).wait(0.1)),
    Row("a silent worker computes: the host is busy", lambda run: [starve(run, "d1", cpu_s) for cpu_s in range(20)]),
    Row("a silent worker computes nothing for a while", lambda run: run.change("d1", silent_s=1.0, cpu_s=4.0).wait(1.6)),
    Row(
        "a silent worker has computed nothing for long",
        lambda run: run.change("d1", silent_s=1.0, cpu_s=4.0).wait(1.9),
        "d0 d3 d2",
        "hang d1",
        1,
    ),
    Row(
        "the supervisor itself was stopped, and signs of life come again",
        lambda run: run.change("d1", silent_s=30.0, cpu_s=4.0).wait(0.1).change("d1", silent_s=0.0, cpu_s=None).wait(3.0),
    ),
    Row(
        "a silent worker computes for ever",
        lambda run: [starve(run, "d1", cpu_s) for cpu_s in range(61)],
        "d0 d3 d2",
        "hang d1",
        1,
        rules={"deadlines": Deadlines(rejoin=False)},
    ),
    Row(
        "a worker is stopped while it computes",
        lambda run: silence(run, "d1", Inactivity.STOPPED, 0.3, busy=Busy(1, 7, 0.4)),
        "d0 d3 d2",
        "hang d1",
        1,
    ),
    Row(
        "a worker is stopped for a moment",
        lambda run: silence(run, "d1", Inactivity.STOPPED, 0.18).change("d1", silent_s=0.0).wait(5.0),
    ),
    Row(
        "a worker without a stage to compute sleeps",
        lambda run: silence(run, "d1", Inactivity.ASLEEP, 0.3),
        "d0 d3 d2",
        "hang d1",
        1,
    ),
    Row(
        "a worker sleeps while its device computes",
        lambda run: silence(run, "d1", Inactivity.ASLEEP, 1.6, busy=Busy(1, 7, 0.4)),
    ),
    Row(
        "a worker hangs in the runtime of its device",
        lambda run: silence(run, "d1", Inactivity.ASLEEP, 1.8, busy=Busy(1, 7, 0.4)),
        "d0 d3 d2",
        "hang d1",
        1,
    ),
    Row(
        "the supervisor itself was stopped, and the worker goes on after it",
        lambda run: silence(run, "d1", Inactivity.STOPPED, 0.18, age_s=30.0).change("d1", silent_s=0.0).wait(3.0),
    ),
    Row("a silent worker waits for a processor", lambda run: silence(run, "d1", None, 1.6)),
    Row(
        "a silent worker waits for a processor, and is then stopped",
        lambda run: silence(silence(run, "d1", None, 1.0), "d1", Inactivity.STOPPED, 0.48),
    ),
    Row(
        "a stage takes longer than it may",
        lambda run: run.change("d1", busy=Busy(1, 7, LIMIT_S + 0.1)).wait(0.1),
        "d0 d3 d2",
        "slow d1",
        1,
    ),
    Row("a stage takes as long as it may", lambda run: run.change("d1", busy=Busy(1, 7, LIMIT_S)).wait(0.1)),
    Row(
        "a worker outgrows its device",
        lambda run: run.change("d2", resident_bytes=1001).wait(0.1),
        "d0 d1 d3",
        "memory d2",
        1,
        rules=LIMITED,
    ),
    Row("a worker just fits", lambda run: run.change("d2", resident_bytes=1000).wait(0.1), rules=LIMITED),
    Row(
        "nobody knows how large a worker is",
        lambda run: run.change("d2", resident_bytes=None).wait(0.1),
        rules=LIMITED,
    ),
    Row("a device has no limit", lambda run: run.change("d2", resident_bytes=1 << 40).wait(0.1)),
    Row(
        "limits are not emulated",
        lambda run: run.change("d2", resident_bytes=1001).wait(0.1),
        rules={"fleet": SMALL, "limits_memory": False},
    ),
    Row("two workers end at the same time", lambda run: run.end("d0", "d2").wait(0.1), "d3 d1 d1", "crash d0, crash d2", 1),
    Row("all but one end", lambda run: run.end("d0", "d1").end("d2").wait(0.1), "d3 d3 d3", "crash d0, crash d1, crash d2", 1),
    Row(
        "the device that stands in ends, too",
        lambda run: run.end("d1").wait(0.1).end("d3").wait(0.1),
        "d0 d0 d2",
        "crash d1, crash d3",
        2,
    ),
    Row(
        "a worker without a stage ends",
        lambda run: run.end("d1").wait(COOLDOWN_S + 0.1).end("d3").wait(0.1),
        faults="crash d1, return d1, crash d3",
        epochs=2,
    ),
    Row("one of two replicas ends", lambda run: run.end("d2").wait(0.1), "d0 d1", "crash d2", 1, rules=REPLICAS),
    Row("the first of two replicas ends", lambda run: run.end("d1").wait(0.1), "d0 d2", "crash d1", 1, rules=REPLICAS),
    Row("both replicas end", lambda run: run.end("d1", "d2").wait(0.1), "d0 d3", "crash d1, crash d2", 1, rules=REPLICAS),
    Row(
        "a stage has a fall-back",
        lambda run: run.end("d1").wait(0.1),
        "d0 d2 d2",
        "crash d1",
        1,
        rules={"fallbacks": {1: ("d2", "d3")}},
    ),
    Row(
        "the first fall-back is away, too",
        lambda run: run.end("d1", "d2").wait(0.1),
        "d0 d3 d0",
        "crash d1, crash d2",
        1,
        rules={"fallbacks": {1: ("d2", "d3")}},
    ),
]

LINKS = [
    Row("a link takes nothing", lambda run: run.stick("d0", "d1", 1.1).wait(0.1), "d0 d3 d2", "link d1", 1),
    Row("a link takes nothing for a while", lambda run: run.stick("d0", "d1", 0.9).wait(0.1)),
    Row("a link is slow, as it may be", lambda run: run.stick("d0", "d1", 2.9, slack_s=2.0)),
    Row("a link is slower than it may be", lambda run: run.stick("d0", "d1", 3.2, slack_s=2.0), "d0 d3 d2", "link d1", 1),
    Row("the receiver is busy", lambda run: run.stick("d0", "d1", 1.5, receiver_is_idle=False)),
    Row(
        "messages are taken one after another",
        lambda run: [run.stick("d0", "d1", 0.6, taken=taken) for taken in (1, 2, 3)],
    ),
    Row("the receiver is where the caller is", lambda run: run.stick("d1", "d0", 1.2), "d0 d3 d2", "link d1", 1, rules=AT_D0),
    Row("the caller cannot reach a device", lambda run: run.stick("d0", "d1", 1.2), "d0 d3 d2", "link d1", 1, rules=AT_D0),
    Row("nobody knows where the caller is", lambda run: run.stick(None, "d0", 1.2), "d3 d1 d2", "link d0", 1),
    Row("a device cannot reach the caller", lambda run: run.stick("d2", None, 1.2), "d0 d1 d3", "link d2", 1),
    Row("both ends are the caller's device", lambda run: run.stick("d0", "d0", 3.0), rules=AT_D0),
    Row(
        "a worker has just been started",
        lambda run: run.end("d1").wait(COOLDOWN_S + 0.1).stick("d3", "d2", 3.0),
        "d0 d3 d2",
        "crash d1",
        1,
        newborn={"d1": {"ignores": True}},
    ),
    Row(
        "a worker was started a while ago",
        lambda run: run.end("d1").wait(COOLDOWN_S + 5.1).stick("d3", "d2", 1.2),
        "d0 d3 d0",
        "crash d1, link d2",
        2,
        newborn={"d1": {"ignores": True}},
    ),
]

ENTERING = [
    Row(
        "the stand-in ends before it has entered",
        lambda run: run.end("d1").wait(0.2),
        "d0 d0 d2",
        "crash d1, crash d3",
        1,
        newborn={"d3": {"ended": "ended with status 1"}},
    ),
    Row(
        "the stand-in cannot load the stage",
        lambda run: run.end("d1").wait(0.2),
        "d0 d0 d2",
        "crash d1, load d3",
        1,
        newborn={"d3": CANNOT_LOAD},
    ),
    Row(
        "another one ends before all have entered",
        lambda run: run.end("d1").end("d0").change("d3", ignores=False).wait(0.1),
        "d2 d3 d2",
        "crash d1, crash d0",
        1,
        newborn={"d3": {"ignores": True}},
    ),
    Row(
        "a worker that is not needed ends meanwhile",
        lambda run: (
            run.end("d1").wait(COOLDOWN_S + 0.1),  # d1 is back, d3 holds nothing
            run.change("d2", ignores=True).end("d0").wait(0.1),
            run.change("d1", ignores=False),
        ),
        "d3 d1 d2",
        "crash d1, return d1, crash d0",
        2,
        "Entering",
    ),
    Row(
        "a busy worker computes no longer than it may",
        lambda run: run.change("d2", busy=Busy(2, 7, 0.1)).end("d1").wait(1.0).change("d2", busy=None).wait(0.1),
        "d0 d3 d2",
        "crash d1",
        1,
    ),
    Row(
        "a busy worker never ends its computation",
        lambda run: run.change("d2", busy=Busy(2, 7, 0.1)).end("d1").change("d2", busy=Busy(2, 7, LIMIT_S + 0.1)).wait(0.1),
        "d0 d3 d0",
        "crash d1, slow d2",
        1,
    ),
    Row(
        "a stage takes too long to load",
        lambda run: run.end("d1").wait(10.1),
        "d0 d0 d2",
        "crash d1, hang d3",
        1,
        rules={"deadlines": Deadlines(load_s=10.0, rejoin=False)},
        newborn={"d3": {"ignores": True}},
    ),
    Row(
        "the time to load begins once a worker is free",
        lambda run: run.change("d2", busy=Busy(2, 7, 0.1)).end("d1").wait(12.0).change("d2", busy=None, ignores=True).wait(9.0),
        "d0 d3 d2",
        "crash d1",
        0,
        "Entering",
        rules={"deadlines": Deadlines(load_s=10.0, rejoin=False)},
    ),
    Row(
        "a worker that loads may be silent for longer",
        lambda run: run.change("d2", ignores=True).end("d1").change("d2", silent_s=3.0).wait(0.1),
        "d0 d3 d2",
        "crash d1",
        0,
        "Entering",
        rules={"deadlines": Deadlines(heartbeat_s=2.0, floor_s=4.0)},
    ),
    Row(
        "a worker that loads hangs",
        lambda run: run.change("d2", ignores=True).end("d1").change("d2", silent_s=4.1).wait(0.1),
        "d0 d3 d0",
        "crash d1, hang d2",
        1,
        rules={"deadlines": Deadlines(heartbeat_s=2.0, floor_s=4.0)},
    ),
    Row(
        "a worker that loads sleeps",
        lambda run: silence(run.change("d2", ignores=True).end("d1"), "d2", Inactivity.ASLEEP, 1.6),
        "d0 d3 d2",
        "crash d1",
        0,
        "Entering",
    ),
    Row(
        "a worker that loads is stopped",
        lambda run: silence(run.change("d2", ignores=True).end("d1"), "d2", Inactivity.STOPPED, 0.3),
        "d0 d3 d0",
        "crash d1, hang d2",
        1,
    ),
    Row(
        "a new worker gives no sign of life",
        lambda run: run.end("d1").wait(NO_RETURN.start_s + 0.2),
        "d0 d0 d2",
        "crash d1, hang d3",
        1,
        rules={"deadlines": NO_RETURN},
        newborn={"d3": {"ignores": True, "silent_s": None}},
    ),
    Row(
        "a new worker gives no sign of life, and computes: the host is busy",
        lambda run: [run.end("d1"), *(run.change("d3", cpu_s=cpu_s).wait(1.0) for cpu_s in range(20))],
        "d0 d3 d2",
        "crash d1",
        0,
        "Entering",
        rules={"deadlines": NO_RETURN},
        newborn={"d3": {"ignores": True, "silent_s": None}},
    ),
    Row(
        "a new worker cannot be started for a while",
        lambda run: (run.end("d1").wait(0.2), run.newborn.clear(), run.wait(2 * COOLDOWN_S)),
        faults="crash d1, crash d3, return d1, return d3",
        epochs=2,
        newborn={"d3": {"ended": "could not be started: too many open files", "silent_s": None}},
    ),
    Row(
        "the stand-in exceeds its memory once it is loaded",
        lambda run: run.end("d1").wait(0.2),
        "d0 d0 d2",
        "crash d1, memory d3",
        1,
        rules=LIMITED,
        newborn={"d3": {"resident_bytes": 1001}},
    ),
    Row(
        "a worker takes more than it has while it loads",
        lambda run: run.end("d1").wait(0.1).change("d3", resident_bytes=900, ignores=False).wait(0.1),
        "d0 d3 d2",
        "crash d1",
        1,
        rules=LIMITED,
        newborn={"d3": {"resident_bytes": 2000, "ignores": True}},
    ),
]

RETURNS = [
    Row("a device waits before it returns", lambda run: run.end("d1").wait(COOLDOWN_S - 0.1), "d0 d3 d2", "crash d1", 1),
    Row(
        "a device returns to its stage",
        lambda run: run.end("d1").wait(COOLDOWN_S + 0.1),
        faults="crash d1, return d1",
        epochs=2,
    ),
    Row(
        "devices may not return",
        lambda run: run.end("d1").wait(100.0, every_s=1.0),
        "d0 d3 d2",
        "crash d1",
        1,
        rules={"deadlines": NO_RETURN},
    ),
    Row(
        "a device cannot load its stage as it returns",
        lambda run: run.end("d1").wait(COOLDOWN_S + 0.1),
        "d0 d3 d2",
        "crash d1, load d1",
        1,
        newborn={"d1": CANNOT_LOAD},
    ),
    Row(
        "a device hangs as it returns, and keeps nobody waiting",
        lambda run: run.end("d1").wait(COOLDOWN_S + 9.0, every_s=0.5).end("d2").wait(0.5),
        "d0 d3 d0",
        "crash d1, crash d2",
        2,
        newborn={"d1": {"ignores": True, "silent_s": None}},
    ),
    Row(
        "a replica returns",
        lambda run: run.end("d2").wait(COOLDOWN_S + 0.1),
        "d0 d1+d2",
        "crash d2, return d2",
        2,
        rules=REPLICAS,
    ),
    Row(
        "a device without a stage returns",
        lambda run: run.end("d1").wait(0.1).events(back("d1")).wait(0.1).end("d3").wait(COOLDOWN_S + 0.1),
        faults="crash d1, return d1, crash d3, return d3",
        epochs=2,
    ),
    Row(
        "the only device returns",
        lambda run: run.end("d0").wait(0.2),
        "d0",
        "crash d0, return d0",
        1,
        rules=one_device(),
    ),
    Row("the only device is out", lambda run: run.end("d0"), "d0", "crash d0", 0, "Waiting", rules=one_device()),
    Row(
        "the last device that is left ends, and the first to return is needed",
        lambda run: run.end("d0", "d1").wait(0.5).end("d2", "d3").wait(0.2),
        faults="crash d0, crash d1, crash d2, crash d3, return d0, return d1, return d2, return d3",
        epochs=2,
    ),
]

LEFT = ("d0 d3 d2", "leave d1", 1)

TRACES = [
    Row("a device leaves", lambda run: run.events(leave("d1")).wait(10.0, every_s=0.1), "d0 d3 d2", "leave d1", 1),
    Row("a device leaves twice", lambda run: run.events(leave("d1"), leave("d1")).wait(0.1), "d0 d3 d2", "leave d1", 1),
    Row(
        "a battery is empty",
        lambda run: run.events(DeviceEvent(0.0, "d1", "battery", 0.0)).wait(0.1),
        "d0 d3 d2",
        "leave d1",
        1,
    ),
    Row("a battery is low", lambda run: run.events(DeviceEvent(0.0, "d1", "battery", 5.0)).wait(0.1)),
    Row(
        "a device leaves and returns",
        lambda run: run.events(leave("d1")).wait(0.1).events(back("d1")).wait(0.1),
        faults="leave d1, return d1",
        epochs=2,
    ),
    Row(
        "a device that has left returns although failed ones may not",
        lambda run: run.events(leave("d1")).wait(0.1).events(back("d1")).wait(0.1),
        faults="leave d1, return d1",
        epochs=2,
        rules={"deadlines": NO_RETURN},
    ),
    Row("a device without a worker leaves", lambda run: run.events(leave("d3")).wait(0.1), faults="leave d3"),
    Row("a device that is there returns", lambda run: run.events(back("d1")).wait(0.1)),
    Row(
        "a device that has failed leaves",
        lambda run: run.end("d1").events(leave("d1")).wait(COOLDOWN_S + 1.0),
        "d0 d3 d2",
        "crash d1",
        1,
    ),
    Row(
        "a device leaves as it returns",
        lambda run: run.end("d1").wait(COOLDOWN_S + 0.1).events(leave("d1")).wait(10.0),
        "d0 d3 d2",
        "crash d1",
        1,
        newborn={"d1": {"ignores": True}},
    ),
    Row(
        "a device that has failed returns by the trace immediately",
        lambda run: run.end("d1").wait(0.1).events(back("d1")).wait(0.1),
        faults="crash d1, return d1",
        epochs=2,
    ),
    Row(
        "a device leaves while the epoch is entered",
        lambda run: run.change("d2", ignores=True).end("d1").events(leave("d0")).change("d2", ignores=False).wait(0.1),
        "d2 d3 d2",
        "crash d1, leave d0",
        1,
    ),
    Row(
        "the only device leaves and will return",
        lambda run: (setattr(run, "may_return", True), run.events(leave("d0")).wait(1.0)),
        "d0",
        "leave d0",
        0,
        "Waiting",
        rules=one_device(deadlines=NO_RETURN),
    ),
    Row(
        "the only device leaves for ever",
        lambda run: run.events(leave("d0")).wait(0.1),
        "d0",
        "leave d0",
        0,
        "Ended",
        rules=one_device(),
    ),
    Row("a link changes, and plans are not made anew", lambda run: run.events(LinkEvent(0.0, ("d0", "d1"), 1e3)).wait(0.1)),
]

PLANS = [
    Row("a plan is requested", lambda run: run.end("d1").wait(1.0), "d0 d1 d2", "crash d1", 0, "Planning"),
    Row(
        "the plan is there",
        lambda run: run.end("d1").give_plan("d2", "d0").wait(0.1),
        "d2 d0",
        "crash d1",
        1,
    ),
    Row("no plan can be made", lambda run: run.end("d1").refuse_plan().wait(0.1), "d0 d3 d2", "crash d1", 1),
    Row(
        "the plan is for a fleet that has changed meanwhile",
        lambda run: run.end("d1").end("d2").give_plan("d0", "d2", request=0).wait(0.1),
        "d0 d1 d2",
        "crash d1, crash d2",
        0,
        "Planning",
    ),
    Row(
        "the plan for the fleet as it is now is there",
        lambda run: run.end("d1").end("d2").give_plan("d0", "d2", request=0).give_plan("d0", "d3").wait(0.1),
        "d0 d3",
        "crash d1, crash d2",
        1,
    ),
    Row("a plan comes that was not requested", lambda run: run.give_plan("d3").wait(0.1)),
    Row("conditions change, and items go on", lambda run: run.events(DeviceEvent(0.0, "d1", "speed", 0.5)).wait(1.0)),
    Row(
        "conditions change, and another plan is better",
        lambda run: run.events(DeviceEvent(0.0, "d1", "speed", 0.5)).give_plan("d0", "d2").wait(0.1),
        "d0 d2",
        "",
        1,
    ),
    Row(
        "conditions change, and the plan stays",
        lambda run: run.events(LinkEvent(0.0, ("d0", "d1"), 1e3)).give_plan("d0", "d1", "d2", directory="plan").wait(0.1),
    ),
    Row(
        "no device is left to plan for",
        lambda run: run.end("d0", "d1", "d2").events(leave("d3")),
        "d0 d1 d2",
        "crash d0, crash d1, crash d2, leave d3",
        0,
        "Waiting",
    ),
    Row(
        "a device returns to a fleet without any",
        lambda run: run.end("d0", "d1", "d2").events(leave("d3"), back("d3")).give_plan("d3").look(),
        "d3",
        "crash d0, crash d1, crash d2, leave d3, return d3",
        1,
    ),
    Row(
        "a plan fails as a device returns",
        lambda run: run.end("d1").refuse_plan().wait(COOLDOWN_S + 0.1).refuse_plan().wait(0.1),
        faults="crash d1, return d1",
        epochs=2,
    ),
    Row(
        "a worker without a stage ends, and the plan stays",
        lambda run: run.events(leave("d3")).give_plan("d0", "d1", "d2", directory="plan").wait(0.1),
        faults="leave d3",
    ),
]
PLANS = [replace(row, rules={"can_replan": True, **row.rules}) for row in PLANS]

ENDS = [
    Row(
        "the files of the plan have changed",
        lambda run: run.end("d0").wait(0.2),
        "d0",
        "crash d0, changed d0",
        0,
        "Ended",
        rules=one_device(),
        newborn={"d0": {"failure": Failed("changed", "'weights.bin' has changed since the plan was written")}},
    ),
    Row(
        "no device is left and none may return",
        lambda run: run.end("d0").wait(0.1),
        "d0",
        "crash d0",
        0,
        "Ended",
        rules=one_device(deadlines=NO_RETURN),
    ),
    Row(
        "the only device cannot load its stage for as long as the run tries",
        lambda run: run.end("d0").wait(6.2, every_s=0.1),
        "d0",
        ", ".join(["crash d0"] + ["load d0"] * 6),
        0,
        "Ended",
        rules=one_device(deadlines=Deadlines(give_up_s=6.0)),
        newborn={"d0": CANNOT_LOAD},
    ),
    Row(
        "the only device exceeds its memory whenever its stage is loaded",
        lambda run: run.end("d0").wait(9.0, every_s=0.1),
        "d0",
        "crash d0, return d0" + ", memory d0, return d0" * 5 + ", memory d0",
        0,
        "Ended",
        rules={**one_device(deadlines=Deadlines(give_up_s=6.0)), "fleet": fleet_of(1, memory_bytes=1000)},
        newborn={"d0": {"resident_bytes": 1001}},
    ),
    Row(
        "the run does not end while the only device loads its stage",
        lambda run: run.end("d0").wait(20.0, every_s=0.1).change("d0", ignores=False).wait(0.1),
        "d0",
        "crash d0, return d0",
        1,
        rules=one_device(deadlines=Deadlines(give_up_s=6.0)),
        newborn={"d0": {"ignores": True}},
    ),
    Row(
        "the link to the only device is down for long",
        lambda run: [run.stick(None, "d0", 1.1).wait(3.0, every_s=0.5) for _ in range(20)],
        "d0",
        ", ".join(["link d0, return d0"] * 20),
        20,
        rules=one_device(),
    ),
    Row(
        "the only device fails again and again, and answers nothing in between",
        lambda run: [run.end("d0").wait(2.5, every_s=0.1) for _ in range(50)],
        "d0",
        ", ".join(["crash d0, return d0"] * 50),
        50,
        rules=one_device(),
    ),
]


@pytest.mark.parametrize(
    "row", WORKERS + LINKS + ENTERING + RETURNS + TRACES + PLANS + ENDS, ids=lambda row: row.name.replace(" ", "_")
)
def test_what_comes_of(row: Row) -> None:
    run = Supervised(**row.rules).start()
    run.newborn = row.newborn
    row.script(run)
    assert run.faults == row.faults
    assert run.placed == row.placed
    assert run.phase == row.phase
    assert run.epochs == row.epochs
    assert bool(run.error) == (row.phase == "Ended")


# -- the start ----------------------------------------------------------------------------------------------------------


def test_every_worker_is_started_and_configured_before_items_flow():
    run = Supervised()
    run.look()
    assert list(run.workers) == ["d0", "d1", "d2"]
    assert [(action.device, action.command.epoch) for action in run.decided(Send)] == [("d0", 1), ("d1", 1), ("d2", 1)]
    assert run.phase == "Entering"
    run.look()
    assert [(action.epoch, action.routes) for action in run.decided(EnterEpoch)] == [(1, run.state.routes)]
    assert run.decided(RecordEvent) == []


def test_a_start_that_fails_names_every_device_that_could_not_and_waits_for_all_to_settle():
    run = Supervised()
    run.newborn = {"d0": CANNOT_LOAD, "d1": {"ignores": True}, "d2": {"ended": "killed by signal 9"}}
    run.wait(1.0)
    assert run.phase == "Entering"
    run.change("d1", ignores=False).wait(0.1)
    assert run.error == "worker of 'd0': stage_1 is missing; worker of 'd2' killed by signal 9"
    assert not [action for action in run.decided(Send) if isinstance(action.command, Prepare)]


def test_at_the_start_a_worker_may_take_longer_until_its_first_sign_of_life():
    run = Supervised()
    run.newborn = {"d1": {"silent_s": None, "ignores": True}}
    run.wait(59.0, every_s=0.5)
    assert run.phase == "Entering"
    run.wait(2.0, every_s=0.5)
    assert run.error.startswith("worker of 'd1' gave no sign of life for 60.")


def test_a_device_that_is_too_small_fails_with_the_remedy():
    run = Supervised(fleet=SMALL)
    run.newborn = {"d1": {"resident_bytes": 2 << 20}}
    run.wait(0.1)
    assert run.error == (
        "device 'd1' takes 2.0 MiB and has 0.0 MiB once its stages are loaded;"
        " state its runtime_memory as `multiedge calibrate` measures it: plans then leave room for the runtime"
    )


# -- devices that return ------------------------------------------------------------------------------------------------


def waits(run: Supervised, device: str) -> float:
    """Seconds that the device still has to wait, rounded."""
    return round(run.state.devices[device].retry_s - run.now_s, 1)


def fail_and_return(run: Supervised, device: str) -> float:
    """The time that the device had to wait."""
    run.end(device)
    waited = waits(run, device)
    run.wait(waited + 0.5, every_s=0.1)
    return waited


def test_each_loss_without_an_answer_doubles_the_wait_up_to_a_limit():
    run = Supervised(chain_manifest("d0"), fleet_of(2), deadlines=Deadlines(cooldown_s=0.5)).start()
    assert [fail_and_return(run, "d0") for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0, 16.0]


def test_a_device_without_which_nothing_runs_waits_no_longer_than_the_first_time():
    run = Supervised(**one_device()).start()
    waited = []
    for _ in range(8):
        run.stick(None, "d0", 1.1)
        waited.append(run.state.devices["d0"].retry_s - run.decided(RecordFault)[-1].fault.detected_s)
        run.wait(waited[-1] + 0.5, every_s=0.02)
    assert waited == pytest.approx([0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 2.0, 2.0])


def test_an_answer_closes_the_breaker():
    run = Supervised(chain_manifest("d0"), fleet_of(2)).start()
    assert [fail_and_return(run, "d0") for _ in range(2)] == [2.0, 4.0]
    run.answer(1)
    assert fail_and_return(run, "d0") == 2.0


def test_an_answer_of_others_does_not_close_the_breaker():
    run = Supervised(chain_manifest("d0", ("d1", "d2"))).start()
    fail_and_return(run, "d1")
    run.answer(1)  # by d0 and d2
    assert fail_and_return(run, "d1") == 4.0


def test_a_device_that_stays_without_an_item_has_its_losses_forgotten_in_the_end():
    run = Supervised(chain_manifest("d0")).start()
    run.end("d0").wait(0.1).events(back("d0")).wait(0.1)
    fail_and_return(run, "d0")
    run.wait(10 * COOLDOWN_S + 0.5)
    assert fail_and_return(run, "d0") == 2.0


def test_a_device_prepares_the_stages_of_the_plan_before_an_epoch_needs_them():
    run = Supervised().start()
    run.newborn = {"d1": {"ignores": True}}
    run.end("d1").wait(COOLDOWN_S + 0.1)
    prepared = [action for action in run.decided(Send) if isinstance(action.command, Prepare)]
    assert [(action.device, action.command.directory) for action in prepared] == [("d1", "plan")]
    assert run.phase == "Running"


def test_a_returning_worker_that_gives_no_sign_of_life_blocks_nobody_and_is_noticed():
    run = Supervised().start()
    run.newborn = {"d1": {"silent_s": None, "ignores": True}}
    run.end("d1").wait(COOLDOWN_S + 0.1)
    assert (run.phase, run.placed) == ("Running", "d0 d3 d2")
    run.wait(Deadlines().start_s, every_s=0.1)
    assert run.faults == "crash d1, hang d1"
    assert run.phase == "Running"
    assert run.epochs == 1


def test_a_returning_worker_that_ends_stops_no_item_and_the_next_answer_ends_its_fault():
    run = Supervised().start()
    run.newborn = {"d1": {"ended": "killed by signal 9"}}
    run.end("d1").wait(0.1)
    run.answer(1)
    assert run.recovered == "crash d1"
    run.wait(COOLDOWN_S + 0.1)
    assert run.faults == "crash d1, crash d1"
    run.answer(2)
    assert run.recovered == "crash d1, crash d1"
    assert run.epochs == 1


def test_a_lost_device_that_cannot_be_started_is_tried_ever_more_rarely_and_is_no_new_fault():
    run = Supervised().start()
    run.newborn = {"d1": {"silent_s": None, "ended": "could not be started: connection refused"}}
    run.end("d1")
    waited = []
    for _ in range(3):
        waited.append(waits(run, "d1"))
        run.wait(waited[-1] + 0.1)
    assert [round(each_s) for each_s in waited] == [2, 4, 8]
    assert run.faults == "crash d1"
    assert run.phase == "Running"


def test_an_endless_computation_delays_an_epoch_by_its_deadline_and_is_charged():
    run = Supervised().start()
    run.change("d0", busy=Busy(0, 7, 0.1))
    run.end("d1").wait(0.5)
    assert run.phase == "Entering"
    run.change("d0", busy=Busy(0, 7, LIMIT_S + 0.1)).wait(0.1)
    assert run.phase == "Running"
    assert run.faults == "crash d1, slow d0"
    assert run.state.charges == {7: 1}


# -- items that end workers ---------------------------------------------------------------------------------------------


def test_an_item_that_ends_workers_is_failed_alone():
    run = Supervised(**one_device()).start()
    for _ in range(MOST_CRASHES):
        run.end("d0", item=7).wait(COOLDOWN_S + 0.1)
    assert run.failed_items == [7]
    assert "5 workers ended while they computed this item" in str(run.actions)
    assert run.phase == "Running"


def test_an_item_that_ended_a_worker_is_sent_again_after_the_others():
    run = Supervised(**one_device()).start()
    run.end("d0", item=7).wait(COOLDOWN_S + 0.1)
    run.end("d0", item=9).wait(COOLDOWN_S + 0.1).look(answered=(7,))
    run.end("d0").wait(COOLDOWN_S + 0.1)
    assert [set(action.suspected) for action in run.decided(EnterEpoch)] == [{7}, {7, 9}, {9}]


@pytest.mark.parametrize("how", [{"silent_s": 2.1}, {"resident_bytes": 1001}, {"ended": "killed by signal 11"}, {}])
def test_an_item_is_charged_whatever_way_it_ends_the_worker(how):
    run = Supervised(chain_manifest("d0"), fleet_of(1, memory_bytes=1000)).start()
    for _ in range(MOST_CRASHES):
        run.change("d0", busy=Busy(0, 7, LIMIT_S + 0.1 if not how else 0.1), **how).wait(COOLDOWN_S + 0.2)
    assert run.failed_items == [7]


def test_ten_items_in_a_row_that_end_the_only_worker_do_not_end_the_run():
    run = Supervised(**one_device()).start()
    begin_s = run.now_s
    for item in range(10):
        for _ in range(MOST_CRASHES):
            run.end("d0", item=item).wait(COOLDOWN_S + 0.2, every_s=0.1)
    assert run.failed_items == list(range(10))
    assert run.phase == "Running"
    assert run.now_s - begin_s < 10 * MOST_CRASHES * (COOLDOWN_S + 0.3)


def test_a_device_does_not_wait_longer_for_an_item_that_has_ended_a_worker_before():
    run = Supervised(chain_manifest("d0"), fleet_of(2)).start()
    waited = []
    for _ in range(MOST_CRASHES - 1):
        run.end("d0", item=7)
        waited.append(waits(run, "d0"))
        run.wait(COOLDOWN_S + 0.1)
    assert waited == [2.0] * (MOST_CRASHES - 1)


def test_a_device_that_ends_with_each_item_waits_longer_each_time():
    run = Supervised().start()
    waited = []
    for item in range(3):
        run.end("d1", item=item)
        waited.append(waits(run, "d1"))
        run.wait(waited[-1] + 0.1)
    assert waited == [2.0, 4.0, 8.0]


def test_once_an_item_is_failed_its_devices_return_immediately():
    run = Supervised(**one_device()).start()
    for _ in range(MOST_CRASHES - 1):
        run.end("d0", item=7).wait(COOLDOWN_S + 0.1)
    run.end("d0", item=7).wait(0.1)
    assert run.phase == "Running"


def test_of_a_batch_that_ends_its_worker_each_item_is_tried_alone_and_only_the_cause_is_charged():
    run = Supervised(**one_device()).start()
    run.change("d0", busy=Busy(0, 6, 0.1, (7, 8)), ended="killed by signal 11").wait(0.2)
    assert (run.state.charges, run.state.alone) == ({}, {6, 7, 8})
    (entered,) = [action.command for action in run.decided(Send) if isinstance(action.command, Configure)]
    assert entered.alone == (6, 7, 8)
    run.answer(6)
    for _ in range(MOST_CRASHES):
        run.end("d0", item=7).wait(COOLDOWN_S + 0.2)
    assert run.failed_items == [7]
    run.answer(8)
    assert run.state.alone == frozenset()


def test_an_item_that_was_answered_is_charged_no_more():
    run = Supervised().start()
    for _ in range(3):
        run.end("d1", item=7).wait(20.0, every_s=0.1)
    assert run.state.charges == {7: 3}
    run.answer(7)
    assert run.state.charges == {}


@pytest.mark.parametrize("harm", ["link", "load"])
def test_no_item_is_charged_for_a_link_or_for_a_stage_that_cannot_be_loaded(harm):
    run = Supervised().start()
    run.change("d1", busy=None)
    if harm == "link":
        run.stick("d0", "d1", 1.1)
    else:
        run.newborn = {"d3": CANNOT_LOAD}
        run.end("d2").wait(0.2)
    assert run.state.charges == {}


def test_a_stage_that_is_too_slow_may_take_twice_as_long_from_then_on():
    run = Supervised().start()
    run.change("d1", busy=Busy(1, 7, LIMIT_S + 0.1)).wait(0.1)
    assert run.decided(DoubleLimit) == [DoubleLimit(1)]


# -- the record ---------------------------------------------------------------------------------------------------------


def test_a_fault_is_over_with_the_first_answer_of_the_next_epoch():
    run = Supervised().start()
    run.end("d1")
    run.answer(3)  # of the epoch before
    run.wait(0.1)
    assert run.recovered == ""
    run.answer(4)
    assert [(action.fault.kind, action.recovered_s) for action in run.decided(RecordRecovery)] == [("crash", run.now_s)]
    run.answer(5)
    assert run.recovered == "crash d1"


def test_a_failed_item_shows_that_items_flow_again_and_no_device_that_works():
    run = Supervised(**one_device()).start()
    run.end("d0").wait(COOLDOWN_S + 0.1)
    run.look(answered=(), answered_s=run.now_s)
    assert run.recovered == "crash d0, return d0"
    assert run.state.devices["d0"].losses == 1


def test_a_fault_that_stops_nothing_is_over_with_the_next_answer():
    run = Supervised().start()
    run.events(leave("d3")).wait(0.1)
    run.answer(1)
    assert run.recovered == "leave d3"


def test_the_time_without_items_is_recorded():
    run = Supervised().start()
    run.newborn = {"d3": {"ignores": True}}
    run.end("d1")
    began_s = run.now_s
    run.wait(1.0).change("d3", ignores=False).wait(0.1)
    (event,) = [action.event for action in run.decided(RecordEvent)]
    assert (event.kind, event.start_s, round(event.seconds, 1)) == ("replan", began_s, 1.0)


def test_workers_that_hold_no_stage_are_configured_and_not_awaited():
    run = Supervised().start()
    run.end("d1").wait(0.1).change("d3", ignores=True).wait(COOLDOWN_S + 0.1)
    configured = [action.device for action in run.decided(Send) if isinstance(action.command, Configure)]
    assert configured == ["d0", "d3", "d2", "d0", "d1", "d2", "d3"]
    assert run.phase == "Running"


# -- traces and plans ---------------------------------------------------------------------------------------------------


def test_speeds_and_links_change_as_the_trace_says():
    run = Supervised().start()
    run.events(DeviceEvent(0.0, "d1", "speed", 0.25), LinkEvent(0.0, ("d0", "d1"), bandwidth_bytes_per_s=1e3, latency_s=0.5))
    assert run.decided(SetSpeed) == [SetSpeed("d1", 0.25)]
    assert run.decided(SetLink) == [SetLink("d0", "d1", Link(1e3, 0.5)), SetLink("d1", "d0", Link(1e3, 0.5))]


def test_a_link_that_changes_one_way_is_set_one_way():
    run = Supervised().start()
    run.events(LinkEvent(0.0, ("d0", "d1"), latency_s=0.5, one_way=True))
    assert run.decided(SetLink) == [SetLink("d0", "d1", Link(latency_s=0.5))]


def test_links_stay_as_they_are_where_none_are_emulated():
    run = Supervised(shapes_links=False, can_replan=True).start()
    run.events(LinkEvent(0.0, ("d0", "d1"), 1e3))
    assert run.actions == []


def test_a_plan_is_requested_for_the_fleet_as_it_is_now():
    run = Supervised(fleet=replace(fleet_of(4, speed=1.0), source="d1"), can_replan=True).start()
    run.events(leave("d1"), DeviceEvent(0.0, "d2", "speed", 0.5), LinkEvent(0.0, ("d0", "d3"), 1e3)).wait(1.0)
    (request,) = [action for action in run.actions if type(action).__name__ == "RequestPlan"]
    assert [(device.name, device.speed) for device in request.fleet.devices] == [("d0", 1.0), ("d2", 0.5), ("d3", 1.0)]
    assert request.fleet.source is None
    assert request.fleet.link("d0", "d3") == Link(1e3)
    assert math.isinf(request.fleet.link("d2", "d3").bandwidth_bytes_per_s)


def test_a_plan_that_is_late_is_requested_again_for_the_fleet_as_it_is_then():
    run = Supervised(can_replan=True).start()
    run.end("d1").end("d2").give_plan("d0", "d2", request=0).wait(0.1)
    assert run.requested == ["d0 d2 d3", "d0 d3"]


# -- the end ------------------------------------------------------------------------------------------------------------


def test_the_end_names_the_stage_and_the_last_fault_of_each_device():
    run = Supervised(chain_manifest("d0", "d1"), fleet_of(2), deadlines=NO_RETURN).start()
    run.end("d0").wait(0.1).end("d1").wait(0.1)
    assert run.error == (
        "stage 0: no device is left to run it (lost: d0, d1);"
        " worker of 'd0' killed by signal 9; worker of 'd1' killed by signal 9"
    )


def test_a_run_that_has_ended_stays_so():
    run = Supervised(**one_device(deadlines=NO_RETURN)).start()
    run.end("d0").wait(0.1)
    ended = run.ended
    assert ended > 1
    assert set(map(str, run.actions[-ended + 1 :])) == {str(run.actions[-1])}
