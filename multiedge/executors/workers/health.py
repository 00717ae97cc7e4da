"""Judging what was observed: what is wrong with a worker, which link is stuck, and how long a lost device waits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from multiedge.executors.workers.observation import QUIET_S, Inactivity, LinkView, WorkerView
from multiedge.executors.workers.options import Deadlines
from multiedge.executors.workers.state import Progress, Stuck
from multiedge.fleet import Device, default_runtime_bytes

PROGRESS_S = 0.05
"""Processor time that shows progress. A process whose threads only wait for a lock that is never free uses less in 2 s."""
MOST_DOUBLINGS = 5
"""Of the time that a device waits after each loss."""


class Problem(NamedTuple):
    """A kind of fault, and what was seen."""

    kind: str
    detail: str


def problem_of(
    device: Device,
    view: WorkerView,
    *,
    limit_s: float,
    owes_for_s: float | None,
    deadlines: Deadlines,
    limits_memory: bool,
    stalled_s: float | None = None,
    inactive_s: float | None = None,
) -> Problem | None:
    """What is wrong with a worker.

    `limit_s` is how long the stage that it computes may take, without its wait for a processor. `owes_for_s` is for how long it
    has owed a reply: while it loads stages, it may be silent for longer, and its memory is judged when it is done. `stalled_s`
    is for how long it has neither given a sign of life nor used the processor, None where that is not known: on a busy host, a
    worker may be silent and live. `inactive_s` is for how long it has been silent and inactive without a reason; None if it
    is not.
    """
    name, is_loading = device.name, owes_for_s is not None
    if view.ended:
        return Problem("crash", f"worker of '{name}' {view.ended}")
    if view.silent_s is None:
        return _problem_of_start(name, view, deadlines, stalled_s)
    if inactive_s is not None and min(inactive_s, view.silent_s) > deadlines.inactive_s:
        what = "is stopped" if view.inactivity is Inactivity.STOPPED else "sleeps, although its heartbeat is due"
        return Problem("hang", f"worker of '{name}' {what}; it gives no sign of life for {view.silent_s:.1f} s")
    usual_s = deadlines.heartbeat_s if view.patience_s is None else min(view.patience_s, deadlines.heartbeat_s)
    patience_s = max(usual_s, deadlines.floor_s) if is_loading else usual_s
    if (view.silent_s if stalled_s is None else stalled_s) > patience_s:
        idle = "" if stalled_s is None else f", and has not used the processor for {stalled_s:.1f} s"
        return Problem("hang", f"worker of '{name}' gives no sign of life for {view.silent_s:.1f} s{idle}")
    if view.silent_s > max(deadlines.heartbeat_s, deadlines.first_s):
        return Problem("hang", f"worker of '{name}' gives no sign of life for {view.silent_s:.1f} s, although it computes")
    if view.busy and view.busy.had_s > limit_s:
        waited = f", without the {view.busy.waited_s:.1f} s that it waited for a processor" if view.busy.waited_s >= 0.1 else ""
        runs = f"stage {view.busy.stage} runs for {view.busy.had_s:.1f} s{waited}; it may take {limit_s:.1f} s"
        return Problem("slow", f"worker of '{name}': {runs}")
    if owes_for_s is not None and owes_for_s > deadlines.load_s and not view.busy:
        return Problem("hang", f"worker of '{name}' has not loaded its stages within {deadlines.load_s:g} s")
    if limits_memory and not is_loading:
        return memory_problem(device, view.resident_bytes)
    return None


def _problem_of_start(name: str, view: WorkerView, deadlines: Deadlines, stalled_s: float | None) -> Problem | None:
    """What is wrong with a worker that has shown nothing yet: on a busy host, its start may take long and go on."""
    idle_s = view.age_s if stalled_s is None else stalled_s
    if idle_s > deadlines.start_s or view.age_s > max(deadlines.start_s, deadlines.first_s):
        return Problem("hang", f"worker of '{name}' gave no sign of life for {view.age_s:.1f} s after its start")
    return None


def progress_of(view: WorkerView, before: Progress | None, now_s: float, *, is_loading: bool = False) -> Progress | None:
    """What a silent worker did last; None while signs of life come, or where its processor time is not known.

    A silence counts from when it is first seen, because an observer that was itself stopped sees old signs of life.
    """
    silent_s = view.age_s if view.silent_s is None else view.silent_s
    if silent_s < QUIET_S or view.cpu_s is None:
        return None
    last = Progress(now_s - QUIET_S, view.cpu_s, now_s - QUIET_S) if before is None else before
    if view.cpu_s - last.cpu_s >= PROGRESS_S:
        last = Progress(now_s, view.cpu_s)
    if not _is_inactive(view, is_loading=is_loading):
        return replace(last, inactive_since_s=None)
    return replace(last, inactive_since_s=now_s) if last.inactive_since_s is None else last


def _is_inactive(view: WorkerView, *, is_loading: bool) -> bool:
    """Whether it is, without a reason. A runtime may hold the interpreter's lock while it waits for its device, so that the
    thread of the heartbeat sleeps as well: no reason for a worker to be stopped."""
    may_sleep = is_loading or view.busy is not None
    return view.inactivity is Inactivity.STOPPED or (view.inactivity is Inactivity.ASLEEP and not may_sleep)


def memory_problem(device: Device, resident_bytes: int | None, *, just_loaded: bool = False) -> Problem | None:
    """What is wrong with a worker of that size; nothing if its size or the device's is not known."""
    if device.memory_bytes is None or resident_bytes is None or resident_bytes <= device.memory_bytes:
        return None
    detail = f"device '{device.name}' takes {resident_bytes / 2**20:.1f} MiB and has {device.memory_bytes / 2**20:.1f} MiB"
    if just_loaded:
        detail += " once its stages are loaded"
        if device.runtime_bytes in (0, default_runtime_bytes(device.backend)):
            detail += "; state its runtime_memory as `multiedge calibrate` measures it: plans then leave room for the runtime"
    return Problem("memory", detail)


def stuck_links(links: Iterable[LinkView], before: Mapping[int, Stuck], now_s: float) -> dict[int, Stuck]:
    """Since when each transfer has taken nothing although its receiver has nothing else to do: its link may be down."""
    stuck = {}
    for link in links:
        if link.sent > link.taken and link.receiver_is_idle:
            last = before.get(link.transfer)
            stuck[link.transfer] = last if last and last.taken == link.taken else Stuck(now_s, link.taken)
    return stuck


def waiting_s(losses: int, deadlines: Deadlines, *, is_needed: bool = False) -> float:
    """How long a device waits that was lost so many times in a row; inf if it may not return.

    A device without which nothing runs `is_needed`: it waits from a small part of `cooldown_s` up to all of it.
    """
    doublings = min(max(losses - 1, 0), MOST_DOUBLINGS)
    if is_needed:
        doublings -= MOST_DOUBLINGS
    return float(deadlines.cooldown_s * 2.0**doublings) if deadlines.rejoin else math.inf
